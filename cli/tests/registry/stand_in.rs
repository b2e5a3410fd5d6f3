//! A stand-in of the registry's API that takes one upload, and has the trouble that a test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::upload::UPLOAD_OFFSET;
use api::{MissingBlob, PackageContent, State as At, Upload};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// One request.
pub struct Asked {
    /// Method and path: `POST /api/v1/uploads`.
    pub what: String,
    pub authorization: String,
    /// Requests of this method before, whatever their path.
    pub before: usize,
}

/// The status that a request is answered with instead of being heard, and after how long.
pub type Trouble = fn(&Asked) -> Option<(StatusCode, Duration)>;

/// Lives as long as its runtime.
pub struct StandIn {
    pub port: u16,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Shared {
    trouble: Trouble,
    state: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    methods: BTreeMap<String, usize>,
    /// Bytes of each blob.
    blobs: BTreeMap<String, u64>,
    upload: Option<Upload>,
}

impl StandIn {
    pub fn start(trouble: Trouble) -> Self {
        Self::start_at("127.0.0.1", trouble)
    }

    /// The same at another address of this machine.
    pub fn start_at(address: &str, trouble: Trouble) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = Router::new().fallback(answer).with_state(Shared { trouble, state: Arc::default() });
        let listener = runtime.block_on(tokio::net::TcpListener::bind((address, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { port, _runtime: runtime }
    }
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let authorization = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let what = format!("{method} {}", uri.path());
    let before = {
        let mut seen = shared.state.lock().unwrap();
        let count = seen.methods.entry(method.to_string()).or_default();
        *count += 1;
        *count - 1
    };
    if let Some((status, pause)) = (shared.trouble)(&Asked { what: what.clone(), authorization, before }) {
        tokio::time::sleep(pause).await;
        return (status, [(RETRY_AFTER, "0")], json!({"code": "Trouble", "message": "trouble"}).to_string())
            .into_response();
    }
    let mut seen = shared.state.lock().unwrap();
    match what.as_str() {
        "POST /api/v1/uploads" => return opened(&mut seen, &serde_json::from_slice(&body).unwrap()),
        "GET /api/v1/packages" => return axum::Json(json!({"packages": []})).into_response(),
        _ => {}
    }
    let Some(upload) = seen.upload.clone() else { return StatusCode::NOT_FOUND.into_response() };
    match (method.as_str(), what.rsplit('/').next().unwrap()) {
        ("GET", "u") => axum::Json(Upload { state: At::Added, ..upload }).into_response(),
        ("POST", "complete") => {
            axum::Json(Upload { state: At::Validating, missing: Vec::new(), ..upload }).into_response()
        }
        (_, digest) => {
            let size = seen.blobs.entry(digest.to_owned()).or_default();
            *size += body.len() as u64;
            (StatusCode::NO_CONTENT, [(UPLOAD_OFFSET, size.to_string())]).into_response()
        }
    }
}

fn opened(seen: &mut Seen, content: &PackageContent) -> Response {
    let files = content.files.iter().map(|file| (&file.digest, file.size));
    let missing = files.map(|(digest, size)| MissingBlob { digest: digest.clone(), size, offset: 0 }).collect();
    let upload = Upload {
        id: "u".to_owned(),
        name: content.name.clone(),
        version: content.version.clone(),
        digest: content.digest.clone(),
        state: At::Pending,
        reason: None,
        message: None,
        progress: api::Progress::default(),
        missing,
        release_version: None,
    };
    seen.upload = Some(upload.clone());
    axum::Json(upload).into_response()
}
