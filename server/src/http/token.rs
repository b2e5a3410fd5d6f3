//! `GET /auth/token`: what the Bearer challenge leads to. The password of a client that knows Basic alone is its token
//! already; this hands it back once it was found good.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde_json::json;

use super::{Server, refusal};
use crate::audit::Access;
use crate::auth::credentials::{Presented, presented};
use crate::auth::{AuthError, RemoteAddress, challenge};

/// The token of a request with credentials.
pub async fn token(
    State(server): State<Server>,
    from: Option<Extension<RemoteAddress>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let from = from.map(|Extension(RemoteAddress(from))| from.to_string());
    let given = presented(&headers);
    if given == Presented::Unusable {
        note(&server, &method, &uri, from.clone());
    }
    let Presented::Token(token) = given else {
        return unauthorized(&server, &uri, &headers, "a token for this registry is needed as password");
    };
    match server.auth.authenticate(&token).await {
        Ok(_) => {
            let body = json!({ "token": token, "access_token": token, "expires_in": 60 });
            let mut response = Json(body).into_response();
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error @ AuthError::Unavailable { .. }) => {
            let mut response = refusal(None, StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
        Err(error) => {
            note(&server, &method, &uri, from);
            unauthorized(&server, &uri, &headers, &error.to_string())
        }
    }
}

/// Credentials that failed are in the audit trail; that somebody came without any, to be told what is needed, is not.
fn note(server: &Server, method: &Method, uri: &Uri, from: Option<String>) {
    let status = StatusCode::UNAUTHORIZED.as_u16();
    server.audit.access(&Access {
        who: None,
        method: method.as_str(),
        path: uri.path(),
        digest: None,
        from,
        status,
        denied: true,
    });
}

fn unauthorized(server: &Server, uri: &Uri, headers: &HeaderMap, message: &str) -> Response {
    let mut response = refusal(None, StatusCode::UNAUTHORIZED, message);
    for value in challenge(server.settings.scheme, uri, headers, false) {
        response.headers_mut().append(WWW_AUTHENTICATE, value);
    }
    response
}
