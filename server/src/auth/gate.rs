//! The gate in front of all handlers.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{ALLOW, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::credentials::{Presented, presented};
use super::table::{Area, DECLARATIONS, Need, Verb, need};
use super::{Auth, AuthError, Identity};
use crate::audit::Access;
use crate::http::{Server, refusal};

/// The other end of the connection; set by who accepts connections.
#[derive(Clone, Copy, Debug)]
pub struct RemoteAddress(pub SocketAddr);

/// Lets a request through to its handler, or answers it. What may change something goes on to its end, and to its line
/// in the audit trail, when the other end has closed the connection.
pub async fn gate(State(server): State<Server>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return judge(server, request, next).await;
    }
    let area = Area::of(request.uri().path());
    match tokio::spawn(judge(server, request, next)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a request was not answered; this is a fault of the server");
            refusal(area, StatusCode::SERVICE_UNAVAILABLE, "the server failed while it answered; its log says more")
        }
    }
}

async fn judge(server: Server, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let area = Area::of(&path);
    let from = request.extensions().get::<RemoteAddress>().map(|from| from.0.to_string());
    let (response, who, denied) = match need(&method, &path, server.settings.anonymous_pull) {
        Need::Open => (next.run(request).await, None, false),
        Need::NoSuchPath => (refusal(area, StatusCode::NOT_FOUND, "there is nothing under this path"), None, false),
        Need::NoSuchMethod(allow) => (no_such_method(area, allow), None, false),
        Need::Right(verb) => match identify(&server.auth, request.headers()).await {
            Err(error) => (denial(area, &server, request.uri(), request.headers(), &error), None, true),
            Ok(identity) => {
                if let Err(error) = authorize(&server, &identity, verb, &method, &path).await {
                    let answer = denial(area, &server, request.uri(), request.headers(), &error);
                    (answer, Some(identity), true)
                } else {
                    request.extensions_mut().insert(identity.clone());
                    let answer = next.run(request).await;
                    // A handler asks for more where only it knows what is changed.
                    let denied = answer.status() == StatusCode::FORBIDDEN;
                    (answer, Some(identity), denied)
                }
            }
        },
    };
    let changes = who.is_some() && !matches!(method, Method::GET | Method::HEAD);
    if denied || changes {
        server.audit.access(&Access {
            who: who.as_ref().map(Identity::name),
            method: method.as_str(),
            path: &path,
            digest: response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()),
            from,
            status: response.status().as_u16(),
            denied,
        });
    }
    server.metrics.answered(area.map_or("other", Area::label), response.status(), started.elapsed());
    response
}

/// The right of the table; to put something else in the place of what is declared, `update` besides.
async fn authorize(
    server: &Server,
    identity: &Identity,
    verb: Verb,
    method: &Method,
    path: &str,
) -> Result<(), AuthError> {
    server.auth.authorize(identity, verb).await?;
    if *method == Method::PUT
        && let Some(id) = path.strip_prefix(DECLARATIONS)
        && is_taken(server, id).await
    {
        server.auth.authorize(identity, Verb::Update).await?;
    }
    Ok(())
}

/// Whether something is published under this id or on its way there. An id never has to be escaped, and one that is
/// may be another one than it seems.
async fn is_taken(server: &Server, id: &str) -> bool {
    let taken = |found: api::Declaration| found.package.is_some() || found.state != api::State::Failed;
    !matches!(*server.auth, Auth::None)
        && (id.contains('%') || !server.declarations.view(id).await.is_ok_and(|found| !found.is_some_and(taken)))
}

async fn identify(auth: &Auth, headers: &HeaderMap) -> Result<Identity, AuthError> {
    if matches!(auth, Auth::None | Auth::ReadOnly) {
        return Ok(Identity::Anonymous);
    }
    let message = match presented(headers) {
        Presented::Token(token) => return auth.authenticate(&token).await,
        Presented::Nothing => "a token for this registry is needed, as bearer token or as password",
        Presented::Unusable => {
            "the Authorization header has no token: Bearer, or Basic with the token as password, is needed"
        }
    };
    Err(AuthError::Unauthenticated { message: message.to_owned() })
}

fn no_such_method(area: Option<Area>, allow: &'static str) -> Response {
    let mut response = refusal(area, StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn denial(area: Option<Area>, server: &Server, uri: &Uri, headers: &HeaderMap, error: &AuthError) -> Response {
    let status = match error {
        AuthError::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
        AuthError::Forbidden { .. } => StatusCode::FORBIDDEN,
        AuthError::Unavailable { .. } => {
            tracing::error!(%error, "a request could not be judged");
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let mut response = refusal(area, status, &error.to_string());
    match status {
        StatusCode::UNAUTHORIZED => {
            for value in challenge(server.settings.scheme, uri, headers, true) {
                response.headers_mut().append(WWW_AUTHENTICATE, value);
            }
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        _ => {}
    }
    response
}

/// What the other end may do to be known: Basic, and Bearer with a realm on the authority that was asked.
#[must_use]
pub fn challenge(scheme: &str, uri: &Uri, headers: &HeaderMap, bearer: bool) -> Vec<HeaderValue> {
    let asked = asked_authority(uri, headers);
    let host = asked.as_ref().map_or("registry", Authority::as_str);
    let mut lines = Vec::new();
    if bearer && asked.is_some() {
        lines.push(format!(r#"Bearer realm="{scheme}://{host}/auth/token",service="{host}""#));
    }
    lines.push(format!(r#"Basic realm="{host}""#));
    lines.iter().filter_map(|line| HeaderValue::from_str(line).ok()).collect()
}

/// Host and port that the request was sent to. An authority has no character that could end a quoted string.
#[must_use]
pub fn asked_authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let authority = match uri.authority() {
        Some(authority) => authority.clone(),
        None => headers.get(HOST)?.to_str().ok()?.parse().ok()?,
    };
    let clean = authority.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    clean.then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenges(host: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        let values = challenge("https", &Uri::from_static("/v2/"), &headers, true);
        values.iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_challenge_offers_both_schemes_on_the_authority_that_was_asked() {
        assert_eq!(
            challenges("r.test:8443"),
            [r#"Bearer realm="https://r.test:8443/auth/token",service="r.test:8443""#, r#"Basic realm="r.test:8443""#]
        );
    }

    #[test]
    fn a_host_that_could_break_out_of_the_challenge_is_not_repeated() {
        for host in ["a\"b", "user@evil.test", "a b", "a\\"] {
            assert_eq!(challenges(host), [r#"Basic realm="registry""#], "{host}");
        }
    }
}
