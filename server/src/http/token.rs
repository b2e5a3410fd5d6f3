//! `GET /auth/token`: what the Bearer challenge leads to. The password of a client that knows Basic alone is its token
//! already; this hands it back once it was found good.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde_json::json;

use super::{Server, refusal};
use crate::auth::credentials::{Presented, presented};
use crate::auth::{AuthError, challenge};

/// The token of a request with credentials.
pub async fn token(State(server): State<Server>, uri: Uri, headers: HeaderMap) -> Response {
    let Presented::Token(token) = presented(&headers) else {
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
        Err(error) => unauthorized(&server, &uri, &headers, &error.to_string()),
    }
}

fn unauthorized(server: &Server, uri: &Uri, headers: &HeaderMap, message: &str) -> Response {
    let mut response = refusal(None, StatusCode::UNAUTHORIZED, message);
    for value in challenge(server.settings.scheme, uri, headers, false) {
        response.headers_mut().append(WWW_AUTHENTICATE, value);
    }
    response
}
