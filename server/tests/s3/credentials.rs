//! Where credentials come from without a file: the SDK's own chain, in the server's program.

use std::path::Path;
use std::time::Duration;

use server::digest::Digest;
use server::storage::keys;

use crate::common::process::Process;
use crate::common::s3_proxy::Proxy;
use crate::common::s3_server::{Kind, S3Server};
use crate::common::s3_store::behind;
use crate::common::until::until;
use crate::issuer::{CONTAINER_PATH, Issuer, ROLE, SESSION};

/// What the issuer says of how long credentials are good: the SDK renews them five to ten seconds before.
const SOON: Duration = Duration::from_secs(10);

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// Pushes a blob to a server, and pulls it.
async fn push_and_pull(process: &Process, content: &'static str) {
    let client = client();
    let (base, digest) = (format!("http://{}/v2/a/blobs", process.address), Digest::sha256(content.as_bytes()));
    let pushed = client.post(format!("{base}/uploads/?digest={digest}")).body(content).send().await.unwrap();
    assert_eq!(pushed.status(), 201);
    assert_eq!(client.get(format!("{base}/{digest}")).send().await.unwrap().text().await.unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_environment_are_used_where_no_file_is_named() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = server.config();
        // Its environment has nothing else.
        let process = S3Server::process(&config);
        push_and_pull(&process, "content").await;
        // A pointer, its bytes, and the link.
        assert_eq!(server.objects(&config).await.len(), 3, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_is_exchanged_for_temporary_credentials_which_are_renewed_before_they_expire() {
    let Some(server) = Kind::Minio.server().await else { return };
    are_renewed(server, |issuer, token| {
        vec![
            ("AWS_ENDPOINT_URL_STS", format!("http://{}", issuer.address)),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
            ("AWS_ROLE_ARN", ROLE.to_owned()),
            ("AWS_ROLE_SESSION_NAME", SESSION.to_owned()),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_credentials_come_from_the_containers_agent_and_are_renewed_before_they_expire() {
    let Some(server) = Kind::Minio.server().await else { return };
    are_renewed(server, |issuer, token| {
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}{CONTAINER_PATH}", issuer.address)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.display().to_string()),
        ]
    })
    .await;
}

/// A server whose environment says where temporary credentials are, and nothing else, works with what it is given, asks again
/// in time with the token that its file has by then, and goes on with that.
async fn are_renewed(
    server: &'static S3Server,
    environment: impl FnOnce(&Issuer, &Path) -> Vec<(&'static str, String)>,
) {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "first-token").unwrap();
    let issuer = Issuer::start(server, &[("first-token", Some(SOON)), ("second-token", None)]).await;
    let proxy = Proxy::start(server.address, None).await;
    let environment = environment(&issuer, &token);
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let process = S3Server::process_in(&behind(server, &proxy), &environment);
    push_and_pull(&process, "with the first").await;
    assert!(issuer.issued().iter().all(|issued| issued.token == "first-token"));
    // As the kubelet does it, which exchanges a pod's token before it expires.
    std::fs::write(folder.path().join("new"), "second-token").unwrap();
    std::fs::rename(folder.path().join("new"), &token).unwrap();
    let address = format!("http://{}/v2/a/blobs/{}", process.address, Digest::sha256(b"with the first"));
    until("the credentials are renewed", async || {
        assert_eq!(client().get(&address).send().await.unwrap().status(), 200);
        issuer.issued().last().unwrap().token == "second-token"
    })
    .await;
    proxy.calls();
    push_and_pull(&process, "with the second").await;
    let all = issuer.issued();
    let renewed = &all.last().unwrap().key_id;
    let blob = keys::blob(&Digest::sha256(b"with the second")).to_string();
    let calls: Vec<_> = proxy.calls().into_iter().filter(|call| call.path.ends_with(&blob)).collect();
    assert!(!calls.is_empty() && calls.iter().all(|call| call.key_id == *renewed), "{renewed}: {calls:?}");
    // Those are good for an hour.
    assert_eq!(all.iter().filter(|issued| issued.token == "second-token").count(), 1, "{all:?}");
}
