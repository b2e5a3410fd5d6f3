//! JSON documents that requests bring.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::api_error;

/// What is taken of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// What messages call it.
    pub what: &'static str,
    /// Most bytes.
    pub limit: usize,
    /// How long it may take to arrive.
    pub time: Duration,
}

/// Why there is no document, as an answer.
#[derive(Debug)]
pub(super) struct Unread {
    status: StatusCode,
    message: String,
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        api_error(self.status, "Invalid", &self.message)
    }
}

/// Reads a body as a document. It is parsed away from the threads that answer requests: a large one takes a while.
///
/// # Errors
/// A body that breaks off, is too large or too slow, or isn't such a document.
pub(super) async fn read<T: DeserializeOwned + Send + 'static>(body: Body, terms: Terms) -> Result<T, Unread> {
    let Terms { what, limit, time } = terms;
    let refused = |status, message| Unread { status, message };
    let body = match timeout(time, to_bytes(body, limit)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => {
            let message = format!("the {what} did not arrive whole, or has more than {limit} bytes: {error}");
            return Err(refused(StatusCode::BAD_REQUEST, message));
        }
        Err(_) => return Err(refused(StatusCode::REQUEST_TIMEOUT, format!("the {what} did not arrive in time"))),
    };
    match spawn_blocking(move || serde_json::from_slice(&body)).await {
        Ok(Ok(document)) => Ok(document),
        Ok(Err(error)) => Err(refused(StatusCode::BAD_REQUEST, format!("the {what} can't be read: {error}"))),
        Err(error) => {
            tracing::error!(%error, "reading a document stopped; this is a fault of the server");
            Err(refused(StatusCode::INTERNAL_SERVER_ERROR, format!("the {what} could not be read")))
        }
    }
}
