//! A whole server on loopback: ports, TLS and its exchange, the end, and a real client.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use common::bundles::package;
use common::process::Process;
use common::skip::skip;
use common::source::{Serve, Source};
use common::spec;
use common::until::until;
use reqwest::{Certificate, Client, StatusCode};
use server::config::Arguments;
use server::serve::{Running, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

async fn server(flags: &[&str]) -> Running {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ports = ["server", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--auth", "none"];
    let sources = ["--source-allowed-cidr", "127.0.0.1/32", "--source-require-digest", "false"];
    let arguments = Arguments::try_parse_from(ports.iter().chain(&sources).chain(flags)).unwrap();
    start(arguments.config().unwrap()).await.unwrap()
}

async fn status(client: &Client, url: String) -> StatusCode {
    client.get(url).send().await.unwrap().status()
}

fn put_pair(directory: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

fn trusting(pem: &str, http1: bool) -> Client {
    let roots = [Certificate::from_pem(pem.as_bytes()).unwrap()];
    let builder = Client::builder().no_proxy().tls_certs_only(roots);
    if http1 { builder.http1_only() } else { builder }.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_go_over_the_line_with_their_length_and_never_chunked() {
    // universe.md 6.3, 7.5.
    let running = server(&["--plain-http", "--storage", "memory:"]).await;
    for (path, encoding) in [("/repo", "gzip"), ("/repo", "identity"), ("/health", "gzip")] {
        let mut stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: r\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_alone_server_answers_on_both_ports_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let running = server(&["--plain-http", "--storage", &store]).await;
    let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let (address, admin) = (running.address, running.admin_address);
    assert_eq!(status(&client, format!("http://{address}/v2/")).await, 200);
    for path in ["livez", "readyz", "metrics"] {
        assert_eq!(status(&client, format!("http://{admin}/{path}")).await, 200, "{path}");
    }
    let text = client.get(format!("http://{admin}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains(r#"package_registry_http_requests_total{area="v2",status="2xx"} 1"#), "{text}");
    drop(client);
    let stopping = tokio::spawn(running.stop(Duration::from_secs(3)));
    let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    until("it isn't ready", async || status(&client, format!("http://{admin}/readyz")).await == 503).await;
    assert_eq!(status(&client, format!("http://{address}/v2/")).await, 200);
    drop(client);
    stopping.await.unwrap();
    // The store is free again, and nobody answers any more.
    server::storage::file::FileStorage::open(folder.path()).unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_exchanged_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = put_pair(folder.path());
    let directory = folder.path().to_str().unwrap();
    let running = server(&["--tls-dir", directory, "--storage", "memory:"]).await;
    let url = format!("https://localhost:{}/v2/", running.address.port());
    assert_eq!(status(&trusting(&first, true), url.clone()).await, 200);
    let h2 = trusting(&first, false).get(&url).send().await.unwrap();
    assert_eq!(h2.version(), http::Version::HTTP_2);
    let second = put_pair(folder.path());
    until("it is exchanged", async || trusting(&second, true).get(&url).send().await.is_ok()).await;
    assert!(trusting(&first, true).get(&url).send().await.is_err());
    running.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_runs_is_answered_before_the_end() {
    let source = Source::start().await;
    let running = server(&["--plain-http", "--storage", "memory:"]).await;
    let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let base = format!("http://{}", running.address);
    let content = vec![7_u8; 8 << 20];
    let big = package("big", "1", "big:1").file("big", "big.bin", &content);
    put_and_wait(&client, &base, &source.bytes("x", big.bytes())).await;
    let document: serde_json::Value = client.get(format!("{base}/repo")).send().await.unwrap().json().await.unwrap();
    let address = document["packages"][0]["resource"]["assets"]["uris"]["big"].as_str().unwrap().to_owned();
    let mut answer = client.get(address).send().await.unwrap();
    let mut got = answer.chunk().await.unwrap().unwrap().len();
    let stopping = tokio::spawn(running.stop(Duration::ZERO));
    tokio::time::sleep(Duration::from_millis(100)).await;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        got += chunk.len();
    }
    assert_eq!(got, content.len());
    drop((answer, client));
    stopping.await.unwrap();
}

async fn put_and_wait(client: &Client, base: &str, url: &str) {
    let path = format!("{base}/api/v1/declarations/u");
    client.put(&path).body(serde_json::to_vec(&spec(url)).unwrap()).send().await.unwrap();
    until("it is added", async || {
        let declaration: serde_json::Value = client.get(&path).send().await.unwrap().json().await.unwrap();
        assert_ne!(declaration["state"], "Failed", "{declaration}");
        declaration["state"] == "Added"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_pulls_an_image_that_came_in_a_bundle() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        skip("skopeo is not installed");
        return;
    }
    let (source, folder) = (Source::start().await, tempfile::tempdir().unwrap());
    let store = format!("file://{}", folder.path().join("store").display());
    let running = server(&["--plain-http", "--storage", &store]).await;
    let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let redis = package("redis", "1.0", "redis:5");
    let url = source.serve("x", Serve::Whole(redis.bytes().into()));
    put_and_wait(&client, &format!("http://{}", running.address), &url).await;
    let out = folder.path().join("out");
    for reference in [":5".to_owned(), format!("@{}", redis.manifest_digest("redis:5"))] {
        let from = format!("docker://{}/docker.io/library/redis{reference}", running.address);
        let to = format!("dir:{}", out.display());
        let done = tokio::task::spawn_blocking(move || {
            Command::new("skopeo").args(["--insecure-policy", "copy", "--src-tls-verify=false", &from, &to]).output()
        });
        let done = done.await.unwrap().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let manifest = std::fs::read(out.join("manifest.json")).unwrap();
        assert_eq!(server::digest::Digest::sha256(&manifest).to_string(), redis.manifest_digest("redis:5"));
        std::fs::remove_dir_all(&out).unwrap();
    }
    drop(client);
    running.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_while_it_takes_a_package_in_leaves_nothing_of_it() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (source, folder) = (Source::start().await, tempfile::tempdir().unwrap());
    let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let process = Process::start(folder.path());
    let base = format!("http://{}", process.address);
    put_and_wait(&client, &base, &source.bytes("kept", package("kept", "1", "kept:1").bytes())).await;
    let big = package("big", "1", "big:1").file("big", "big.bin", &vec![7; 4 << 20]);
    let waiting = Serve::Waiting(big.bytes().into(), Arc::new(Semaphore::new(0)));
    let wanted = serde_json::to_vec(&spec(&source.serve("big", waiting))).unwrap();
    let path = format!("{base}/api/v1/declarations/v");
    client.put(&path).body(wanted).send().await.unwrap();
    until("a part of it has come", async || {
        let declaration: serde_json::Value = client.get(&path).send().await.unwrap().json().await.unwrap();
        declaration["progress"]["bytesDone"].as_u64() > Some(1 << 20)
    })
    .await;
    process.kill();
    let process = Process::start(folder.path());
    let base = format!("http://{}", process.address);
    let text = client.get(format!("{base}/repo")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("kept") && !text.contains("big"), "{text}");
    assert_eq!(status(&client, format!("{base}/api/v1/declarations/v")).await, 404);
    assert_eq!(std::fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
    drop(client);
    assert!(process.terminate().success());
    let store = server::storage::file::FileStorage::open(folder.path()).unwrap();
    let kept: Vec<_> = common::keys(&store).await.into_iter().filter(|key| key.starts_with("packages/")).collect();
    assert_eq!(kept.len(), 1);
}
