//! Where credentials come from without a file: the SDK's own chain, in the server's program.

use server::digest::Digest;

use crate::common::process::Process;
use crate::common::s3_server::Kind;

/// Pushes a blob to a server, and pulls it.
async fn push_and_pull(process: &Process) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let (base, digest) = (format!("http://{}/v2/a/blobs", process.address), Digest::sha256(b"content"));
    let pushed = client.post(format!("{base}/uploads/?digest={digest}")).body("content").send().await.unwrap();
    assert_eq!(pushed.status(), 201);
    assert_eq!(client.get(format!("{base}/{digest}")).send().await.unwrap().text().await.unwrap(), "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_environment_are_used_where_no_file_is_named() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = server.config();
        // Its environment has nothing else.
        let process = server.process(&config);
        push_and_pull(&process).await;
        // A pointer, its bytes, and the link.
        assert_eq!(server.objects(&config).await.len(), 3, "{kind:?}");
    }
}
