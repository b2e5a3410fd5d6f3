//! Requests to registries: authentication as they ask for it, redirects, repeated attempts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::challenge::{Challenge, may_have_credentials, parse};
use super::credentials::Keyring;
use super::docker_config::Credentials;
use super::hosts_toml::{Endpoint, Tls};
use crate::http::{PATIENCE, RequestError, USER_AGENT, is_transient};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;
/// Bytes of a token's document, and of what a registry says about an error.
const LONGEST_ANSWER: usize = 1 << 20;
/// Characters of an error's text that are shown.
const LONGEST_DETAIL: usize = 300;

/// Asks registries.
pub struct Client {
    keyring: Keyring,
    /// One for each way to check certificates.
    clients: Mutex<HashMap<Tls, reqwest::Client>>,
    /// What a registry wanted to see, by its base and the repository.
    authorizations: Mutex<HashMap<(Url, String), HeaderValue>>,
}

impl Client {
    /// With these credentials.
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring, clients: Mutex::default(), authorizations: Mutex::default() }
    }

    /// Asks an endpoint for `<repository>/<rest>`, once, and gives every answer but refusals and errors.
    pub async fn get(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        rest: &str,
        headers: &HeaderMap,
    ) -> Result<Response, RequestError> {
        let url = url(endpoint, repository, rest)?;
        let client = self.client(&endpoint.tls)?;
        let key = (endpoint.base.clone(), repository.to_owned());
        let known = self.authorizations.lock().ok().and_then(|known| known.get(&key).cloned());
        let send = async |authorization: Option<&HeaderValue>| {
            let mut all = endpoint.headers.clone();
            all.extend(headers.clone());
            all.extend(authorization.map(|value| (AUTHORIZATION, value.clone())));
            follow(&client, &url, &all, headers).await
        };
        let answer = send(known.as_ref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return useful(answer).await;
        }
        // A token that was good may have ended.
        match self.authorize(&client, endpoint, repository, &answer).await? {
            Some(authorization) => {
                if let Ok(mut known) = self.authorizations.lock() {
                    known.insert(key, authorization.clone());
                }
                useful(send(Some(&authorization)).await?).await
            }
            None => useful(answer).await,
        }
    }

    /// What the registry wants to see, by the challenge of its refusal; `None` when there is nothing to show.
    async fn authorize(
        &self,
        client: &reqwest::Client,
        endpoint: &Endpoint,
        repository: &str,
        refusal: &Response,
    ) -> Result<Option<HeaderValue>, RequestError> {
        let headers = refusal.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = headers.flat_map(parse).collect();
        let host = authority(&endpoint.base);
        let credentials = self.keyring.find(&host).await.map_err(|error| refused(error.to_string()))?;
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service } => Some((realm, service.as_deref())),
            Challenge::Basic => None,
        });
        if let Some((realm, service)) = bearer {
            let realm =
                Url::parse(realm).map_err(|error| refused(format!("its token address \"{realm}\": {error}")))?;
            let token = token(client, endpoint, repository, &realm, service, credentials).await?;
            return secret(&format!("Bearer {token}")).map(Some);
        }
        match credentials {
            Some(Credentials::Password { user, password }) if challenges.contains(&Challenge::Basic) => {
                secret(&basic(&user, &password)).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn client(&self, tls: &Tls) -> Result<reqwest::Client, RequestError> {
        let mut clients = self.clients.lock().map_err(|_| refused("another download failed".to_owned()))?;
        if let Some(client) = clients.get(tls) {
            return Ok(client.clone());
        }
        let client = configured(tls)?;
        clients.insert(tls.clone(), client.clone());
        Ok(client)
    }
}

fn configured(tls: &Tls) -> Result<reqwest::Client, RequestError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .redirect(Policy::none())
        .tls_danger_accept_invalid_certs(tls.skip_verify);
    let read = |path: &Path| std::fs::read(path).map_err(|error| refused(format!("{}: {error}", path.display())));
    for path in &tls.ca {
        let wrong = |error| refused(format!("{}: {error}", path.display()));
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&read(path)?).map_err(wrong)?);
    }
    if let Some((certificate, key)) = &tls.client {
        let mut pem = read(certificate)?;
        if let Some(key) = key {
            pem.push(b'\n');
            pem.extend(read(key)?);
        }
        let wrong = |error| refused(format!("{}: {error}", certificate.display()));
        builder = builder.identity(Identity::from_pem(&pem).map_err(wrong)?);
    }
    Ok(builder.build()?)
}

fn url(endpoint: &Endpoint, repository: &str, rest: &str) -> Result<Url, RequestError> {
    let path = format!("{repository}/{rest}");
    let mut url = endpoint.base.join(&path).map_err(|error| refused(format!("{path}: {error}")))?;
    if let Some(namespace) = &endpoint.namespace {
        url.query_pairs_mut().append_pair("ns", namespace);
    }
    Ok(url)
}

/// Sends a request and follows redirects. To another authority go neither the authorization nor the headers that are
/// configured for the endpoint; and nothing goes from TLS to plain HTTP.
async fn follow(
    client: &reqwest::Client,
    first: &Url,
    all: &HeaderMap,
    plain: &HeaderMap,
) -> Result<Response, RequestError> {
    let mut url = first.clone();
    for _ in 0..=MOST_REDIRECTS {
        let headers = if url.origin() == first.origin() { all } else { plain };
        let answer = client.get(url.clone()).headers(headers.clone()).send().await?;
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let (true, Some(location)) = (answer.status().is_redirection(), location) else { return Ok(answer) };
        let next = url.join(location).map_err(|error| refused(format!("it redirects to what is no URL: {error}")))?;
        if url.scheme() == "https" && next.scheme() != "https" {
            return Err(refused(format!("it redirects from https to {}", next.scheme())));
        }
        url = next;
    }
    Err(refused(format!("it redirects more than {MOST_REDIRECTS} times")))
}

/// An answer that has content, or says that an offset is behind it.
async fn useful(answer: Response) -> Result<Response, RequestError> {
    match answer.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
        _ => {
            let error = RequestError::status(&answer, String::new());
            let said = detail(&limited(answer).await.unwrap_or_default());
            Err(match error {
                RequestError::Status { status, pause, .. } => RequestError::Status { status, pause, detail: said },
                other => other,
            })
        }
    }
}

/// `: MANIFEST_UNKNOWN: manifest unknown` of a distribution API's error document.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        code: Option<String>,
        message: Option<String>,
    }
    let Ok(Errors { errors }) = serde_json::from_slice(body) else { return String::new() };
    let one = |One { code, message }: One| [code, message].into_iter().flatten().map(|word| format!(": {word}"));
    let text: String = errors.into_iter().flat_map(one).collect();
    text.chars().filter(|c| !c.is_control()).take(LONGEST_DETAIL).collect()
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Gets a token to pull from a repository.
async fn token(
    client: &reqwest::Client,
    endpoint: &Endpoint,
    repository: &str,
    realm: &Url,
    service: Option<&str>,
    credentials: Option<Credentials>,
) -> Result<String, RequestError> {
    let place = format!("the token address {}", authority(realm));
    let trusted = may_have_credentials(&endpoint.base, realm);
    let withheld = credentials.is_some() && !trusted;
    let credentials = credentials.filter(|_| trusted);
    let mut query = Serializer::new(String::new());
    query.extend_pairs(service.map(|service| ("service", service)));
    query.append_pair("scope", &format!("repository:{repository}:pull"));
    let request: RequestBuilder = match credentials {
        Some(Credentials::IdentityToken(token)) => {
            query.extend_pairs([
                ("grant_type", "refresh_token"),
                ("client_id", "dcos-registry"),
                ("refresh_token", &token),
            ]);
            let form = "application/x-www-form-urlencoded";
            client.post(realm.clone()).header("content-type", form).body(query.finish())
        }
        other => {
            let mut url = realm.clone();
            let query = [url.query().map(str::to_owned), Some(query.finish())];
            url.set_query(Some(&query.into_iter().flatten().collect::<Vec<_>>().join("&")));
            let request = client.get(url);
            match other {
                Some(Credentials::Password { user, password }) => {
                    request.header(AUTHORIZATION, secret(&basic(&user, &password))?)
                }
                _ => request,
            }
        }
    };
    let answer = request.send().await?;
    let status = answer.status();
    if status.is_success() {
        let body = limited(answer).await?;
        let Token { token, access_token } =
            serde_json::from_slice(&body).map_err(|_| refused(format!("{place} did not answer with a token")))?;
        let token = token.or(access_token).filter(|token| !token.is_empty());
        return token.ok_or_else(|| refused(format!("{place} did not answer with a token")));
    }
    if is_transient(status) {
        return Err(RequestError::status(&answer, format!(" from {place}")));
    }
    let hint = if withheld {
        format!(
            "; the credentials of {} were not sent there, since it is neither that host nor its domain",
            authority(&endpoint.base)
        )
    } else {
        String::new()
    };
    Err(refused(format!("{place} answers {status}{hint}")))
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn secret(value: &str) -> Result<HeaderValue, RequestError> {
    let mut value =
        HeaderValue::from_str(value).map_err(|_| refused("the token is not one line of text".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn limited(mut answer: Response) -> Result<Vec<u8>, RequestError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            return Err(refused(format!("the answer has more than {LONGEST_ANSWER} bytes")));
        }
    }
    Ok(body)
}

/// Host and port of a URL.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn refused(reason: String) -> RequestError {
    RequestError::Refused { reason }
}
