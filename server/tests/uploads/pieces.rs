//! Blobs that arrive in pieces.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, StatusCode};
use server::digest::Digest;

use crate::common::bundles::{Package, package};
use crate::common::sender::{announced, bring, offset, patch};
use crate::common::site::{Reach, Site};

const FILE: &[u8] = b"0123456789";

fn digest() -> String {
    Digest::sha256(FILE).to_string()
}

async fn upload(site: &Site) -> String {
    announced(site, &Package::new("tiny", "1").file("a", "a.txt", FILE).content()).await.id
}

crate::on_stores! {
    a_blob_arrives_piece_by_piece
    a_piece_that_does_not_go_on_where_the_registry_is_gets_the_right_place
    a_piece_out_of_order_does_not_end_another_that_is_on_its_way
    a_transfer_that_breaks_keeps_what_arrived
    other_bytes_than_announced_are_dropped_and_both_digests_named
    more_bytes_than_announced_are_refused_and_change_nothing
    only_blobs_of_the_upload_can_be_sent
    a_file_without_bytes_is_kept_too
    an_upload_that_is_given_up_leaves_nothing
}

async fn a_blob_arrives_piece_by_piece(site: Site) {
    let id = upload(&site).await;
    assert_eq!(offset(&site, &id, &digest()).await, 0);
    for (from, to) in [(0, 3), (3, 3), (3, 9)] {
        let answer = patch(&site, &id, &digest(), from as u64, &FILE[from..to]).await;
        assert_eq!((answer.status, answer.header("upload-offset")), (StatusCode::NO_CONTENT, &*to.to_string()));
        assert_eq!(offset(&site, &id, &digest()).await, to as u64);
    }
    let again = announced(&site, &Package::new("tiny", "1").file("a", "a.txt", FILE).content()).await;
    assert_eq!((again.missing[0].offset, again.progress.bytes_done), (9, 9));
    let last = patch(&site, &id, &digest(), 9, &FILE[9..]).await;
    assert_eq!(last.status, StatusCode::NO_CONTENT);
    assert_eq!(offset(&site, &id, &digest()).await, 10);
}

async fn a_piece_that_does_not_go_on_where_the_registry_is_gets_the_right_place(site: Site) {
    let id = upload(&site).await;
    patch(&site, &id, &digest(), 0, &FILE[..4]).await;
    for wrong in [0, 3, 5, u64::MAX] {
        let answer = patch(&site, &id, &digest(), wrong, &FILE[4..]).await;
        assert_eq!((answer.status, answer.header("upload-offset")), (StatusCode::CONFLICT, "4"));
    }
    patch(&site, &id, &digest(), 4, &FILE[4..]).await;
    let whole = patch(&site, &id, &digest(), 0, FILE).await;
    assert_eq!((whole.status, whole.header("upload-offset")), (StatusCode::CONFLICT, "10"));
    let nothing = site.call(Method::PATCH, &format!("/api/v1/uploads/{id}/blobs/{}", digest()), &[], FILE).await;
    assert_eq!(nothing.status, StatusCode::BAD_REQUEST);
    assert!(nothing.text().contains("upload-offset"));
}

async fn a_piece_out_of_order_does_not_end_another_that_is_on_its_way(site: Site) {
    let id = upload(&site).await;
    let (sender, pieces) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = futures::stream::unfold(pieces, |mut pieces| async { pieces.recv().await.map(|next| (next, pieces)) });
    let (other, other_id) = (site.client().clone(), id.clone());
    let sending =
        tokio::spawn(async move { patch(&other, &other_id, &digest(), 0, Body::from_stream(body)).await.status });
    sender.send(Ok(Bytes::from(&FILE[..4]))).await.unwrap();
    // The first piece has been asked for when there is room for a second one behind it.
    sender.send(Ok(Bytes::from(&FILE[4..7]))).await.unwrap();
    let wrong = patch(&site, &id, &digest(), 3, &FILE[3..]).await;
    assert_eq!((wrong.status, wrong.header("upload-offset")), (StatusCode::CONFLICT, "0"));
    sender.send(Ok(Bytes::from(&FILE[7..]))).await.unwrap();
    drop(sender);
    assert_eq!(sending.await.unwrap(), StatusCode::NO_CONTENT);
    assert_eq!(offset(&site, &id, &digest()).await, 10);
}

async fn a_transfer_that_breaks_keeps_what_arrived(site: Site) {
    // faults.md 12.
    let id = upload(&site).await;
    for done in (0..10).step_by(2) {
        let pieces = [Ok(Bytes::from(&FILE[done..done + 2])), Err(std::io::Error::other("cut"))];
        let body = Body::from_stream(futures::stream::iter(pieces));
        let answer = patch(&site, &id, &digest(), done as u64, body).await;
        assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT, "{}", answer.text());
        assert_eq!(offset(&site, &id, &digest()).await, done as u64 + 2);
    }
    let answer = patch(&site, &id, &digest(), 10, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "all bytes are there, only the check is left");
    assert_eq!(offset(&site, &id, &digest()).await, 10);
}

async fn other_bytes_than_announced_are_dropped_and_both_digests_named(site: Site) {
    let id = upload(&site).await;
    let answer = patch(&site, &id, &digest(), 0, &b"abcdefghij"[..]).await;
    assert_eq!((answer.status, &answer.json()["type"]), (StatusCode::BAD_REQUEST, &"DigestMismatch".into()));
    let data = &answer.json()["data"];
    assert_eq!(data["expected"], digest());
    assert_eq!(data["found"], Digest::sha256(b"abcdefghij").to_string());
    assert_eq!(offset(&site, &id, &digest()).await, 0);
    assert!(site.keys().await.iter().all(|key| key.starts_with("package-uploads/")));
    assert_eq!(patch(&site, &id, &digest(), 0, FILE).await.status, StatusCode::NO_CONTENT);
}

async fn more_bytes_than_announced_are_refused_and_change_nothing(site: Site) {
    let id = upload(&site).await;
    patch(&site, &id, &digest(), 0, &FILE[..4]).await;
    let answer = patch(&site, &id, &digest(), 4, &b"456789more"[..]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("10 bytes"), "{}", answer.text());
    assert_eq!(offset(&site, &id, &digest()).await, 4);
}

async fn only_blobs_of_the_upload_can_be_sent(site: Site) {
    let id = upload(&site).await;
    for digest in [Digest::sha256(b"x").to_string(), "sha256:x".into(), format!("sha512:{}", "0".repeat(128))] {
        assert_eq!(patch(&site, &id, &digest, 0, "x").await.status, StatusCode::NOT_FOUND);
    }
    for id in ["x", &"0".repeat(64)] {
        assert_eq!(patch(&site, id, &digest(), 0, FILE).await.status, StatusCode::NOT_FOUND);
        assert_eq!(site.get(&format!("/api/v1/uploads/{id}")).await.status, StatusCode::NOT_FOUND);
    }
}

async fn a_file_without_bytes_is_kept_too(site: Site) {
    let empty = Package::new("tiny", "1").file("a", "a.txt", b"");
    let upload = announced(&site, &empty.content()).await;
    assert_eq!((upload.missing[0].size, upload.missing.len()), (0, 1));
    assert_eq!(bring(&site, &empty).await.state, api::State::Added);
}

async fn an_upload_that_is_given_up_leaves_nothing(site: Site) {
    let redis = package("redis", "1", "redis:5");
    let upload = announced(&site, &redis.content()).await;
    let blob = &upload.missing[0];
    patch(&site, &upload.id, &blob.digest, 0, redis.parts()[&blob.digest][..1].to_vec()).await;
    let path = format!("/api/v1/uploads/{}", upload.id);
    for _ in 0..2 {
        assert_eq!(site.call(Method::DELETE, &path, &[], Body::empty()).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(site.get(&path).await.status, StatusCode::NOT_FOUND);
    let left = site.keys_after_collection().await;
    assert!(left.is_empty(), "{left:?}");
}
