//! A stand-in of the Kubernetes API: what it was asked, and answers that a test gives.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Answers by method and path; a `#` in a string is how often this was asked for. A list is a log: its lines.
pub type Answers = BTreeMap<(&'static str, String), Value>;

#[derive(Clone)]
struct Shared {
    answers: Arc<Answers>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// Lines of logs that may still be written while they are followed.
    written: Arc<Semaphore>,
    /// How often a method and path is not answered yet.
    failing: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// Lives as long as its runtime.
pub struct Kubernetes {
    shared: Shared,
    _runtime: tokio::runtime::Runtime,
}

impl Kubernetes {
    /// Starts it and writes a kubeconfig `kubeconfig` for it, whose context has the namespace `apps`.
    pub fn start(folder: &Path, answers: Answers) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (answers, written) = (Arc::new(answers), Arc::new(Semaphore::new(0)));
        let shared = Shared { answers, asked: Arc::default(), written, failing: Arc::default() };
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move { axum::serve(listener, app).await });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "u", "user": {"token": "of-the-user"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "apps"}}],
        });
        std::fs::write(folder.join("kubeconfig"), config.to_string()).unwrap();
        Self { shared, _runtime: runtime }
    }

    /// The next requests of a method and path are answered with 503.
    pub fn fail(&self, what: &str, times: usize) {
        self.shared.failing.lock().unwrap().insert(what.to_owned(), times);
    }

    /// So many more lines of logs are written, behind the first of each.
    pub fn write(&self, lines: usize) {
        self.shared.written.add_permits(lines);
    }

    /// The bodies that came for a method and path.
    pub fn asked(&self, what: &str) -> Vec<Value> {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|(known, _)| known.starts_with(what)).map(|(_, body)| body.clone()).collect()
    }
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let what = format!("{method} {}", uri.path());
    let times = {
        let mut asked = shared.asked.lock().unwrap();
        asked.push((what.clone(), body));
        asked.iter().filter(|(known, _)| *known == what).count()
    };
    if let Some(left @ 1..) = shared.failing.lock().unwrap().get_mut(&what) {
        *left -= 1;
        return status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the API server restarts");
    }
    let known = shared.answers.iter().find(|((known, path), _)| method == *known && uri.path() == path);
    if let Some((_, Value::Array(lines))) = known {
        let follow = uri.query().unwrap_or_default().contains("follow=true");
        return log(lines.clone(), follow, Arc::clone(&shared.written));
    }
    if let Some((_, answer)) = known {
        return ([(CONTENT_TYPE, "application/json")], answer.to_string().replace('#', &times.to_string()))
            .into_response();
    }
    status(StatusCode::NOT_FOUND, "NotFound", &format!("no {what}"))
}

/// Lines one after the other; one that is followed, as they are written.
fn log(lines: Vec<Value>, follow: bool, written: Arc<Semaphore>) -> Response {
    let lines = futures::stream::iter(lines.into_iter().enumerate()).then(move |(number, line)| {
        let written = Arc::clone(&written);
        async move {
            if follow && number > 0 {
                written.acquire().await.unwrap().forget();
            }
            Ok::<_, Infallible>(format!("{}\n", line.as_str().unwrap()))
        }
    });
    Body::from_stream(lines).into_response()
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": reason,
        "message": message});
    (code, axum::Json(status)).into_response()
}

pub const REGISTRIES: &str = "/apis/registry.dcos.io/v1alpha1/namespaces/apps/packageregistries";

/// A registry `name` with this status.
pub fn registry(name: &str, status: &Value) -> Value {
    json!({"apiVersion": "registry.dcos.io/v1alpha1", "kind": "PackageRegistry",
        "metadata": {"name": name, "namespace": "apps", "generation": 1}, "spec": {}, "status": status})
}

/// A list of objects.
pub fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
}

/// A condition.
pub fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}
