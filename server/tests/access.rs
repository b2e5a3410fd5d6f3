//! Who may do what, with an API server that the test plays.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::kubernetes::{self, AUDIENCE, ApiServer};
use common::{Answer, Client, Setup, spec};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use server::auth::Auth;
use server::storage::memory::MemoryStorage;

/// Tokens of `reader`, `writer` and `nobody` are their names; two are not for this registry; the rest are none.
fn review(token: &str) -> Value {
    match token {
        "reader" | "writer" | "nobody" => json!({
            "authenticated": true, "audiences": [AUDIENCE],
            "user": { "username": token, "groups": ["g"], "uid": "1", "extra": { "k": ["v"] } },
        }),
        "foreign" => {
            json!({ "authenticated": true, "audiences": ["https://kubernetes"], "user": { "username": "writer" } })
        }
        "no-audience" => json!({ "authenticated": true, "user": { "username": "writer" } }),
        _ => kubernetes::nobody(),
    }
}

fn api_server() -> ApiServer {
    ApiServer::new(review, |user, verb| match user {
        "reader" => verb == "get",
        "writer" => matches!(verb, "get" | "create" | "delete"),
        _ => false,
    })
}

async fn with(server: &ApiServer, anonymous_pull: bool) -> Client {
    Setup { auth: server.auth(), anonymous_pull, ..Setup::on(Arc::new(MemoryStorage::new())) }.start().await.unwrap()
}

async fn ask(client: &Client, method: Method, path: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
    let body = serde_json::to_vec(&spec("http://127.0.0.1:1/x")).unwrap();
    client.call(method, path, &headers, body).await
}

const WRITES: [(Method, &str, &str); 6] = [
    (Method::PUT, "/api/v1/declarations/u", "create"),
    (Method::DELETE, "/api/v1/declarations/u", "delete"),
    (Method::POST, "/v2/a/blobs/uploads/", "create"),
    (Method::PATCH, "/v2/a/blobs/uploads/x", "create"),
    (Method::PUT, "/v2/a/manifests/x", "create"),
    (Method::DELETE, "/v2/a/manifests/x", "delete"),
];

#[tokio::test]
async fn a_write_without_a_token_is_401_and_says_how_to_get_in() {
    let client = with(&api_server(), true).await;
    for (method, path, _) in WRITES {
        let answer = ask(&client, method, path, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        let offered: Vec<_> =
            answer.headers.get_all("www-authenticate").iter().map(|v| v.to_str().unwrap().to_owned()).collect();
        assert_eq!(offered[0], r#"Bearer realm="https://registry.test/auth/token",service="registry.test""#);
        assert_eq!(offered[1], r#"Basic realm="registry.test""#);
        let json = answer.json();
        let form = if path.starts_with("/v2/") { &json["errors"][0]["code"] } else { &json["type"] };
        assert_eq!(form.as_str().unwrap().to_uppercase(), "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn tokens_that_are_not_for_this_registry_are_401() {
    let server = api_server();
    let client = with(&server, true).await;
    for token in ["expired", "foreign", "no-audience", "e30.e30.", "a b"] {
        let answer = ask(&client, Method::PUT, "/api/v1/declarations/u", Some(token)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
    }
    assert!(server.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_token_without_the_right_is_403_and_names_what_is_missing() {
    let client = with(&api_server(), true).await;
    for (method, path, verb) in WRITES {
        let answer = ask(&client, method, path, Some("reader")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text().contains(&format!("may not {verb} packages.registry.dcos.io")), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_token_with_the_right_gets_through_as_bearer_and_as_password() {
    let server = api_server();
    let client = with(&server, true).await;
    assert_eq!(ask(&client, Method::PUT, "/api/v1/declarations/u", Some("writer")).await.status, StatusCode::OK);
    assert_eq!(ask(&client, Method::PUT, "/v2/a/manifests/x", Some("writer")).await.status, StatusCode::BAD_REQUEST);
    let basic = format!("Basic {}", STANDARD.encode("whoever:writer"));
    let answer = client.get_with("/api/v1/packages", &[("authorization", &basic)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let asked = server.asked.lock().unwrap()[0].clone();
    let wanted = json!({
        "user": "writer", "groups": ["g"], "uid": "1", "extra": { "k": ["v"] },
        "resourceAttributes": { "group": "registry.dcos.io", "resource": "packages", "namespace": "apps", "verb": "create" },
    });
    assert_eq!(asked, wanted);
}

#[tokio::test]
async fn a_token_is_reviewed_once_in_a_while_good_or_bad() {
    let server = api_server();
    let client = with(&server, true).await;
    for _ in 0..3 {
        ask(&client, Method::GET, "/api/v1/packages", Some("reader")).await;
    }
    assert_eq!(server.reviews.load(Ordering::SeqCst), 1);
    for _ in 0..3 {
        ask(&client, Method::GET, "/api/v1/packages", Some("expired")).await;
    }
    assert_eq!(server.reviews.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_api_server_that_is_down_makes_503_not_401() {
    let mut server = api_server();
    server.down = true;
    let client = with(&server, false).await;
    for path in ["/api/v1/packages", "/v2/", "/auth/token"] {
        let answer = ask(&client, Method::GET, path, Some("writer")).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"), "{path}");
    }
    assert_eq!(ask(&client, Method::GET, "/repo", None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn reading_is_open_but_for_the_api_and_closed_pulls() {
    let server = api_server();
    let open = with(&server, true).await;
    let closed = with(&server, false).await;
    for path in ["/", "/health", "/repo", "/v2/", "/v2/_catalog"] {
        assert_eq!(ask(&open, Method::GET, path, None).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/api/v1/packages", "/api/v1/status", "/api/v1/declarations/u"] {
        assert_eq!(ask(&open, Method::GET, path, None).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(ask(&closed, Method::GET, "/repo", None).await.status, StatusCode::OK);
    // What exists isn't told to who may not know.
    for path in ["/v2/", "/v2/none/manifests/x"] {
        assert_eq!(ask(&closed, Method::GET, path, None).await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(ask(&closed, Method::GET, path, Some("nobody")).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(ask(&closed, Method::GET, "/v2/", Some("reader")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_realm_turns_a_password_into_the_token_that_it_is() {
    let client = with(&api_server(), false).await;
    let basic = |token: &str| format!("Basic {}", STANDARD.encode(format!("x:{token}")));
    let answer = client.get_with("/auth/token?service=x&scope=y", &[("authorization", &basic("reader"))]).await;
    assert_eq!((answer.status, answer.json()["token"].as_str()), (StatusCode::OK, Some("reader")));
    for headers in [vec![], vec![("authorization", basic("expired"))]] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = client.get_with("/auth/token", &headers).await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (StatusCode::UNAUTHORIZED, r#"Basic realm="registry.test""#)
        );
    }
}

#[tokio::test]
async fn denials_are_in_the_audit_trail_and_tokens_never_are() {
    let client = with(&api_server(), true).await;
    ask(&client, Method::DELETE, "/v2/a/manifests/x", Some("secret-token")).await;
    ask(&client, Method::DELETE, "/v2/a/manifests/x?access_token=secret-token", Some("reader")).await;
    let lines = client.audit.kept();
    let parsed: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (parsed[0]["status"].as_u64(), parsed[0]["denied"].as_bool(), parsed[0].get("who")),
        (Some(401), Some(true), None)
    );
    assert_eq!((parsed[1]["status"].as_u64(), parsed[1]["who"].as_str()), (Some(403), Some("reader")));
    assert!(!lines.concat().contains("secret-token"));
}

#[tokio::test]
async fn a_read_only_registry_shows_everything_and_changes_nothing() {
    let setup = Setup { auth: Auth::ReadOnly, ..Setup::on(Arc::new(MemoryStorage::new())) };
    let client = setup.start().await.unwrap();
    for path in ["/repo", "/v2/", "/api/v1/packages", "/api/v1/status"] {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
    for (method, path) in [
        (Method::POST, "/api/v1/uploads"),
        (Method::DELETE, "/api/v1/packages/a/1"),
        (Method::PUT, "/api/v1/declarations/x"),
        (Method::POST, "/v2/a/blobs/uploads/"),
    ] {
        let answer = client.call(method, path, &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text().contains("read-only"), "{}", answer.text());
    }
}
