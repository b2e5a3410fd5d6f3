//! Uploads that go on after a connection was lost, and on another instance. After a restart: `process.rs`.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::Method;
use server::digest::Digest;

use crate::common::site::Site;
use crate::registry::{REPO, refused};

crate::on_stores! {
    what_came_before_a_connection_broke_is_kept
    an_end_that_breaks_off_keeps_what_was_kept_before
    a_whole_blob_that_breaks_off_leaves_nothing_visible
}

/// A body that breaks off behind these bytes.
fn broken(content: &[u8]) -> Body {
    let chunks: Vec<_> = content.chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::from_stream(stream::iter(chunks.into_iter().chain([Err(std::io::Error::other("gone"))])))
}

fn content() -> Vec<u8> {
    (0..500_000_u32).map(|n| n.to_le_bytes()[1]).collect()
}

/// Faults 12 and 18.
async fn what_came_before_a_connection_broke_is_kept(registry: Site) {
    let (content, location) = (content(), registry.begin(REPO).await);
    let mut arrived = 0;
    for part in [100_000, 1, 250_000] {
        let range = format!("{arrived}-{}", content.len() - 1);
        let body = broken(&content[arrived..arrived + part]);
        let answer = registry.call(Method::PATCH, &location, &[("content-range", &range)], body).await;
        assert_eq!((answer.status.as_u16(), answer.header("connection")), (400, "close"));
        arrived += part;
        assert_eq!(registry.get(&location).await.header("range"), format!("0-{}", arrived - 1));
    }
    registry.piece(&location, arrived, &content[arrived..]).await;
    let answer = registry.end(&location, &Digest::sha256(&content), Body::empty()).await;
    assert_eq!(answer.status, 201);
    assert!(registry.get(answer.header("location")).await.body == content);
}

async fn an_end_that_breaks_off_keeps_what_was_kept_before(registry: Site) {
    let (content, location) = (content(), registry.begin(REPO).await);
    let digest = Digest::sha256(&content);
    registry.piece(&location, 0, &content[..100_000]).await;
    let answer = registry.end(&location, &digest, broken(&content[100_000..200_000])).await;
    assert_eq!(refused(&answer).1, "BLOB_UPLOAD_INVALID");
    assert_eq!(registry.get(&location).await.header("range"), "0-199999");
    assert_eq!(registry.status(&format!("/v2/{REPO}/blobs/{digest}")).await, 404);
    assert_eq!(registry.end(&location, &digest, content[200_000..].to_vec()).await.status, 201);
}

async fn a_whole_blob_that_breaks_off_leaves_nothing_visible(registry: Site) {
    let content = content();
    let digest = Digest::sha256(&content);
    let path = format!("/v2/{REPO}/blobs/uploads/?digest={digest}");
    let answer = registry.call(Method::POST, &path, &[], broken(&content[..300_000])).await;
    assert_eq!(answer.status, 400);
    let location = registry.begin(REPO).await;
    let answer = registry.end(&location, &digest, broken(&content[..300_000])).await;
    assert_eq!(answer.status, 400);
    assert_eq!(registry.status(&format!("/v2/{REPO}/blobs/{digest}")).await, 404);
    // How much of it was kept, the status says.
    let range = registry.get(&location).await.header("range").to_owned();
    let last: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
    let arrived = if last == 0 { 0 } else { last + 1 };
    assert_eq!(registry.end(&location, &digest, content[arrived..].to_vec()).await.status, 201);
}
