//! Fetching a source: every hop checked, the address pinned, the transfer resumed where it broke.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{Credentials, UrlSource};
use bytes::Bytes;
use http::header;
use http::{HeaderMap, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Response};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use url::{Host, Url};

use super::policy::{Refusal, SourcePolicy, authority};

const REDIRECTS: usize = 5;
const RESUMES: u32 = 5;
/// Before the first attempt to resume; later ones wait longer.
const PAUSE: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes a second that a source brings at least, on average over [`RATE_WINDOW`] of waiting for it; a slower one would
/// keep others from being taken in.
const LOWEST_RATE: u64 = 64 << 10;
const RATE_WINDOW: Duration = Duration::from_mins(5);

/// Why a source could not be read.
#[derive(Debug, Snafu)]
pub enum FetchError {
    /// It may not be asked.
    #[snafu(display("{source}"), context(false))]
    NotAllowed {
        /// Why.
        source: Refusal,
    },
    /// It wants other credentials.
    #[snafu(display("{host} answered {status}; the source's secretRef must name credentials that may read the file"))]
    Unauthorized {
        /// Host and port.
        host: String,
        /// What it answered.
        status: StatusCode,
    },
    /// It answered something else than the file.
    #[snafu(display("{host} answered {status} instead of the file"))]
    Status {
        /// Host and port.
        host: String,
        /// What it answered.
        status: StatusCode,
    },
    /// Too many redirects, or one that leads nowhere.
    #[snafu(display("{host}: {reason}"))]
    Redirect {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The name leads nowhere.
    #[snafu(display("the address of {host} could not be found: {source}"))]
    Resolve {
        /// Host and port.
        host: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Certificates that are none.
    #[snafu(display("the source's certificates can't be used: {message}; certSecretRef must name PEM certificates"))]
    Certificates {
        /// Why.
        message: String,
    },
    /// The line failed.
    #[snafu(display("{host}: {message}"))]
    Transfer {
        /// Host and port.
        host: String,
        /// What happened.
        message: String,
    },
    /// The file is larger than the registry takes.
    #[snafu(display("the file has more than {limit} bytes, the most that this registry takes (--max-upload-bytes)"))]
    TooLarge {
        /// The cap.
        limit: u64,
    },
}

/// A file being fetched.
pub struct Fetch {
    policy: Arc<SourcePolicy>,
    source: UrlSource,
    origin: Url,
    limit: u64,
    current: Url,
    response: Response,
    received: u64,
    total: Option<u64>,
    validator: Option<String>,
    /// Attempts to resume since bytes came last.
    resumes: u32,
    pace: Pace,
}

/// How fast a source is. Only the time spent waiting for it counts, not that of a slow store.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Adds what came after a wait; false once the source was too slow for a whole window.
    fn add(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < RATE_WINDOW {
            return true;
        }
        let fast_enough = self.bytes >= LOWEST_RATE.saturating_mul(self.waited.as_secs());
        *self = Self::default();
        fast_enough
    }
}

impl Fetch {
    /// Asks for the file and follows redirects.
    ///
    /// # Errors
    /// A source that may not be asked or that doesn't answer with the file.
    pub async fn open(policy: Arc<SourcePolicy>, source: UrlSource, limit: u64) -> Result<Self, FetchError> {
        policy.check_digest(source.sha256.as_deref())?;
        let origin = Url::parse(&source.url).map_err(|error| Refusal::Unusable { reason: error.to_string() })?;
        let (current, response) = request(&policy, &source, &origin, HeaderMap::new()).await?;
        let host = authority(&current);
        ensure!(response.status() == StatusCode::OK, StatusSnafu { host, status: response.status() });
        let total = response.content_length();
        ensure!(total.is_none_or(|total| total <= limit), TooLargeSnafu { limit });
        let validator = strong_validator(response.headers());
        let (received, resumes, pace) = (0, 0, Pace::default());
        Ok(Self { policy, source, origin, limit, current, response, received, total, validator, resumes, pace })
    }

    /// Bytes of the whole file, where the source says so.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// A line that broke and could not be taken up again or that is too slow, a file that is too large.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let asked = Instant::now();
        loop {
            match self.response.chunk().await {
                Ok(Some(bytes)) => {
                    self.received += bytes.len() as u64;
                    ensure!(self.received <= self.limit, TooLargeSnafu { limit: self.limit });
                    self.resumes = 0;
                    let fast_enough = self.pace.add(asked.elapsed(), bytes.len() as u64);
                    let message = "it brought less than 64 KiB a second for 5 minutes";
                    ensure!(fast_enough, TransferSnafu { host: authority(&self.current), message });
                    return Ok(Some(bytes));
                }
                Ok(None) if self.total.is_none_or(|total| total == self.received) => return Ok(None),
                Ok(None) => self.resume("the transfer ended early".to_owned()).await?,
                Err(error) => self.resume(describe(error)).await?,
            }
        }
    }

    /// Asks for the rest, again and again for a while. Only where the digest or a validator tells that it is the rest of
    /// the same file.
    async fn resume(&mut self, mut message: String) -> Result<(), FetchError> {
        let host = authority(&self.current);
        let same_file = self.source.sha256.is_some() || self.validator.is_some();
        while same_file && self.resumes < RESUMES {
            self.resumes += 1;
            tracing::info!(source.host = host, received = self.received, message, "resuming a transfer");
            tokio::time::sleep(PAUSE * self.resumes).await;
            let asked = request(&self.policy, &self.source, &self.origin, self.rest_of_the_file()).await;
            match asked {
                Ok((current, response)) if self.is_the_rest(&response) => {
                    (self.current, self.response) = (current, response);
                    return Ok(());
                }
                Ok((_, response)) if response.status().is_server_error() => {
                    message = format!("it answered {}", response.status());
                }
                Ok((_, response)) => {
                    message = format!("the transfer broke and the source can't resume it ({})", response.status());
                    break;
                }
                Err(FetchError::Transfer { message: again, .. }) => message = again,
                Err(error) => return Err(error),
            }
        }
        TransferSnafu { host, message }.fail()
    }

    fn rest_of_the_file(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let range = format!("bytes={}-", self.received);
        let values = [(header::RANGE, Some(range)), (header::IF_RANGE, self.validator.clone())];
        for (name, value) in values {
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                headers.insert(name, value);
            }
        }
        headers
    }

    fn is_the_rest(&self, response: &Response) -> bool {
        let starts_right = response
            .headers()
            .get(header::CONTENT_RANGE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with(&format!("bytes {}-", self.received)));
        response.status() == StatusCode::PARTIAL_CONTENT && starts_right
    }
}

fn strong_validator(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::ETAG)?.to_str().ok()?;
    tag.starts_with('"').then(|| tag.to_owned())
}

/// One request with its redirects, each of them checked like the first address.
async fn request(
    policy: &SourcePolicy,
    source: &UrlSource,
    origin: &Url,
    headers: HeaderMap,
) -> Result<(Url, Response), FetchError> {
    let mut url = origin.clone();
    for _ in 0..=REDIRECTS {
        let host = authority(&url);
        let named = policy.check_url(&url)?;
        let addresses = resolve(&url).await.context(ResolveSnafu { host: host.as_str() })?;
        let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        policy.check_addresses(&url, named, &ips)?;
        let at_home = same_origin(&url, origin);
        let client = client(source, &url, at_home, addresses)?;
        let mut request = client.get(url.clone()).headers(headers.clone());
        if at_home {
            request = match &source.credentials {
                Some(Credentials::Basic { username, password }) => request.basic_auth(username, Some(password)),
                Some(Credentials::Bearer { token }) => request.bearer_auth(token),
                None => request,
            };
        }
        let transfer = |message: String| FetchError::Transfer { host: host.clone(), message };
        let answer = request.header(header::ACCEPT_ENCODING, "identity").send();
        let response = tokio::time::timeout(IDLE_TIMEOUT, answer)
            .await
            .map_err(|_| transfer("no answer in time".to_owned()))?
            .map_err(|error| transfer(describe(error)))?;
        let status = response.status();
        let unauthorized = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        ensure!(!unauthorized, UnauthorizedSnafu { host, status });
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok((url, response));
        }
        let next = response
            .headers()
            .get(header::LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| url.join(location).ok())
            .context(RedirectSnafu { host: host.as_str(), reason: "a redirect without a usable address" })?;
        let downgrade = url.scheme() == "https" && next.scheme() != "https";
        ensure!(!downgrade, RedirectSnafu { host, reason: "a redirect from https to http is not followed" });
        url = next;
    }
    RedirectSnafu { host: authority(origin), reason: "more than 5 redirects" }.fail()
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// The addresses of a URL's host, by the system's resolver, so that names of the cluster work.
async fn resolve(url: &Url) -> std::io::Result<Vec<SocketAddr>> {
    let port = url.port_or_known_default().unwrap_or(443);
    match url.host() {
        Some(Host::Ipv4(address)) => Ok(vec![SocketAddr::new(address.into(), port)]),
        Some(Host::Ipv6(address)) => Ok(vec![SocketAddr::new(address.into(), port)]),
        Some(Host::Domain(name)) => tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((name, port)))
            .await
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"))?
            .map(Iterator::collect),
        None => Ok(Vec::new()),
    }
}

/// Answers every name with the addresses that were checked.
struct Pinned(Vec<SocketAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// A client for one request to one checked address.
fn client(source: &UrlSource, url: &Url, at_home: bool, addresses: Vec<SocketAddr>) -> Result<Client, FetchError> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(IDLE_TIMEOUT)
        .user_agent(concat!("package-registry/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Pinned(addresses)));
    let certificates = |message: String| FetchError::Certificates { message };
    match &source.ca_bundle {
        Some(pem) if at_home => {
            let roots = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| certificates(describe(error)))?;
            if roots.is_empty() {
                return Err(certificates("there is none in it".to_owned()));
            }
            builder = builder.tls_certs_only(roots);
        }
        // Without TLS no roots are needed, and an image without any must not fail for it.
        _ if url.scheme() == "http" => builder = builder.tls_certs_only([]),
        _ => {}
    }
    builder.build().map_err(|error| FetchError::Transfer { host: authority(url), message: describe(error) })
}

/// An error with its causes, without the address, which may carry a secret in its query.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_trickles_is_too_slow_after_a_window() {
        let mut pace = Pace::default();
        let slow = (0..6).position(|_| !pace.add(Duration::from_secs(59), 1));
        assert_eq!(slow, Some(5));
    }

    #[test]
    fn a_source_that_pauses_and_is_fast_on_average_is_fast_enough() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            assert!(pace.add(Duration::from_secs(59), 60 * LOWEST_RATE));
        }
    }

    #[test]
    fn each_window_is_judged_by_itself() {
        let mut pace = Pace::default();
        assert!(pace.add(RATE_WINDOW, 1 << 40));
        assert!(!pace.add(RATE_WINDOW, 1));
    }
}
