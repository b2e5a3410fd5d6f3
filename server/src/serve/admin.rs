//! The admin port: `/livez`, `/readyz`, `/metrics`. Plain HTTP, for probes and Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::storage::health::StorageHealth;

/// What Prometheus expects of text in this format.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Admin {
    ready: Arc<AtomicBool>,
    health: StorageHealth,
    metrics: Metrics,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, ready: Arc<AtomicBool>, health: StorageHealth, metrics: Metrics) {
    if let Err(error) = axum::serve(listener, router(ready, health, metrics)).await {
        tracing::error!(%error, "the admin port is closed");
    }
}

fn router(ready: Arc<AtomicBool>, health: StorageHealth, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(Admin { ready, health, metrics })
}

/// Troubles of the store are told and don't change the status: all instances have the same store, and to take all of them out
/// of service at once would turn a slow or failing answer into none.
async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let (status, what) = if admin.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping")
    };
    let storage = admin.health.complaint();
    let storage = storage.map(|complaint| format!("storage: {}: {}\n", complaint.trouble, complaint.message));
    (status, format!("{what}\n{}", storage.unwrap_or_default()))
}

async fn text(State(admin): State<Admin>) -> impl IntoResponse {
    ([(CONTENT_TYPE, METRICS_TYPE)], admin.metrics.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::health::Trouble;
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn ask(ready: bool, health: StorageHealth, path: &str) -> (StatusCode, String) {
        let router = router(Arc::new(AtomicBool::new(ready)), health, Metrics::default());
        let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn status(ready: bool, path: &str) -> StatusCode {
        ask(ready, StorageHealth::default(), path).await.0
    }

    #[tokio::test]
    async fn a_store_in_trouble_is_told_and_takes_no_instance_out_of_service() {
        let health = StorageHealth::default();
        health.failed(Trouble::Unreachable, "nobody answers");
        let (status, text) = ask(true, health.clone(), "/readyz").await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "ok\nstorage: Unreachable: nobody answers\n"));
        assert_eq!(ask(true, health.clone(), "/livez").await.0, StatusCode::OK);
        assert_eq!(ask(false, health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_server_that_stops_lives_but_is_not_ready() {
        assert_eq!(status(true, "/readyz").await, StatusCode::OK);
        assert_eq!(status(false, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(false, "/livez").await, StatusCode::OK);
        assert_eq!(status(true, "/metrics").await, StatusCode::OK);
    }
}
