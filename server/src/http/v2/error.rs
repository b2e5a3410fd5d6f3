//! Errors as the distribution specification has them: `{"errors":[{"code","message","detail"}]}`. It lists the codes that an
//! answer may carry; `UNAVAILABLE` is none of them and only ever comes with a status above 499, which it leaves free.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::super::answer::outside;
use crate::auth::AuthError;
use crate::images::{ImageError, MANIFEST_LIMIT};
use crate::incoming::Interruption;
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
    /// A manifest can't be pushed under this name.
    TagInvalid(String),
    /// A manifest is larger than any that is taken.
    ManifestTooLarge,
    /// No such blob in that repository.
    BlobUnknown(String),
    /// A page size, or a place to go on from, that is none.
    PageInvalid(&'static str),
    /// The range lies outside of a blob of so many bytes.
    RangeOutside(u64),
    /// A header of an upload that can't be understood.
    UploadInvalid(&'static str),
    /// A range that says another length than the body has.
    SizeInvalid(String),
    /// There is nothing under that path.
    NoSuchPath,
    /// The path doesn't take this method, but these.
    Unsupported(&'static str),
    /// A push or a removal didn't happen.
    Image(ImageError),
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

impl From<ImageError> for V2Error {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Store { source } => Self::Store(source),
            other => Self::Image(other),
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
            Self::TagInvalid(why) => (S::BAD_REQUEST, "MANIFEST_INVALID", why.clone()),
            Self::ManifestTooLarge => {
                let message = format!("a manifest has at most {MANIFEST_LIMIT} bytes");
                (S::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message)
            }
            Self::BlobUnknown(name) => (S::NOT_FOUND, "BLOB_UNKNOWN", format!("there is no blob {name}")),
            Self::PageInvalid(why) => (S::BAD_REQUEST, "UNSUPPORTED", (*why).to_owned()),
            Self::RangeOutside(size) => (S::RANGE_NOT_SATISFIABLE, "UNSUPPORTED", format!("the blob has {size} bytes")),
            Self::UploadInvalid(why) => (S::BAD_REQUEST, "BLOB_UPLOAD_INVALID", (*why).to_owned()),
            Self::SizeInvalid(why) => (S::BAD_REQUEST, "SIZE_INVALID", why.clone()),
            Self::NoSuchPath => (S::NOT_FOUND, "UNSUPPORTED", "there is nothing under this path".to_owned()),
            Self::Unsupported(_) => {
                (S::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this path does not take this method".to_owned())
            }
            Self::Image(error) => {
                let (status, code) = of_image(error);
                (status, code, error.to_string())
            }
            Self::Store(error) => {
                let status = match error {
                    StorageError::StorageFull { .. } => S::INSUFFICIENT_STORAGE,
                    _ => S::SERVICE_UNAVAILABLE,
                };
                (status, "UNAVAILABLE", format!("the store failed: {error}"))
            }
        }
    }

    /// Each thing that is missing is an error of its own.
    fn errors(&self) -> (StatusCode, Vec<Value>) {
        let (status, code, message) = self.parts();
        let errors = match self {
            Self::Image(ImageError::Incomplete { missing }) => missing
                .iter()
                .map(|digest| json!({ "code": code, "message": message, "detail": { "digest": digest.to_string() } }))
                .collect(),
            _ => vec![json!({ "code": code, "message": message })],
        };
        (status, errors)
    }
}

fn of_image(error: &ImageError) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        ImageError::UploadUnknown => (S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        ImageError::UploadTaken => (S::CONFLICT, "BLOB_UPLOAD_INVALID"),
        ImageError::OutOfOrder { .. } => (S::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
        ImageError::Length { .. } => (S::BAD_REQUEST, "SIZE_INVALID"),
        ImageError::Interrupted { why: Interruption::Stalled, .. } => (S::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID"),
        ImageError::Interrupted { why: Interruption::Broken, .. } => (S::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
        ImageError::Digest { .. } => (S::BAD_REQUEST, "DIGEST_INVALID"),
        ImageError::Manifest { .. } => (S::BAD_REQUEST, "MANIFEST_INVALID"),
        ImageError::Incomplete { .. } => (S::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
        ImageError::ManifestUnknown => (S::NOT_FOUND, "MANIFEST_UNKNOWN"),
        ImageError::BlobUnknown => (S::NOT_FOUND, "BLOB_UNKNOWN"),
        ImageError::IsManifest => (S::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
        ImageError::Owned { .. } => (S::METHOD_NOT_ALLOWED, "DENIED"),
        ImageError::Denied { source: AuthError::Unauthenticated { .. } } => (S::UNAUTHORIZED, "UNAUTHORIZED"),
        ImageError::Denied { source: AuthError::Forbidden { .. } } => (S::FORBIDDEN, "DENIED"),
        ImageError::Denied { source: AuthError::Unavailable { .. } }
        | ImageError::Contended
        | ImageError::Store { .. } => (S::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    }
}

impl IntoResponse for V2Error {
    fn into_response(self) -> Response {
        let (status, errors) = self.errors();
        let mut response = (status, Json(json!({ "errors": errors }))).into_response();
        match &self {
            Self::RangeOutside(size) => response = outside(response, *size),
            Self::Unsupported(allow) => {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::Image(ImageError::Owned { .. } | ImageError::IsManifest) => {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Image(ImageError::Interrupted { .. }) => {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Store(error) => tracing::error!(%error, "the store failed"),
            _ => {}
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// What the gate answers on `/v2/`.
pub fn refusal(status: StatusCode, message: &str) -> Response {
    let code = match status {
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN => "DENIED",
        StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
        _ => "UNSUPPORTED",
    };
    (status, Json(json!({ "errors": [{ "code": code, "message": message }] }))).into_response()
}
