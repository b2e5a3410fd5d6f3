//! Answers that several areas give: errors, objects as bodies, conditional requests.

use api::ApiError;
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{range, v2};
use crate::auth::table::Area;
use crate::digest::Digest;
use crate::storage::{ByteRange, Reading, Storage, StorageError, keys};

/// An error in the form of the area that was asked.
#[must_use]
pub fn refusal(area: Option<Area>, status: StatusCode, message: &str) -> Response {
    if matches!(area, Some(Area::Images | Area::ImageUploads)) {
        return v2::error::refusal(status, message);
    }
    let kind = match status {
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::SERVICE_UNAVAILABLE => "Unavailable",
        _ => "Invalid",
    };
    api_error(status, kind, message)
}

/// An error in the API's form.
pub(super) fn api_error(status: StatusCode, kind: &str, message: &str) -> Response {
    let error = ApiError { kind: kind.to_owned(), message: message.to_owned(), data: None };
    (status, Json(error)).into_response()
}

/// As [`api_error`], with more for programs.
pub(super) fn error_with(status: StatusCode, kind: &str, message: &str, data: serde_json::Value) -> Response {
    let error = ApiError { kind: kind.to_owned(), message: message.to_owned(), data: Some(data) };
    (status, Json(error)).into_response()
}

/// The answer to a path that passed the gate and that no route knows.
pub(super) async fn nothing_here() -> Response {
    api_error(StatusCode::NOT_FOUND, "NotFound", "there is nothing under this path")
}

/// The answer to a method that a route doesn't know. `Allow` is the router's.
pub(super) async fn no_such_method() -> Response {
    api_error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this path does not take this method")
}

/// Segments of a path; one that can't be read names nothing.
pub(super) struct Segments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let read = Path::from_request_parts(parts, state).await;
        let message = |error: &dyn std::fmt::Display| format!("the path can't be read: {error}");
        read.map(|Path(segments)| Self(segments))
            .map_err(|error| api_error(StatusCode::NOT_FOUND, "NotFound", &message(&error)))
    }
}

/// Parameters behind the question mark.
pub(super) struct Parameters<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let read = Query::from_request_parts(parts, state).await;
        let message = |error: &dyn std::fmt::Display| format!("the parameters can't be read: {error}");
        read.map(|Query(parameters)| Self(parameters))
            .map_err(|error| api_error(StatusCode::BAD_REQUEST, "Invalid", &message(&error)))
    }
}

/// A store that fails, in the API's form.
pub(super) fn store_failed(error: &impl std::fmt::Display) -> Response {
    tracing::error!(%error, "the store failed");
    let message = format!("the store can't be read at the moment: {error}");
    let mut response = api_error(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", &message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// What identifies an object in an answer.
pub(super) struct Label<'a> {
    pub media_type: &'a str,
    /// Without quotation marks.
    pub tag: &'a str,
}

impl Label<'_> {
    fn quoted(&self) -> String {
        format!("\"{}\"", self.tag)
    }

    /// Whether the request has this very object already.
    pub fn is_known(&self, headers: &HeaderMap) -> bool {
        let tag = self.quoted();
        headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    }

    /// 304, or nothing if the object is to be sent.
    pub fn unmodified(&self, headers: &HeaderMap) -> Option<Response> {
        self.is_known(headers).then(|| {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            self.put(response.headers_mut());
            response.headers_mut().remove(CONTENT_TYPE);
            response
        })
    }

    /// Says it in an answer.
    pub fn put(&self, headers: &mut HeaderMap) {
        insert(headers, CONTENT_TYPE, self.media_type);
        insert(headers, ETAG, &self.quoted());
    }
}

pub(super) fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The part that a GET asks for.
fn wanted(method: &Method, headers: &HeaderMap, label: &Label<'_>) -> ByteRange {
    let same = headers.get(IF_RANGE).is_none_or(|value| value.as_bytes() == label.quoted().as_bytes());
    let range = headers.get(RANGE).filter(|_| same && *method == Method::GET);
    range.and_then(|value| range::parse(value.to_str().ok()?)).unwrap_or(ByteRange::Whole)
}

/// 200 with the size alone.
fn head(size: u64, label: &Label<'_>) -> Response {
    let mut response = Body::empty().into_response();
    let headers = response.headers_mut();
    label.put(headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

/// 200 or 206 with the bytes.
async fn object(mut reading: Reading, label: &Label<'_>) -> Result<Response, StorageError> {
    let length = reading.range.end - reading.range.start;
    // A body in one piece needs no stream.
    let body = match reading.body.next().await.transpose()? {
        None => Body::empty(),
        Some(first) if first.len() as u64 == length => Body::from(first),
        Some(first) => {
            let all = futures::stream::iter([Ok(first)]).chain(reading.body);
            Body::from_stream(all)
        }
    };
    let mut response = body.into_response();
    if length != reading.size {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {}-{}/{}", reading.range.start, reading.range.end - 1, reading.size);
        insert(response.headers_mut(), CONTENT_RANGE, &part);
    }
    let headers = response.headers_mut();
    label.put(headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

/// A blob as the answer to a GET or a HEAD: 304 where it is known, else its bytes, a part of them, or their number. `size` is
/// that of a blob which the caller knows already.
///
/// # Errors
/// A blob that isn't there, a range outside of it, a store that fails.
pub(super) async fn sent(
    storage: &dyn Storage,
    digest: &Digest,
    method: &Method,
    headers: &HeaderMap,
    label: &Label<'_>,
    size: Option<u64>,
) -> Result<Response, StorageError> {
    if let Some(unmodified) = label.unmodified(headers) {
        return Ok(unmodified);
    }
    let key = keys::blob(digest);
    match (method, size) {
        (&Method::HEAD, Some(size)) => Ok(head(size, label)),
        (&Method::HEAD, None) => Ok(head(storage.size(&key).await?, label)),
        _ => object(storage.read(&key, wanted(method, headers, label)).await?, label).await,
    }
}

/// 416 for an object of that size.
pub(super) fn outside(mut response: Response, size: u64) -> Response {
    insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
    response
}
