//! `/api/v1/uploads`.

use std::sync::Arc;
use std::time::Duration;

use api::upload::UPLOAD_OFFSET;
use api::{ApiError, PackageContent, Upload};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::{CONNECTION, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;

use super::Server;
use super::answer::{Segments, api_error, error_with, insert, store_failed};
use super::arriving::arriving;
use super::document::{self, Terms};
use crate::auth::Identity;
use crate::storage::StorageError;
use crate::uploads::{Announced, CONTENT_LIMIT, UploadError, UploadId};

const OFFSET: HeaderName = HeaderName::from_static(UPLOAD_OFFSET);
/// What is taken of a content.
const TERMS: Terms = Terms { what: "content", limit: CONTENT_LIMIT, time: Duration::from_mins(5) };
/// Contents that are read at the same time: each takes some multiple of its size in memory.
const READERS: usize = 4;

/// Turns for reading contents.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READERS)))
    }
}

/// `POST /api/v1/uploads`.
#[utoipa::path(post, path = "/api/v1/uploads", tag = "uploads", request_body = PackageContent, responses(
    (status = 200, description = "The upload that there was, or the package that is there already.", body = Upload,
        headers(("location" = String, description = "Path of the upload."))),
    (status = 201, description = "A new upload.", body = Upload,
        headers(("location" = String, description = "Path of the upload."))),
    (status = 400, description = "The content can't be published.", body = ApiError),
    (status = 408, description = "It did not arrive in time.", body = ApiError),
    (status = 409, description = "Other content is there under the name and version.", body = ApiError),
    (status = 507, description = "The store is full.", body = ApiError),
))]
pub async fn announce(State(server): State<Server>, body: Body) -> Response {
    let Ok(_turn) = server.readers.0.acquire().await else {
        return api_error(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", "the server is stopping");
    };
    let content: PackageContent = match document::read(body, TERMS).await {
        Ok(content) => content,
        Err(unread) => return unread.into_response(),
    };
    match server.uploads.announce(content).await {
        Ok(Announced { upload, is_new }) => {
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            let location = format!("/api/v1/uploads/{}", upload.id);
            let mut response = (status, Json(upload)).into_response();
            insert(response.headers_mut(), LOCATION, &location);
            response
        }
        Err(error) => refused(&error),
    }
}

/// `GET /api/v1/uploads/{id}`.
#[utoipa::path(get, path = "/api/v1/uploads/{id}", tag = "uploads",
    params(("id" = String, Path, description = "Id of the upload.")),
    responses(
        (status = 200, description = "How far it is.", body = Upload),
        (status = 404, description = "There is no such upload.", body = ApiError),
    )
)]
pub async fn view(State(server): State<Server>, Segments(id): Segments<String>) -> Response {
    let Ok(id) = id.parse::<UploadId>() else { return refused(&UploadError::NoSuchUpload) };
    match server.uploads.view(&id).await {
        Ok(upload) => Json(upload).into_response(),
        Err(error) => refused(&error),
    }
}

/// `DELETE /api/v1/uploads/{id}`.
#[utoipa::path(delete, path = "/api/v1/uploads/{id}", tag = "uploads",
    params(("id" = String, Path, description = "Id of the upload.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "The id is none.", body = ApiError),
        (status = 409, description = "It is being published.", body = ApiError),
    )
)]
pub async fn abandon(State(server): State<Server>, Segments(id): Segments<String>) -> Response {
    let Ok(id) = id.parse::<UploadId>() else { return refused(&UploadError::NoSuchUpload) };
    match server.uploads.abandon(&id).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&error),
    }
}

/// `POST /api/v1/uploads/{id}/complete`.
#[utoipa::path(post, path = "/api/v1/uploads/{id}/complete", tag = "uploads",
    params(("id" = String, Path, description = "Id of the upload.")),
    responses(
        (status = 202, description = "It is on its way, or there.", body = Upload),
        (status = 400, description = "A blob is there with another size.", body = ApiError),
        (status = 404, description = "There is no such upload.", body = ApiError),
        (status = 409, description = "Something is missing; `data` is the upload.", body = ApiError),
    )
)]
pub async fn complete(
    State(server): State<Server>,
    Segments(id): Segments<String>,
    identity: Option<Extension<Identity>>,
) -> Response {
    let Ok(id) = id.parse::<UploadId>() else { return refused(&UploadError::NoSuchUpload) };
    let by = identity.as_ref().map_or("anonymous", |Extension(identity)| identity.name());
    match server.uploads.complete(&id, by).await {
        Ok(upload) => (StatusCode::ACCEPTED, Json(upload)).into_response(),
        Err(error) => refused(&error),
    }
}

/// `HEAD /api/v1/uploads/{id}/blobs/{digest}`.
#[utoipa::path(head, path = "/api/v1/uploads/{id}/blobs/{digest}", tag = "uploads",
    params(
        ("id" = String, Path, description = "Id of the upload."),
        ("digest" = String, Path, description = "`sha256:<hex>` of the blob."),
    ),
    responses(
        (status = 204, description = "Bytes that are there.",
            headers(("upload-offset" = u64, description = "How many of its bytes the registry has."))),
        (status = 404, description = "There is no such upload or blob."),
    )
)]
pub async fn offset(State(server): State<Server>, Segments((id, digest)): Segments<(String, String)>) -> Response {
    let Ok(id) = id.parse::<UploadId>() else { return refused(&UploadError::NoSuchUpload) };
    match server.uploads.offset(&id, &digest).await {
        Ok(offset) => at(StatusCode::NO_CONTENT.into_response(), offset),
        Err(error) => refused(&error),
    }
}

/// `PATCH /api/v1/uploads/{id}/blobs/{digest}`.
#[utoipa::path(patch, path = "/api/v1/uploads/{id}/blobs/{digest}", tag = "uploads",
    params(
        ("id" = String, Path, description = "Id of the upload."),
        ("digest" = String, Path, description = "`sha256:<hex>` of the blob."),
        ("upload-offset" = u64, Header, description = "At which byte of the blob the body begins."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 204, description = "They are kept.",
            headers(("upload-offset" = u64, description = "How many of its bytes the registry has."))),
        (status = 400, description = "Other bytes than announced, or no offset.", body = ApiError),
        (status = 404, description = "There is no such upload or blob.", body = ApiError),
        (status = 408, description = "The transfer broke off; what arrived is kept.", body = ApiError),
        (status = 409, description = "The registry has another offset.", body = ApiError,
            headers(("upload-offset" = u64, description = "How many of its bytes the registry has."))),
        (status = 507, description = "The store is full.", body = ApiError),
    )
)]
pub async fn append(
    State(server): State<Server>,
    Segments((id, digest)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(id) = id.parse::<UploadId>() else { return refused(&UploadError::NoSuchUpload) };
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let offset = headers.get(OFFSET).and_then(|value| value.to_str().ok()).filter(digits);
    let Some(offset) = offset.and_then(|text| text.parse().ok()) else {
        let message = format!("the header {UPLOAD_OFFSET} must say at which byte the body begins");
        return api_error(StatusCode::BAD_REQUEST, "Invalid", &message);
    };
    match server.uploads.append(&id, &digest, offset, arriving(body)).await {
        Ok(offset) => at(StatusCode::NO_CONTENT.into_response(), offset),
        Err(error) => refused(&error),
    }
}

fn at(mut response: Response, offset: u64) -> Response {
    response.headers_mut().insert(OFFSET, HeaderValue::from(offset));
    response
}

/// What went wrong, in the API's form.
pub(super) fn refused(error: &UploadError) -> Response {
    let message = error.to_string();
    match error {
        UploadError::Content { .. } | UploadError::WrongSize { .. } | UploadError::TooLong { .. } => {
            api_error(StatusCode::BAD_REQUEST, "Invalid", &message)
        }
        UploadError::NoSuchUpload | UploadError::NoSuchBlob { .. } => {
            api_error(StatusCode::NOT_FOUND, "NotFound", &message)
        }
        UploadError::WrongOffset { offset } => at(api_error(StatusCode::CONFLICT, "WrongOffset", &message), *offset),
        UploadError::WrongDigest { expected, found } => {
            let data = json!({"expected": expected.to_string(), "found": found.to_string()});
            error_with(StatusCode::BAD_REQUEST, "DigestMismatch", &message, data)
        }
        UploadError::Broken { offset, .. } => {
            let mut response = at(api_error(StatusCode::REQUEST_TIMEOUT, "Broken", &message), *offset);
            // What may still come of the body belongs to no request.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        UploadError::Incomplete { upload } => error_with(StatusCode::CONFLICT, "Incomplete", &message, json!(upload)),
        UploadError::InWork | UploadError::Conflict { .. } => api_error(StatusCode::CONFLICT, "Conflict", &message),
        UploadError::Store { source: StorageError::StorageFull { .. } } => {
            api_error(StatusCode::INSUFFICIENT_STORAGE, "StorageFull", &message)
        }
        UploadError::Damaged { .. } => {
            tracing::error!(%error, "an upload can't be gone on with");
            api_error(StatusCode::INTERNAL_SERVER_ERROR, "Damaged", &message)
        }
        UploadError::Store { source } => store_failed(source),
    }
}
