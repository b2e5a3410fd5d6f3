//! What the kubelet and the controller ask an agent.

use std::time::{Duration, Instant};

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

use crate::agent::State;
use crate::report::Report;

/// A loop that has ended no pass for so long hangs on something that a restart may get rid of.
const STUCK_AFTER: Duration = Duration::from_mins(1);

type Seen = watch::Receiver<State>;

/// `/status` answers the [`Report`]; `/readyz` 200 when all is right, else 503 and the first reason; `/livez` 200 while
/// passes end.
pub fn app(seen: Seen) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/readyz", get(readyz))
        .route("/livez", get(livez))
        .with_state(seen)
}

async fn status(Shared(seen): Shared<Seen>) -> Json<Report> {
    Json(seen.borrow().report.clone())
}

async fn readyz(Shared(seen): Shared<Seen>) -> (StatusCode, String) {
    let report = &seen.borrow().report;
    if report.ready {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let text = match report.problems.first() {
        Some(problem) => format!("{:?}: {}\n", problem.reason, problem.message),
        None => "not ready\n".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn livez(Shared(seen): Shared<Seen>) -> (StatusCode, &'static str) {
    if Instant::now().duration_since(seen.borrow().at) > STUCK_AFTER {
        (StatusCode::SERVICE_UNAVAILABLE, "no pass has ended for a minute\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;
    use crate::report::{Problem, Reason};

    async fn ask(state: State, path: &str) -> (StatusCode, String) {
        let (_sender, seen) = watch::channel(state);
        let answer = app(seen).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn unready() -> Report {
        let problems = vec![Problem::of_node(Reason::ConfigPathUnset, "config_path isn't set".into())];
        Report { node: "node1".into(), problems, ..Report::default() }
    }

    #[tokio::test]
    async fn an_agent_with_a_problem_is_not_ready_and_says_why() {
        let state = State { report: unready(), at: Instant::now() };
        let (status, text) = ask(state.clone(), "/readyz").await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "ConfigPathUnset: config_path isn't set\n")
        );
        let (status, text) = ask(state, "/status").await;
        assert_eq!((status, serde_json::from_str::<Report>(&text).unwrap()), (StatusCode::OK, unready()));
    }

    #[tokio::test]
    async fn an_agent_without_one_is_ready() {
        let report = Report { ready: true, ..Report::default() };
        assert_eq!(ask(State { report, at: Instant::now() }, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_loop_that_hangs_is_not_alive() {
        let now = Instant::now();
        assert_eq!(ask(State { report: unready(), at: now }, "/livez").await.0, StatusCode::OK);
        if let Some(long_ago) = now.checked_sub(Duration::from_secs(61)) {
            assert_eq!(
                ask(State { report: unready(), at: long_ago }, "/livez").await.0,
                StatusCode::SERVICE_UNAVAILABLE
            );
        }
    }
}
