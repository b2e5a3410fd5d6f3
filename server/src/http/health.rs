//! `GET /` and `GET /health`.

use api::Health;
use api::health::Check;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Server;

/// How many packages there are, or why nobody can say.
pub async fn health(State(server): State<Server>) -> Response {
    let (status, check) = match server.catalogue.count().await {
        Ok(count) => {
            let message = format!("Able to find {count} package(s).");
            (StatusCode::OK, Check::Healthy { message })
        }
        Err(error) => {
            tracing::error!(%error, "the catalogue can't be read");
            (StatusCode::SERVICE_UNAVAILABLE, Check::Unhealthy { message: error.to_string() })
        }
    };
    let checks = [("/repo".to_owned(), check)].into();
    (status, Json(Health { checks })).into_response()
}
