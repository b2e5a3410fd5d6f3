//! `/api/v1`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{DeclarationSpec, PackageList, ServerStatus};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::sync::Mutex;

use super::Server;
use super::answer::{api_error, store_failed};
use crate::catalogue::describe;
use crate::catalogue::entry::code_of;

/// How long a count of the bytes in use is good for; it walks the whole store.
const COUNT_AGAIN: Duration = Duration::from_secs(5);

/// Most bytes of a declaration, its certificates included.
const BODY_LIMIT: usize = 1 << 20;
/// How long a declaration may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Bytes in use, as last counted.
#[derive(Clone, Debug, Default)]
pub struct Usage(Arc<Mutex<Option<(Instant, u64)>>>);

/// `GET /api/v1/packages`.
pub async fn packages(State(server): State<Server>) -> Response {
    match server.catalogue.packages().await {
        Ok(entries) => {
            let packages = entries.iter().map(describe::info).collect();
            Json(PackageList { packages }).into_response()
        }
        Err(error) => store_failed(&error),
    }
}

/// `GET /api/v1/packages/{name}/{version}`.
pub async fn package(State(server): State<Server>, Path((name, version)): Path<(String, String)>) -> Response {
    let found = match code_of(&name, &version) {
        Ok(code) => server.catalogue.of_coordinate(&code).await,
        Err(_) => Ok(Vec::new()),
    };
    match found {
        Ok(entries) => entries.first().map_or_else(
            || {
                let message = format!("Version [{version}] of package [{name}] not found");
                api_error(StatusCode::NOT_FOUND, "NotFound", &message)
            },
            |entry| Json(describe::info(entry)).into_response(),
        ),
        Err(error) => store_failed(&error),
    }
}

/// `GET /api/v1/status`.
pub async fn status(State(server): State<Server>) -> Response {
    let counted = async {
        let packages = server.catalogue.count().await?;
        let mut usage = server.usage.0.lock().await;
        let used_bytes = match *usage {
            Some((since, bytes)) if since.elapsed() < COUNT_AGAIN => bytes,
            _ => {
                let bytes = server.catalogue.used_bytes().await?;
                *usage = Some((Instant::now(), bytes));
                bytes
            }
        };
        Ok::<_, crate::storage::StorageError>((packages, used_bytes))
    };
    match counted.await {
        Ok((packages, used_bytes)) => {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            Json(ServerStatus { version, packages, used_bytes, conditions: Vec::new() }).into_response()
        }
        Err(error) => store_failed(&error),
    }
}

/// `GET /api/v1/declarations/{id}`.
pub async fn declaration(State(server): State<Server>, Path(id): Path<String>) -> Response {
    match server.declarations.view(&id).await {
        Some(declaration) => Json(declaration).into_response(),
        None => no_such_declaration(&id),
    }
}

/// `PUT /api/v1/declarations/{id}`.
pub async fn declare(State(server): State<Server>, Path(id): Path<String>, body: Body) -> Response {
    let body = match tokio::time::timeout(BODY_TIME, to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => {
            let message = format!("the declaration did not arrive whole, or has more than {BODY_LIMIT} bytes: {error}");
            return api_error(StatusCode::BAD_REQUEST, "Invalid", &message);
        }
        Err(_) => return api_error(StatusCode::REQUEST_TIMEOUT, "Invalid", "the declaration did not arrive in time"),
    };
    let spec: DeclarationSpec = match serde_json::from_slice(&body) {
        Ok(spec) => spec,
        Err(error) => {
            let message = format!("the declaration can't be read: {error}");
            return api_error(StatusCode::BAD_REQUEST, "Invalid", &message);
        }
    };
    match server.declarations.put(&id, spec).await {
        Ok(declaration) => Json(declaration).into_response(),
        Err(error) => api_error(StatusCode::BAD_REQUEST, "Invalid", &error.to_string()),
    }
}

/// `DELETE /api/v1/declarations/{id}`.
pub async fn withdraw(State(server): State<Server>, Path(id): Path<String>) -> Response {
    match server.declarations.delete(&id).await {
        Ok(Some(declaration)) => (StatusCode::ACCEPTED, Json(declaration)).into_response(),
        Ok(None) => no_such_declaration(&id),
        Err(error) => store_failed(&error),
    }
}

fn no_such_declaration(id: &str) -> Response {
    api_error(StatusCode::NOT_FOUND, "NotFound", &format!("there is no declaration {id:?}"))
}
