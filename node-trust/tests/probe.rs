//! The proof against a real TLS server.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::IpAddr;
use std::sync::Arc;

use node_trust::entries::{Owner, Target};
use node_trust::probe::probe;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn new_ca() -> Ca {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Serves `answer` to every request on a loopback port, with a leaf for `san`.
async fn serve(ca: &Ca, san: &str, answer: &'static str) -> u16 {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![san.to_owned()]).unwrap().signed_by(&key, ca).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that refuses the certificate ends the handshake; that is what some tests are about.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let answer =
                if request[..length].starts_with(b"GET /v2/ HTTP/1.1\r\n") { answer } else { "400 Bad Request" };
            let text = format!(
                "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nlocation: https://127.0.0.1/\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

fn target(ca_bundle: String, port: u16, addresses: &[&str]) -> Target {
    Target {
        owner: Owner { namespace: "packages".into(), name: "main".into() },
        addresses: addresses.iter().map(|address| address.parse::<IpAddr>().unwrap()).collect(),
        port,
        ca_bundle,
    }
}

#[tokio::test]
async fn a_registry_whose_ca_signed_its_address_is_proved_by_200_and_by_401() {
    for answer in ["200 OK", "401 Unauthorized"] {
        let ca = new_ca();
        let port = serve(&ca, "127.0.0.1", answer).await;
        assert_eq!(probe(&target(ca.pem(), port, &["127.0.0.1"])).await, Ok(()), "{answer}");
    }
}

#[tokio::test]
async fn both_cas_of_a_rotation_may_be_in_the_bundle() {
    let (old, new) = (new_ca(), new_ca());
    let port = serve(&new, "127.0.0.1", "200 OK").await;
    assert_eq!(probe(&target(format!("{}{}", old.pem(), new.pem()), port, &["127.0.0.1"])).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_by_another_ca_is_refused() {
    let port = serve(&new_ca(), "127.0.0.1", "200 OK").await;
    let why = probe(&target(new_ca().pem(), port, &["127.0.0.1"])).await.unwrap_err();
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn a_certificate_that_does_not_carry_the_address_is_refused() {
    for san in ["127.0.0.2", "registry.packages.svc"] {
        let ca = new_ca();
        let port = serve(&ca, san, "200 OK").await;
        let why = probe(&target(ca.pem(), port, &["127.0.0.1"])).await.unwrap_err();
        assert!(why.contains("certificate"), "{why}");
    }
}

#[tokio::test]
async fn another_answer_and_a_redirect_are_no_proof() {
    for answer in ["503 Service Unavailable", "302 Found", "404 Not Found"] {
        let ca = new_ca();
        let port = serve(&ca, "127.0.0.1", answer).await;
        let why = probe(&target(ca.pem(), port, &["127.0.0.1"])).await.unwrap_err();
        assert!(why.contains(answer), "{why}");
    }
}

#[tokio::test]
async fn one_address_that_answers_is_enough_and_none_names_them_all() {
    let ca = new_ca();
    let port = serve(&ca, "127.0.0.1", "200 OK").await;
    assert_eq!(probe(&target(ca.pem(), port, &["::1", "127.0.0.1"])).await, Ok(()));
    let why = probe(&target(ca.pem(), 1, &["::1", "127.0.0.1"])).await.unwrap_err();
    assert!(why.contains("https://[::1]:1/v2/") && why.contains("https://127.0.0.1:1/v2/"), "{why}");
}
