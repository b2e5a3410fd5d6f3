//! The admin port: `/healthz`, `/readyz`, `/metrics`.

use std::sync::{Arc, RwLock};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};

use crate::{leader::Leadership, metrics::Metrics};

/// What the controller still waits for before it can work; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pending(Arc<RwLock<Vec<String>>>);

impl Pending {
    /// Says what is awaited; empty: nothing.
    pub fn set(&self, what: Vec<String>) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = what;
    }

    /// What is awaited.
    #[must_use]
    pub fn get(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// What the admin port answers from.
#[derive(Clone)]
pub struct Admin {
    /// Metrics.
    pub metrics: Metrics,
    /// Whether the election goes on.
    pub leadership: Leadership,
    /// What is awaited.
    pub pending: Pending,
}

/// The admin port's routes. A replica that waits for its turn to lead is ready.
pub fn app(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn healthz(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.leadership.is_healthy() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the lease is not renewed\n")
    }
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let pending = admin.pending.get();
    if pending.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waits for {}\n", pending.join(", ")))
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], admin.metrics.text())
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;

    use super::*;

    async fn status(admin: &Admin, path: &str) -> StatusCode {
        app(admin.clone()).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap().status()
    }

    fn admin(leadership: Leadership) -> Admin {
        Admin { metrics: Metrics::new(), leadership, pending: Pending::default() }
    }

    #[tokio::test]
    async fn readiness_waits_for_what_is_pending() {
        let admin = admin(Leadership::alone());
        admin.pending.set(vec!["CRD packages.registry.dcos.io".into()]);
        assert_eq!(status(&admin, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        admin.pending.set(Vec::new());
        assert_eq!(status(&admin, "/readyz").await, StatusCode::OK);
        assert_eq!(status(&admin, "/metrics").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_process_that_waits_for_what_it_needs_is_healthy_and_not_ready() {
        let admin = admin(Leadership::elected());
        admin.pending.set(vec!["the API server".into()]);
        assert_eq!(status(&admin, "/healthz").await, StatusCode::OK);
        assert_eq!(status(&admin, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_leader_whose_renewal_stopped_is_not_healthy() {
        let admin = admin(Leadership::elected());
        assert_eq!(status(&admin, "/healthz").await, StatusCode::OK);
        admin.leadership.extend(std::time::Instant::now());
        assert_eq!(status(&admin, "/healthz").await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
