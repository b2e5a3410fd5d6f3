//! A place to fetch bundles from, on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;

/// What a path answers.
#[derive(Clone)]
pub enum Serve {
    /// The bytes.
    Whole(Bytes),
    /// Breaks off after so many bytes; takes ranges.
    Breaking(Bytes, usize),
    /// Half of the bytes, and the rest when the test lets it.
    Waiting(Bytes, Arc<Semaphore>),
    /// A redirect.
    Redirect(String),
    /// A status.
    Status(StatusCode),
    /// The bytes, to who knows the secret.
    Guarded(Bytes, String),
}

#[derive(Clone, Default)]
pub struct Files {
    paths: Arc<Mutex<HashMap<String, Serve>>>,
    requests: Arc<AtomicUsize>,
    authorizations: Arc<Mutex<Vec<String>>>,
}

/// A running source.
#[derive(Clone)]
pub struct Source {
    pub address: SocketAddr,
    files: Files,
}

impl Source {
    pub async fn start() -> Self {
        let files = Files::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(files.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, files }
    }

    /// Serves something and returns its address.
    pub fn serve(&self, path: &str, what: Serve) -> String {
        self.files.paths.lock().unwrap().insert(format!("/{path}"), what);
        format!("http://{}/{path}", self.address)
    }

    pub fn bytes(&self, path: &str, bytes: impl Into<Bytes>) -> String {
        self.serve(path, Serve::Whole(bytes.into()))
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.files.requests.load(Ordering::SeqCst)
    }

    /// `Authorization` headers that came.
    pub fn authorizations(&self) -> Vec<String> {
        self.files.authorizations.lock().unwrap().clone()
    }
}

async fn answer(State(files): State<Files>, request: Request) -> Response {
    files.requests.fetch_add(1, Ordering::SeqCst);
    let authorization = request.headers().get(AUTHORIZATION).map(|v| v.to_str().unwrap().to_owned());
    files.authorizations.lock().unwrap().extend(authorization.clone());
    let found = files.paths.lock().unwrap().get(request.uri().path()).cloned();
    match found {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Serve::Whole(bytes)) => bytes.into_response(),
        Some(Serve::Status(status)) => status.into_response(),
        Some(Serve::Redirect(to)) => (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
        Some(Serve::Guarded(bytes, secret)) if authorization.as_deref() == Some(&secret) => bytes.into_response(),
        Some(Serve::Guarded(..)) => StatusCode::UNAUTHORIZED.into_response(),
        Some(Serve::Waiting(bytes, gate)) => waiting(&bytes, gate),
        Some(Serve::Breaking(bytes, after)) => breaking(&bytes, after, request.headers().get(RANGE)),
    }
}

fn sized(body: Body, length: usize) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn waiting(bytes: &Bytes, gate: Arc<Semaphore>) -> Response {
    let (half, rest) = (bytes.slice(..bytes.len() / 2), bytes.slice(bytes.len() / 2..));
    let first = futures::stream::iter([Ok::<_, std::io::Error>(half)]);
    let second = futures::stream::once(async move {
        gate.acquire().await.unwrap().forget();
        Ok(rest)
    });
    sized(Body::from_stream(futures::StreamExt::chain(first, second)), bytes.len())
}

fn breaking(bytes: &Bytes, after: usize, range: Option<&HeaderValue>) -> Response {
    let from = range
        .map_or(0, |value| value.to_str().unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
    let part = bytes.slice(from..);
    let sent = part.slice(..part.len().min(after));
    let broken = sent.len() < part.len();
    let end = futures::stream::once(async {
        // Until what was sent so far is on its way.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::other("broken on purpose"))
    });
    let end = futures::StreamExt::take(end, usize::from(broken));
    let stream = futures::StreamExt::chain(futures::stream::iter([Ok(sent)]), end);
    let mut response = sized(Body::from_stream(stream), part.len());
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content_range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        response.headers_mut().insert(CONTENT_RANGE, content_range.parse().unwrap());
    }
    response
}
