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

/// What Prometheus expects of text in this format.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Admin {
    ready: Arc<AtomicBool>,
    metrics: Metrics,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, ready: Arc<AtomicBool>, metrics: Metrics) {
    if let Err(error) = axum::serve(listener, router(ready, metrics)).await {
        tracing::error!(%error, "the admin port is closed");
    }
}

fn router(ready: Arc<AtomicBool>, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(Admin { ready, metrics })
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n")
    }
}

async fn text(State(admin): State<Admin>) -> impl IntoResponse {
    ([(CONTENT_TYPE, METRICS_TYPE)], admin.metrics.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    async fn status(ready: bool, path: &str) -> StatusCode {
        let router = router(Arc::new(AtomicBool::new(ready)), Metrics::default());
        router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_server_that_stops_lives_but_is_not_ready() {
        assert_eq!(status(true, "/readyz").await, StatusCode::OK);
        assert_eq!(status(false, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(false, "/livez").await, StatusCode::OK);
        assert_eq!(status(true, "/metrics").await, StatusCode::OK);
    }
}
