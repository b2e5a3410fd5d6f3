//! Files by their address, through the cache: what is there already and did not change is not sent again.

use std::fs::File;
use std::io;

use bundle::digest::sha256;
use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};
use url::Url;

use crate::cache::{Cache, CacheError};
use crate::http::{ATTEMPTS, PATIENCE, RequestError, USER_AGENT, chain, repeat};
use crate::progress::Transfer;
use crate::resume::{ResumeError, fill};

/// Why a file was not downloaded. The one who asked knows the address.
#[derive(Debug, Snafu)]
pub enum DownloadError {
    /// No HTTP client.
    #[snafu(display("downloads are not possible: {}", chain(source)))]
    Configure {
        /// Why.
        source: reqwest::Error,
    },
    /// The server, or the way to it.
    #[snafu(display("{source}"))]
    Request {
        /// Why.
        source: RequestError,
    },
    /// It did not come to its end.
    #[snafu(display("{source}"))]
    Resume {
        /// Why.
        source: ResumeError,
    },
    /// No place for it.
    #[snafu(display("{source}"))]
    Cache {
        /// Why.
        source: CacheError,
    },
}

/// What an address had, and what the server called that.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Note {
    /// `sha256:<hex>` of what was downloaded to its end.
    digest: Option<String>,
    etag: Option<String>,
    modified: Option<String>,
}

impl Note {
    /// What the server calls the content of an answer.
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { digest: None, etag: text(ETAG), modified: text(LAST_MODIFIED) }
    }

    /// A condition under which a rest fits what is there; weak tags don't say so.
    fn same(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/")).or(self.modified.as_deref())
    }

    /// A condition under which nothing needs to be sent.
    fn changed(&self) -> Option<(HeaderName, &str)> {
        let etag = self.etag.as_deref().map(|etag| (IF_NONE_MATCH, etag));
        etag.or_else(|| self.modified.as_deref().map(|modified| (IF_MODIFIED_SINCE, modified)))
    }
}

/// Downloads files.
#[derive(Debug)]
pub struct Download {
    client: Client,
}

impl Download {
    /// A client that honours the environment's proxy settings.
    pub fn new() -> Result<Self, DownloadError> {
        let builder = Client::builder().user_agent(USER_AGENT).connect_timeout(PATIENCE).read_timeout(PATIENCE);
        Ok(Self { client: builder.build().context(ConfigureSnafu)? })
    }

    /// Gets a file, open at its beginning.
    pub async fn fetch(&self, url: &Url, cache: &Cache) -> Result<File, DownloadError> {
        // Addresses have credentials in them, so that the cache must not show them.
        let key = format!("url-{}", sha256(url.as_str().as_bytes()).trim_start_matches("sha256:"));
        let mut partial = cache.partial(&key).await.context(CacheSnafu)?;
        let mut note: Note = cache.noted(&key).unwrap_or_default();
        let held = note.digest.as_deref().map_or(Ok(None), |digest| cache.find(digest)).context(CacheSnafu)?;
        let condition = match &held {
            Some(_) => note.changed().map(|(name, value)| (name, value.to_owned())),
            None => None,
        };
        if partial.size() > 0 && note.same().is_none() {
            partial.clear().map_err(ResumeError::store).context(ResumeSnafu)?;
        }
        let first = repeat(ATTEMPTS, async || self.ask(url, partial.size(), &note, condition.as_ref()).await);
        let first = first.await.context(RequestSnafu)?;
        if let (StatusCode::NOT_MODIFIED, Some(file)) = (first.status(), held) {
            return Ok(file);
        }
        if first.status() == StatusCode::OK {
            note = Note::of(first.headers());
            partial.clear().map_err(ResumeError::store).context(ResumeSnafu)?;
            cache.take_note(&key, &note).context(CacheSnafu)?;
        }
        let progress = first.content_length().map(|rest| Transfer::start("Download progress", partial.size() + rest));
        let advance = |bytes| {
            if let Some(progress) = &progress {
                progress.advance(bytes);
            }
        };
        advance(partial.size());
        let first = std::sync::Mutex::new(Some(first));
        let ask = async |from| {
            let waiting = first.lock().ok().and_then(|mut first| first.take());
            match waiting {
                Some(answer) => Ok(answer),
                None => self.ask(url, from, &note, None).await,
            }
        };
        fill(&mut partial, None, ask, &advance).await.context(ResumeSnafu)?;
        if let Some(progress) = progress {
            progress.finish();
        }
        let (digest, file) = cache.keep(partial).context(CacheSnafu)?;
        cache.take_note(&key, &Note { digest: Some(digest), ..note }).context(CacheSnafu)?;
        Ok(file)
    }

    /// Asks for a file from an offset on.
    async fn ask(
        &self,
        url: &Url,
        from: u64,
        note: &Note,
        condition: Option<&(HeaderName, String)>,
    ) -> Result<Response, RequestError> {
        let mut request = self.client.get(url.clone());
        match (condition, note.same()) {
            (Some((name, value)), _) => request = request.header(name, value),
            (None, Some(same)) if from > 0 => {
                request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, same);
            }
            (None, _) => {}
        }
        let answer = request.send().await?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => Ok(answer),
            StatusCode::NOT_MODIFIED if condition.is_some() => Ok(answer),
            _ => Err(RequestError::status(&answer, String::new())),
        }
    }
}

impl ResumeError {
    fn store(source: io::Error) -> Self {
        Self::Store { source }
    }
}
