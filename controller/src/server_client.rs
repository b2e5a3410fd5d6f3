//! The controller's side of a registry's `/api/v1`.
//!
//! The connection goes to the Service's cluster addresses, so it needs no cluster DNS; the certificate is checked against the
//! registry's own authorities and its host name.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::{ApiError, Declaration, DeclarationSpec, PackageInfo, PackageList, ServerStatus};
use crds::PackageRegistry;
use kube::{Client, ResourceExt};
use reqwest::{
    Certificate, Method, RequestBuilder, Response, StatusCode,
    header::{ETAG, HeaderValue, IF_NONE_MATCH},
    redirect::Policy,
};
use serde::de::{DeserializeOwned, IgnoredAny};
use snafu::{OptionExt, ResultExt, Snafu};
use url::Url;

use crate::{
    body,
    token::{self, Tokens},
};

/// Longest time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a call; the server answers at once and works on afterwards.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// What a server may say of an error, in characters.
const LONGEST_MESSAGE: usize = 500;
/// What is read of an error, in bytes.
const LONGEST_ERROR: usize = 64 << 10;
/// Longest document about one thing, in bytes; a package has a thousand images at most.
const LONGEST_DOCUMENT: usize = 4 << 20;
/// Longest list of packages, in bytes: some 16,000 of them.
const LONGEST_LIST: usize = 32 << 20;

/// Why a server could not be asked, or what it said instead of an answer.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The registry has no address yet.
    #[snafu(display("registry {name} has no address yet"))]
    NoAddress {
        /// Name of the registry.
        name: String,
    },
    /// The registry's certificates or address can't be used.
    #[snafu(display("registry {name} can't be connected to"))]
    Setup {
        /// Name of the registry.
        name: String,
        /// What the HTTP client says.
        source: reqwest::Error,
    },
    /// No token.
    #[snafu(transparent)]
    Token {
        /// Why.
        source: token::Error,
    },
    /// No answer.
    #[snafu(display("the server of the registry gave no answer"))]
    Unreachable {
        /// What the HTTP client says.
        source: reqwest::Error,
    },
    /// An answer that is too long, or broke off.
    #[snafu(display("the answer of the registry's server can't be taken"))]
    Body {
        /// Why.
        source: body::Error,
    },
    /// An answer that says nothing.
    #[snafu(display("the registry's server gives an answer that can't be understood"))]
    Malformed {
        /// Where it can't.
        source: serde_json::Error,
    },
    /// 401 or 403.
    #[snafu(display("the server of the registry refuses the controller ({status}): {message}"))]
    Denied {
        /// Status of the answer.
        status: StatusCode,
        /// The server's words.
        message: String,
    },
    /// 429 or 5xx.
    #[snafu(display("the server of the registry can't answer now ({status}): {message}"))]
    Unavailable {
        /// Status of the answer.
        status: StatusCode,
        /// The server's words.
        message: String,
    },
    /// Another status.
    #[snafu(display("the server of the registry doesn't take that ({status}): {message}"))]
    Refused {
        /// Status of the answer.
        status: StatusCode,
        /// The server's words.
        message: String,
    },
}

impl Error {
    /// The word for it: label of the metric.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoAddress { .. } => "ServerWithoutAddress",
            Self::Setup { .. } => "ServerSetup",
            Self::Token { .. } => "ServerToken",
            Self::Unreachable { .. } => "ServerUnreachable",
            Self::Body { .. } | Self::Malformed { .. } => "ServerAnswerUnusable",
            Self::Denied { .. } => "ServerDenied",
            Self::Unavailable { .. } => "ServerUnavailable",
            Self::Refused { .. } => "ServerRefused",
        }
    }
}

/// HTTP clients by registry; a client is made anew when the registry's address or authorities change.
#[derive(Default)]
pub struct Servers {
    kept: Mutex<HashMap<String, (Target, Connection)>>,
}

/// What outlives a call.
#[derive(Clone, Default)]
struct Connection {
    http: reqwest::Client,
    packages: Arc<Mutex<Option<KnownPackages>>>,
}

/// The last list of packages.
#[derive(Clone)]
struct KnownPackages {
    tag: HeaderValue,
    list: Arc<PackageList>,
}

/// Where a registry is reached and whom it is trusted by.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Target {
    url: Url,
    addresses: Vec<IpAddr>,
    ca_bundle: Option<String>,
}

impl Target {
    fn of(registry: &PackageRegistry) -> Option<Self> {
        let status = registry.status.as_ref()?;
        Some(Self {
            url: Url::parse(status.url.as_deref()?).ok()?,
            addresses: status.cluster_ips.iter().filter_map(|address| address.parse().ok()).collect(),
            ca_bundle: status.ca_bundle.clone(),
        })
    }

    fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy();
        if let Some(bundle) = &self.ca_bundle {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(bundle.as_bytes())?);
        }
        if let Some(host) = self.url.host_str()
            && !self.addresses.is_empty()
        {
            let port = self.url.port_or_known_default().unwrap_or(443);
            let addresses: Vec<SocketAddr> = self.addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
            builder = builder.resolve_to_addrs(host, &addresses);
        }
        builder.build()
    }
}

impl Servers {
    /// A client for `registry`, with a token.
    ///
    /// # Errors
    /// When the registry has no address, or no token can be made.
    pub async fn connect<'a>(
        &self,
        client: &Client,
        tokens: &'a Tokens,
        registry: &PackageRegistry,
    ) -> Result<ServerClient<'a>, Error> {
        let name = registry.name_any();
        let namespace = registry.namespace().unwrap_or_default();
        let target = Target::of(registry).context(NoAddressSnafu { name: name.as_str() })?;
        let connection =
            self.connection(&format!("{namespace}/{name}"), &target).context(SetupSnafu { name: name.as_str() })?;
        let token = tokens.get(client, &namespace, &name).await?;
        Ok(ServerClient { connection, base: target.url, token, tokens, namespace, name })
    }

    /// Forgets all but these registries, by namespace and name: the others are gone.
    pub fn keep_only(&self, registries: &BTreeSet<(String, String)>) {
        let keys: BTreeSet<String> = registries.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
        self.lock().retain(|key, _| keys.contains(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Target, Connection)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, key: &str, target: &Target) -> Result<Connection, reqwest::Error> {
        let mut kept = self.lock();
        if let Some((same, connection)) = kept.get(key)
            && same == target
        {
            return Ok(connection.clone());
        }
        let connection = Connection { http: target.client()?, packages: Arc::default() };
        kept.insert(key.to_owned(), (target.clone(), connection.clone()));
        Ok(connection)
    }
}

/// A client of one registry's server.
pub struct ServerClient<'a> {
    connection: Connection,
    base: Url,
    token: String,
    tokens: &'a Tokens,
    namespace: String,
    name: String,
}

impl ServerClient<'_> {
    /// Puts a declaration; the same one again changes nothing, or starts another attempt if it had failed.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn put_declaration(&self, id: &str, spec: &DeclarationSpec) -> Result<Declaration, Error> {
        let request = self.request(Method::PUT, &format!("declarations/{id}")).json(spec);
        let answer: Option<Declaration> = self.send(request).await?;
        answer.context(RefusedSnafu { status: StatusCode::NOT_FOUND, message: "there is no /api/v1/declarations" })
    }

    /// The declaration of that id; `None`: the server knows none.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn declaration(&self, id: &str) -> Result<Option<Declaration>, Error> {
        self.send(self.request(Method::GET, &format!("declarations/{id}"))).await
    }

    /// Withdraws the declaration of that id; `None`: it is gone.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn delete_declaration(&self, id: &str) -> Result<Option<Declaration>, Error> {
        self.send(self.request(Method::DELETE, &format!("declarations/{id}"))).await
    }

    /// The catalogue. The server sends and reads it only when it changed since the last time.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn packages(&self) -> Result<Arc<PackageList>, Error> {
        let known = self.known_packages().clone();
        let mut request = self.request(Method::GET, "packages");
        if let Some(known) = &known {
            request = request.header(IF_NONE_MATCH, &known.tag);
        }
        let Some(answer) = self.answer(request).await? else { return Ok(Arc::default()) };
        if let Some(known) = known
            && answer.status() == StatusCode::NOT_MODIFIED
        {
            return Ok(known.list);
        }
        let tag = answer.headers().get(ETAG).cloned();
        let list: Arc<PackageList> = Arc::new(document(answer, LONGEST_LIST).await?);
        *self.known_packages() = tag.map(|tag| KnownPackages { tag, list: Arc::clone(&list) });
        Ok(list)
    }

    fn known_packages(&self) -> MutexGuard<'_, Option<KnownPackages>> {
        self.connection.packages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One package of the catalogue; `None`: it isn't there.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn package(&self, name: &str, version: &str) -> Result<Option<PackageInfo>, Error> {
        self.send(self.call(Method::GET, self.package_url(name, version))).await
    }

    /// Takes an upload out of the catalogue, whether somebody asked for that at the server or not; true when it is gone.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn delete_package(&self, name: &str, version: &str) -> Result<bool, Error> {
        let mut url = self.package_url(name, version);
        url.query_pairs_mut().append_pair("by", "controller");
        Ok(self.send::<IgnoredAny>(self.call(Method::DELETE, url)).await?.is_none())
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn status(&self) -> Result<ServerStatus, Error> {
        Ok(self.send(self.request(Method::GET, "status")).await?.unwrap_or_default())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", api::BASE_PATH));
        self.call(method, url)
    }

    /// Name and version may hold any character, so each is encoded as one segment.
    fn package_url(&self, name: &str, version: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/packages", api::BASE_PATH));
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend([name, version]);
        }
        url
    }

    fn call(&self, method: Method, url: Url) -> RequestBuilder {
        self.connection.http.request(method, url).bearer_auth(&self.token)
    }

    /// Sends; 404 and answers without content are `None`.
    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Option<T>, Error> {
        match self.answer(request).await? {
            Some(answer) => document(answer, LONGEST_DOCUMENT).await.map(Some),
            None => Ok(None),
        }
    }

    /// Sends; 404 and answers without content are `None`, other failures errors.
    async fn answer(&self, request: RequestBuilder) -> Result<Option<Response>, Error> {
        let answer = request.send().await.map_err(reqwest::Error::without_url).context(UnreachableSnafu)?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND || status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(Some(answer));
        }
        let message = message_of(&body::beginning(answer, LONGEST_ERROR).await);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.tokens.forget(&self.namespace, &self.name);
                DeniedSnafu { status, message }.fail()
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => UnavailableSnafu { status, message }.fail(),
            _ if status.is_server_error() => UnavailableSnafu { status, message }.fail(),
            _ => RefusedSnafu { status, message }.fail(),
        }
    }
}

async fn document<T: DeserializeOwned>(answer: Response, limit: usize) -> Result<T, Error> {
    let body = body::whole(answer, limit).await.context(BodySnafu)?;
    serde_json::from_slice(&body).context(MalformedSnafu)
}

/// The words of an error's body: those of our own form, else its beginning.
fn message_of(body: &str) -> String {
    let text = serde_json::from_str::<ApiError>(body).map_or_else(|_| body.trim().to_owned(), |error| error.message);
    text.chars().take(LONGEST_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_our_form_shows_its_message_alone() {
        assert_eq!(message_of(r#"{"type":"Invalid","message":"no url"}"#), "no url");
        assert_eq!(message_of(" bad gateway \n"), "bad gateway");
        assert_eq!(message_of(&"x".repeat(9000)).len(), LONGEST_MESSAGE);
    }

    #[tokio::test]
    async fn a_document_that_is_longer_than_any_of_ours_is_not_read() {
        let answer = |body: String| Response::from(http::Response::new(body));
        let long = format!("{{\"packages\": [{}]}}", " ".repeat(LONGEST_DOCUMENT));
        let error = document::<PackageList>(answer(long.clone()), LONGEST_DOCUMENT).await.unwrap_err();
        assert!(crate::error::chain(&error).ends_with("the answer has more than 4194304 bytes"), "{error:?}");
        assert_eq!(document::<PackageList>(answer(long), LONGEST_LIST).await.unwrap(), PackageList::default());
        let error = document::<PackageList>(answer("<html>".into()), LONGEST_LIST).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    }

    #[test]
    fn what_is_kept_of_a_registry_goes_with_it() {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let servers = Servers::default();
        let target = Target { url: "https://a.apps.svc".parse().unwrap(), addresses: Vec::new(), ca_bundle: None };
        for key in ["apps/a", "apps/b"] {
            servers.connection(key, &target).unwrap();
        }
        servers.keep_only(&BTreeSet::from([("apps".into(), "b".into())]));
        assert_eq!(servers.lock().keys().collect::<Vec<_>>(), ["apps/b"]);
    }

    #[test]
    fn a_registry_without_an_address_has_no_target() {
        let mut registry = PackageRegistry::new("a", crds::PackageRegistrySpec::default());
        assert_eq!(Target::of(&registry), None);
        registry.status = Some(crds::PackageRegistryStatus {
            url: Some("https://a.apps.svc".into()),
            cluster_ips: vec!["10.96.0.7".into(), "fd00::7".into()],
            ..Default::default()
        });
        let target = Target::of(&registry).unwrap();
        assert_eq!(target.addresses.len(), 2);
    }
}
