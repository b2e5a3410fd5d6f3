//! What a client can't do: keep what it does not use, replace what is not its own, hide what it does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use clap::Parser;
use common::bundles::package;
use common::kubernetes::{ApiServer, nobody, user};
use common::source::Source;
use common::until::{found, until};
use common::{Answer, Client, Setup, client, spec};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use server::config::Arguments;
use server::serve::start;
use server::storage::memory::MemoryStorage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An API server that knows the users `adder` (create), `publisher` (create, update) and nobody else.
fn api_server() -> ApiServer {
    let review = |token: &str| if matches!(token, "adder" | "publisher") { user(token) } else { nobody() };
    ApiServer::new(review, |user, verb| matches!((user, verb), (_, "get" | "create") | ("publisher", "update")))
}

fn redis() -> Vec<u8> {
    package("redis", "1", "redis:1").bytes()
}

async fn guarded(server: &ApiServer) -> Client {
    Setup { auth: server.auth(), ..Setup::on(Arc::new(MemoryStorage::new())) }.start().await.unwrap()
}

async fn put(client: &Client, id: &str, url: &str, token: &str) -> Answer {
    let body = serde_json::to_vec(&spec(url)).unwrap();
    let path = format!("/api/v1/declarations/{id}");
    client.call(Method::PUT, &path, &[("authorization", &format!("Bearer {token}"))], body).await
}

async fn state(client: &Client, id: &str) -> Value {
    let path = format!("/api/v1/declarations/{id}");
    found(&format!("{id} settles"), async || {
        let state = client.get_with(&path, &[("authorization", "Bearer adder")]).await.json()["state"].clone();
        (state == "Added" || state == "Failed").then_some(state)
    })
    .await
}

#[tokio::test]
async fn who_may_only_create_does_not_replace_what_is_published() {
    let client = guarded(&api_server()).await;
    let source = Source::start().await;
    let (a, b) = (source.bytes("a", redis()), source.bytes("b", redis()));
    assert_eq!(put(&client, "u", &a, "adder").await.status, StatusCode::OK);
    assert_eq!(state(&client, "u").await, "Added");
    for id in ["u", "%75"] {
        let refused = put(&client, id, &b, "adder").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{id}");
        assert!(refused.text().contains("may not update packages.registry.dcos.io"), "{}", refused.text());
    }
    assert_eq!(put(&client, "u", &b, "publisher").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bad_token_is_refused_without_asking_each_time_and_stands_in_the_audit_trail() {
    let server = api_server();
    let client = guarded(&server).await;
    for _ in 0..3 {
        let answer = client.get_with("/auth/token", &[("authorization", "Bearer secret-but-bad")]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(server.reviews.load(Ordering::SeqCst), 1);
    assert_eq!(client.get("/auth/token").await.status, StatusCode::UNAUTHORIZED);
    let lines = client.audit.kept();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(r#""denied":true"#) && !line.contains("secret")), "{lines:?}");
}

#[tokio::test]
async fn a_change_whose_client_has_gone_is_made_and_noted_all_the_same() {
    let client = client().await;
    let (mut sender, body) = futures::channel::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
    let body = Body::from_stream(body);
    let call = client.clone();
    let request = tokio::spawn(async move { call.call(Method::PUT, "/api/v1/declarations/u", &[], body).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    request.abort();
    assert!(request.await.is_err());
    sender.try_send(Ok(serde_json::to_vec(&spec("http://127.0.0.1:1/x")).unwrap())).unwrap();
    drop(sender);
    let noted = async || client.audit.kept().iter().any(|line| line.contains("/api/v1/declarations/u"));
    until("the change is in the audit trail", noted).await;
}

#[tokio::test]
async fn the_repository_is_what_is_published_however_often_it_was_asked_for_before() {
    let client = client().await;
    let first = client.get("/repo").await;
    assert_eq!(first.json()["packages"], json!([]));
    assert_eq!(client.get("/package/redis").await.status, StatusCode::NOT_FOUND);
    let source = Source::start().await;
    let a = source.bytes("a", redis());
    client.add("u", &spec(&a)).await;
    let second = client.get("/repo").await;
    assert_eq!(second.json()["packages"][0]["name"], "redis");
    assert_eq!(client.get("/package/redis").await.json(), second.json());
    assert_eq!(client.get("/repo").await.header("etag"), second.header("etag"));
    let known = client.get_with("/repo", &[("if-none-match", second.header("etag"))]).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    let head = client.call(Method::HEAD, "/repo", &[], Body::empty()).await;
    assert_eq!(head.header("content-length"), second.body.len().to_string());
    client.call(Method::DELETE, "/api/v1/declarations/u", &[], Body::empty()).await;
    until("the package goes", async || client.get("/package/redis").await.status == StatusCode::NOT_FOUND).await;
    assert_eq!(client.get("/repo").await.body, first.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_says_what_it_speaks_is_closed() {
    let flags = ["server", "--plain-http", "--storage", "memory:", "--auth", "none"];
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let arguments = Arguments::try_parse_from(flags.iter().chain(&ports)).unwrap();
    let running = start(arguments.config().unwrap()).await.unwrap();
    let mut silent = Vec::new();
    for said in [&b""[..], b"PRI * HT"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        silent.push(stream);
    }
    for mut stream in silent {
        let ended = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "the connection is open still");
    }
    running.stop(Duration::ZERO).await;
}
