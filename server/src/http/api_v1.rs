//! `/api/v1`: declarations and the server's status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{ApiError, Declaration, DeclarationSpec, ServerCondition, ServerStatus};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::sync::Mutex;

use super::Server;
use super::answer::{Segments, api_error, store_failed};
use super::document::{self, Terms};
use crate::catalogue::Catalogue;
use crate::declarations::PutError;
use crate::storage::StorageError;
use crate::storage::health::Trouble;

/// How long a count of the bytes in use is good for; it walks the whole store.
const COUNT_AGAIN: Duration = Duration::from_secs(5);

/// What is taken of a declaration, its certificates included.
const TERMS: Terms = Terms { what: "declaration", limit: 1 << 20, time: Duration::from_secs(30) };

/// Packages and bytes in use, as last counted.
#[derive(Clone, Debug, Default)]
pub struct Usage(Arc<Mutex<Counted>>);

#[derive(Clone, Debug, Default)]
struct Counted {
    packages: u64,
    used_bytes: u64,
    /// When the bytes were counted.
    since: Option<Instant>,
    /// Why nothing could be counted now.
    failed: Option<String>,
}

impl Usage {
    async fn count(&self, catalogue: &Catalogue) -> Counted {
        let mut counted = self.0.lock().await;
        let again = counted.since.is_none_or(|since| since.elapsed() >= COUNT_AGAIN);
        let now = async {
            let packages = catalogue.count().await?;
            Ok::<_, StorageError>((packages, if again { Some(catalogue.used_bytes().await?) } else { None }))
        };
        counted.failed = match now.await {
            Ok((packages, bytes)) => {
                counted.packages = packages;
                if let Some(bytes) = bytes {
                    (counted.used_bytes, counted.since) = (bytes, Some(Instant::now()));
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        counted.clone()
    }
}

/// `GET /api/v1/status`. A store that can't be asked is a condition, with the figures as they were counted last.
#[utoipa::path(get, path = "/api/v1/status", tag = "status",
    responses(
        (status = 200, description = "Figures of this server, and what is wrong with it.", body = ServerStatus),
    )
)]
pub async fn status(State(server): State<Server>) -> Response {
    let counted = server.usage.count(&server.catalogue).await;
    let complaint = server.catalogue.storage().complaint();
    let condition = match (&counted.failed, complaint) {
        (_, Some(complaint)) => condition(false, complaint.trouble.word(), &complaint.message),
        (Some(error), None) => condition(false, Trouble::Unreachable.word(), error),
        (None, None) => condition(true, "Succeeded", "the store answers"),
    };
    let (packages, used_bytes) = (counted.packages, counted.used_bytes);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(ServerStatus { version, packages, used_bytes, conditions: vec![condition] }).into_response()
}

fn condition(ok: bool, reason: &str, message: &str) -> ServerCondition {
    ServerCondition { kind: "Storage".to_owned(), ok, reason: reason.to_owned(), message: message.to_owned() }
}

/// `GET /api/v1/declarations/{id}`.
#[utoipa::path(get, path = "/api/v1/declarations/{id}", tag = "declarations",
    params(("id" = String, Path, description = "Uid of the declaring object.")),
    responses(
        (status = 200, description = "The declaration and what became of it.", body = Declaration),
        (status = 404, description = "There is none.", body = ApiError),
    )
)]
pub async fn declaration(State(server): State<Server>, Segments(id): Segments<String>) -> Response {
    match server.declarations.view(&id).await {
        Ok(Some(declaration)) => Json(declaration).into_response(),
        Ok(None) => no_such_declaration(&id),
        Err(error) => store_failed(&error),
    }
}

/// `PUT /api/v1/declarations/{id}`.
#[utoipa::path(put, path = "/api/v1/declarations/{id}", tag = "declarations",
    params(("id" = String, Path, description = "Uid of the declaring object.")),
    request_body = DeclarationSpec,
    responses(
        (status = 200, description = "The declaration and what became of it.", body = Declaration),
        (status = 400, description = "It can't be taken.", body = ApiError),
        (status = 404, description = "The path can't be read.", body = ApiError),
        (status = 408, description = "It did not arrive in time.", body = ApiError),
    )
)]
pub async fn declare(State(server): State<Server>, Segments(id): Segments<String>, body: Body) -> Response {
    let spec: DeclarationSpec = match document::read(body, TERMS).await {
        Ok(spec) => spec,
        Err(unread) => return unread.into_response(),
    };
    match server.declarations.put(&id, spec).await {
        Ok(declaration) => Json(declaration).into_response(),
        Err(PutError::Store { source }) => store_failed(&source),
        Err(error @ PutError::Invalid { .. }) => api_error(StatusCode::BAD_REQUEST, "Invalid", &error.to_string()),
    }
}

/// `DELETE /api/v1/declarations/{id}`.
#[utoipa::path(delete, path = "/api/v1/declarations/{id}", tag = "declarations",
    params(("id" = String, Path, description = "Uid of the declaring object.")),
    responses(
        (status = 202, description = "It is on its way out.", body = Declaration),
        (status = 404, description = "There is none.", body = ApiError),
    )
)]
pub async fn withdraw(State(server): State<Server>, Segments(id): Segments<String>) -> Response {
    match server.declarations.delete(&id).await {
        Ok(Some(declaration)) => (StatusCode::ACCEPTED, Json(declaration)).into_response(),
        Ok(None) => no_such_declaration(&id),
        Err(error) => store_failed(&error),
    }
}

fn no_such_declaration(id: &str) -> Response {
    api_error(StatusCode::NOT_FOUND, "NotFound", &format!("there is no declaration {id:?}"))
}
