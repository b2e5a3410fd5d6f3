//! Calls of a registry's `/api/v1`. Each is made again while that can help, for longer where bytes were sent already; what is
//! sent twice has the same effect as once.

use api::upload::UPLOAD_OFFSET;
use api::{ApiError, BASE_PATH, PackageContent, PackageInfo, PackageList, ServerStatus, Upload};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use snafu::ResultExt;
use url::Url;

use super::error::{AnswerSnafu, CallError, RefusedSnafu, TokenSnafu, TransportSnafu};
use super::token::Credentials;
use crate::http::{ATTEMPTS, PATIENT_ATTEMPTS, USER_AGENT, asked_pause, repeat};
use crate::output::message;

/// A registry's API.
pub struct Api {
    client: Client,
    base: Url,
    credentials: Credentials,
    verbosity: u8,
}

/// Where an upload of a blob goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patched {
    /// The piece was taken; the next begins here.
    Taken(u64),
    /// It begins elsewhere: somebody else sent something, or an answer was lost.
    Elsewhere(u64),
}

impl Api {
    /// Calls below an address.
    pub const fn new(client: Client, base: Url, credentials: Credentials, verbosity: u8) -> Self {
        Self { client, base, credentials, verbosity }
    }

    /// Calls of a server on this machine that takes everybody.
    pub fn local(base: Url) -> Result<Self, reqwest::Error> {
        let client = Client::builder().no_proxy().user_agent(USER_AGENT).build()?;
        Ok(Self::new(client, base, Credentials::None, 0))
    }

    /// The registry's address.
    pub const fn base(&self) -> &Url {
        &self.base
    }

    /// The catalogue.
    pub async fn packages(&self) -> Result<PackageList, CallError> {
        self.json(ATTEMPTS, Method::GET, &["packages"]).await
    }

    /// One package; `None` when the registry doesn't know it.
    pub async fn package(&self, name: &str, version: &str) -> Result<Option<PackageInfo>, CallError> {
        known(self.json(ATTEMPTS, Method::GET, &["packages", name, version]).await)
    }

    /// The same for one who waits for what becomes of it.
    pub async fn awaited(&self, name: &str, version: &str) -> Result<Option<PackageInfo>, CallError> {
        known(self.json(PATIENT_ATTEMPTS, Method::GET, &["packages", name, version]).await)
    }

    /// Asks for a package to be removed; `None` when the registry doesn't know it.
    pub async fn remove(&self, name: &str, version: &str) -> Result<Option<PackageInfo>, CallError> {
        known(self.json(ATTEMPTS, Method::DELETE, &["packages", name, version]).await)
    }

    /// Everything that a package consists of; `None` when the registry doesn't know it.
    pub async fn content(&self, name: &str, version: &str) -> Result<Option<PackageContent>, CallError> {
        known(self.json(ATTEMPTS, Method::GET, &["packages", name, version, "content"]).await)
    }

    /// Bytes of a package from one byte on. One attempt.
    pub async fn part(&self, name: &str, version: &str, digest: &str, from: u64) -> Result<Response, CallError> {
        let path = ["packages", name, version, "blobs", digest];
        let answer =
            self.once(Method::GET, &path, |request| {
                if from == 0 { request } else { request.header(RANGE, format!("bytes={from}-")) }
            })
            .await?;
        let expected = if from == 0 { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        if answer.status() == expected {
            return Ok(answer);
        }
        let reason = format!("status {} for {digest}, must be {expected}", answer.status());
        AnswerSnafu { base: self.base.as_str(), reason }.fail()
    }

    /// What the server says of itself.
    pub async fn status(&self) -> Result<ServerStatus, CallError> {
        self.json(ATTEMPTS, Method::GET, &["status"]).await
    }

    /// Says what a package consists of and hears what is missing.
    pub async fn open_upload(&self, content: &PackageContent) -> Result<Upload, CallError> {
        let body = serde_json::to_vec(content).unwrap_or_default();
        let add = |request: RequestBuilder| request.header(CONTENT_TYPE, "application/json").body(body.clone());
        self.read(self.repeated(ATTEMPTS, Method::POST, &["uploads"], add).await?).await
    }

    /// How far an upload is.
    pub async fn upload(&self, id: &str) -> Result<Upload, CallError> {
        self.json(PATIENT_ATTEMPTS, Method::GET, &["uploads", id]).await
    }

    /// How many bytes of a blob the registry has.
    pub async fn offset(&self, id: &str, digest: &str) -> Result<u64, CallError> {
        let path = ["uploads", id, "blobs", digest];
        let answer = self.repeated(PATIENT_ATTEMPTS, Method::HEAD, &path, |request| request).await?;
        self.offset_of(answer.headers())
    }

    /// Sends a piece of a blob that begins at `offset`; `body` makes it, again where the token had ended. One attempt: where to
    /// go on is for the registry to say.
    pub async fn patch(
        &self,
        id: &str,
        digest: &str,
        offset: u64,
        size: u64,
        body: impl Fn() -> Body,
    ) -> Result<Patched, CallError> {
        let piece = |request: RequestBuilder| {
            let request = request.header(UPLOAD_OFFSET, offset).header(CONTENT_LENGTH, size);
            request.header(CONTENT_TYPE, "application/octet-stream").body(body())
        };
        let answer = self.authorized(Method::PATCH, &["uploads", id, "blobs", digest], piece).await?;
        match (answer.status(), self.offset_of(answer.headers())) {
            (StatusCode::CONFLICT, Ok(right)) => Ok(Patched::Elsewhere(right)),
            (status, offset) if status.is_success() => offset.map(Patched::Taken),
            _ => Err(self.refusal(answer).await),
        }
    }

    /// Asks for a package, all of whose bytes were sent, to be published. A registry that still lacks some says so.
    pub async fn complete(&self, id: &str) -> Result<Upload, CallError> {
        match self.json(PATIENT_ATTEMPTS, Method::POST, &["uploads", id, "complete"]).await {
            Err(CallError::Refused { status: StatusCode::CONFLICT, message, pause }) => {
                let upload = self.upload(id).await?;
                if upload.missing.is_empty() {
                    return RefusedSnafu { status: StatusCode::CONFLICT, message, pause }.fail();
                }
                Ok(upload)
            }
            answer => answer,
        }
    }

    async fn json<T: DeserializeOwned>(&self, attempts: u32, method: Method, path: &[&str]) -> Result<T, CallError> {
        self.read(self.repeated(attempts, method, path, |request| request).await?).await
    }

    async fn read<T: DeserializeOwned>(&self, answer: Response) -> Result<T, CallError> {
        let base = self.base.as_str();
        let bytes = answer.bytes().await.map_err(reqwest::Error::without_url).context(TransportSnafu { base })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| CallError::Answer { base: base.to_owned(), reason: error.to_string() })
    }

    async fn repeated(
        &self,
        attempts: u32,
        method: Method,
        path: &[&str],
        add: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, CallError> {
        repeat(attempts, async || self.once(method.clone(), path, &add).await).await
    }

    /// One attempt.
    async fn once(
        &self,
        method: Method,
        path: &[&str],
        add: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, CallError> {
        let answer = self.authorized(method, path, add).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    /// Every answer but refusals of a token in whose place there is another one: a token may have ended.
    async fn authorized(
        &self,
        method: Method,
        path: &[&str],
        add: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, CallError> {
        let shown = self.credentials.authorization().await.context(TokenSnafu)?;
        let answer = self.sent(add(self.request(method.clone(), path, shown.as_ref()))).await?;
        let refused = shown.filter(|_| answer.status() == StatusCode::UNAUTHORIZED);
        let Some(refused) = refused else { return Ok(answer) };
        match self.credentials.instead_of(&refused).await.context(TokenSnafu)? {
            Some(other) => self.sent(add(self.request(method, path, Some(&other)))).await,
            None => Ok(answer),
        }
    }

    fn request(&self, method: Method, path: &[&str], authorization: Option<&HeaderValue>) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(BASE_PATH.split('/').filter(|segment| !segment.is_empty())).extend(path);
        }
        if self.verbosity > 0 {
            message(&format!("{method} {url}"));
        }
        let request = self.client.request(method, url);
        match authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let answer = answer.context(TransportSnafu { base: self.base.as_str() })?;
        if self.verbosity > 1 {
            message(&format!("{} {}", answer.status(), answer.url().path()));
        }
        Ok(answer)
    }

    async fn refusal(&self, answer: Response) -> CallError {
        let status = answer.status();
        let pause = asked_pause(answer.headers());
        let bytes = answer.bytes().await.unwrap_or_default();
        let said = serde_json::from_slice::<ApiError>(&bytes).map(|error| error.message);
        let base = self.base.as_str();
        let message = match (said, status) {
            (Ok(said), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => format!("the registry at {base}: {said}"),
            (Ok(said), _) => said,
            (Err(_), _) => format!("the registry at {base} answers {status}"),
        };
        CallError::Refused { status, message, pause }
    }

    fn offset_of(&self, headers: &HeaderMap) -> Result<u64, CallError> {
        let offset = headers.get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
        let missing = || AnswerSnafu { base: self.base.as_str(), reason: format!("it has no {UPLOAD_OFFSET}") };
        offset.map_or_else(|| missing().fail(), Ok)
    }
}

fn known<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
        answer => answer.map(Some),
    }
}
