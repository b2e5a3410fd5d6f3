//! Errors as the distribution specification has them: `{"errors":[{"code","message"}]}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::super::answer::outside;
use crate::storage::StorageError;

/// Why a request on `/v2/` got no content.
#[derive(Debug)]
pub enum V2Error {
    /// Not a repository's name.
    NameInvalid(String),
    /// No such repository.
    NameUnknown(String),
    /// Not a digest.
    DigestInvalid(String),
    /// No such manifest in that repository.
    ManifestUnknown(String),
    /// No such blob in that repository.
    BlobUnknown(String),
    /// A page size that is none.
    PageInvalid,
    /// The range lies outside of a blob of so many bytes.
    RangeOutside(u64),
    /// There is nothing under that path.
    NoSuchPath,
    /// Something that this registry doesn't do.
    Unsupported(&'static str),
    /// The store failed.
    Store(StorageError),
}

impl From<StorageError> for V2Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::RangeOutside { size, .. } => Self::RangeOutside(size),
            other => Self::Store(other),
        }
    }
}

impl V2Error {
    fn parts(&self) -> (StatusCode, &'static str, String) {
        use StatusCode as S;
        match self {
            Self::NameInvalid(why) => (S::BAD_REQUEST, "NAME_INVALID", why.clone()),
            Self::NameUnknown(name) => (S::NOT_FOUND, "NAME_UNKNOWN", format!("there is no repository {name}")),
            Self::DigestInvalid(why) => (S::BAD_REQUEST, "DIGEST_INVALID", why.clone()),
            Self::ManifestUnknown(name) => (S::NOT_FOUND, "MANIFEST_UNKNOWN", format!("there is no manifest {name}")),
            Self::BlobUnknown(name) => (S::NOT_FOUND, "BLOB_UNKNOWN", format!("there is no blob {name}")),
            Self::PageInvalid => (S::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", "n must be a whole number".to_owned()),
            Self::RangeOutside(size) => {
                (S::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", format!("the blob has {size} bytes"))
            }
            Self::NoSuchPath => (S::NOT_FOUND, "UNSUPPORTED", "there is nothing under this path".to_owned()),
            Self::Unsupported(what) => (S::METHOD_NOT_ALLOWED, "UNSUPPORTED", (*what).to_owned()),
            Self::Store(error) => (S::SERVICE_UNAVAILABLE, "UNAVAILABLE", format!("the store failed: {error}")),
        }
    }
}

impl IntoResponse for V2Error {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        let mut response = answer(status, code, &message);
        match &self {
            Self::RangeOutside(size) => response = outside(response, *size),
            Self::Unsupported(_) => {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Store(error) => {
                tracing::error!(%error, "the store failed");
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}

fn answer(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    (status, Json(body)).into_response()
}

/// What the gate answers on `/v2/`.
pub fn refusal(status: StatusCode, message: &str) -> Response {
    let code = match status {
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN => "DENIED",
        StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
        _ => "UNSUPPORTED",
    };
    answer(status, code, message)
}
