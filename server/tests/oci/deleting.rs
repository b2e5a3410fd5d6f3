//! Section "Content management".

use axum::body::Body;
use http::Method;
use serde_json::json;
use server::digest::Digest;

use crate::common::site::Site;
use crate::registry::{MANIFEST, REPO, error, refused};

crate::on_stores! {
    a_tag_that_is_deleted_is_202_and_gone_and_its_manifest_stays
    a_manifest_that_is_deleted_is_202_and_gone_with_its_tags
    a_blob_that_is_deleted_is_202_and_gone
    what_is_not_there_cannot_be_deleted
    what_was_deleted_can_be_pushed_again
    a_manifest_is_not_deleted_as_a_blob
    deleting_leaves_other_repositories_alone
    methods_that_a_path_does_not_take_are_405_and_named
}

async fn a_tag_that_is_deleted_is_202_and_gone_and_its_manifest_stays(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    registry.put(REPO, "2", MANIFEST, image.bytes).await;
    assert_eq!(registry.delete(&format!("/v2/{REPO}/manifests/1")).await.status, 202);
    for (reference, status) in [("1", 404), ("2", 200), (&image.digest.to_string(), 200)] {
        assert_eq!(registry.status(&format!("/v2/{REPO}/manifests/{reference}")).await, status, "{reference}");
    }
    let tags = registry.get(&format!("/v2/{REPO}/tags/list")).await;
    assert_eq!(tags.json()["tags"], json!(["2"]));
}

async fn a_manifest_that_is_deleted_is_202_and_gone_with_its_tags(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    registry.put(REPO, "2", MANIFEST, image.bytes).await;
    registry.image(REPO, "3", "b").await;
    assert_eq!(registry.delete(&format!("/v2/{REPO}/manifests/{}", image.digest)).await.status, 202);
    for (reference, status) in [("1", 404), ("2", 404), (&*image.digest.to_string(), 404), ("3", 200)] {
        assert_eq!(registry.status(&format!("/v2/{REPO}/manifests/{reference}")).await, status, "{reference}");
    }
    // As a blob it isn't there any more either.
    registry.gone(&format!("/v2/{REPO}/blobs/{}", image.digest)).await;
}

async fn a_blob_that_is_deleted_is_202_and_gone(registry: Site) {
    let digest = registry.blob(REPO, b"content").await;
    let path = format!("/v2/{REPO}/blobs/{digest}");
    assert_eq!(registry.delete(&path).await.status, 202);
    registry.gone(&path).await;
    assert_eq!(refused(&registry.delete(&path).await), error(404, "BLOB_UNKNOWN"));
}

async fn what_is_not_there_cannot_be_deleted(registry: Site) {
    registry.image(REPO, "1", "a").await;
    let none = Digest::sha256(b"none");
    for repository in [REPO, "none"] {
        for reference in ["2".to_owned(), none.to_string()] {
            let answer = registry.delete(&format!("/v2/{repository}/manifests/{reference}")).await;
            assert_eq!(refused(&answer), error(404, "MANIFEST_UNKNOWN"), "{repository} {reference}");
        }
        let answer = registry.delete(&format!("/v2/{repository}/blobs/{none}")).await;
        assert_eq!(refused(&answer), error(404, "BLOB_UNKNOWN"), "{repository}");
    }
}

async fn what_was_deleted_can_be_pushed_again(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    registry.delete(&format!("/v2/{REPO}/manifests/{}", image.digest)).await;
    registry.delete(&format!("/v2/{REPO}/blobs/{}", image.layer)).await;
    let early = registry.put(REPO, "1", MANIFEST, image.bytes.clone()).await;
    assert_eq!(refused(&early), error(404, "MANIFEST_BLOB_UNKNOWN"));
    registry.image(REPO, "1", "a").await;
    assert_eq!(registry.get(&format!("/v2/{REPO}/manifests/1")).await.body, image.bytes);
}

async fn a_manifest_is_not_deleted_as_a_blob(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let answer = registry.delete(&format!("/v2/{REPO}/blobs/{}", image.digest)).await;
    assert_eq!(refused(&answer), error(405, "UNSUPPORTED"));
    assert_eq!(registry.status(&format!("/v2/{REPO}/manifests/1")).await, 200);
}

async fn deleting_leaves_other_repositories_alone(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    registry.image("other", "1", "a").await;
    registry.delete(&format!("/v2/{REPO}/manifests/{}", image.digest)).await;
    registry.delete(&format!("/v2/{REPO}/blobs/{}", image.layer)).await;
    assert_eq!(registry.status("/v2/other/manifests/1").await, 200);
    assert_eq!(registry.status(&format!("/v2/other/blobs/{}", image.layer)).await, 200);
}

async fn methods_that_a_path_does_not_take_are_405_and_named(registry: Site) {
    let digest = Digest::sha256(b"x");
    for (method, path, allow) in [
        (Method::DELETE, "/v2/".to_owned(), "GET, HEAD"),
        (Method::PUT, format!("/v2/{REPO}/blobs/{digest}"), "GET, HEAD, DELETE"),
        (Method::DELETE, format!("/v2/{REPO}/tags/list"), "GET, HEAD"),
        (Method::GET, format!("/v2/{REPO}/blobs/uploads/"), "POST"),
        (Method::POST, format!("/v2/{REPO}/manifests/1"), "GET, HEAD, PUT, DELETE"),
    ] {
        let answer = registry.call(method.clone(), &path, &[], Body::empty()).await;
        assert_eq!(refused(&answer), error(405, "UNSUPPORTED"), "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}
