//! Section "Mounting a blob from another repository".

use axum::body::Body;
use http::Method;
use server::digest::Digest;

use crate::common::Answer;
use crate::common::site::Site;
use crate::registry::{REPO, error, refused};

crate::on_stores! {
    a_mount_is_201_and_says_where_the_blob_is
    what_cannot_be_mounted_becomes_an_upload
    a_manifest_is_a_blob_that_can_be_mounted
    a_digest_that_is_none_cannot_be_mounted
    a_blob_that_was_deleted_is_not_to_be_had_through_another_repository
}

async fn mount(registry: &Site, digest: &Digest, from: &str) -> Answer {
    let path = format!("/v2/{REPO}/blobs/uploads/?mount={digest}{from}");
    registry.call(Method::POST, &path, &[], Body::empty()).await
}

async fn a_mount_is_201_and_says_where_the_blob_is(registry: Site) {
    let digest = registry.blob("other/repo", b"content").await;
    let answer = mount(&registry, &digest, "&from=other/repo").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, &*format!("/v2/{REPO}/blobs/{digest}")));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(registry.get(answer.header("location")).await.text(), "content");
}

async fn what_cannot_be_mounted_becomes_an_upload(registry: Site) {
    let digest = registry.blob("other/repo", b"content").await;
    let none = Digest::sha256(b"none");
    for (digest, from) in [
        (&none, "&from=other/repo"),
        (&digest, "&from=third"),
        (&digest, "&from=UPPER"),
        (&digest, "&from="),
        // The blob is there, but nobody said where.
        (&digest, ""),
    ] {
        let answer = mount(&registry, digest, from).await;
        assert_eq!(answer.status, 202, "{from}");
        assert_eq!(registry.status(&format!("/v2/{REPO}/blobs/{digest}")).await, 404, "{from}");
        let location = answer.header("location");
        assert_eq!(registry.get(location).await.status, 204, "{from}");
    }
    let answer = mount(&registry, &none, "&from=third").await;
    assert_eq!(registry.end(answer.header("location"), &none, "none").await.status, 201);
}

async fn a_manifest_is_a_blob_that_can_be_mounted(registry: Site) {
    let image = registry.image("other/repo", "1", "a").await;
    assert_eq!(mount(&registry, &image.digest, "&from=other/repo").await.status, 201);
    assert_eq!(registry.get(&format!("/v2/{REPO}/blobs/{}", image.digest)).await.body, image.bytes);
    // It isn't a manifest there until it is pushed as one.
    assert_eq!(registry.status(&format!("/v2/{REPO}/manifests/{}", image.digest)).await, 404);
}

async fn a_digest_that_is_none_cannot_be_mounted(registry: Site) {
    let path = format!("/v2/{REPO}/blobs/uploads/?mount=sha256:12&from=other");
    let answer = registry.call(Method::POST, &path, &[], Body::empty()).await;
    assert_eq!(refused(&answer), error(400, "DIGEST_INVALID"));
}

/// As CVE-2026-35172: the bytes may be in the store still, but no repository serves them.
async fn a_blob_that_was_deleted_is_not_to_be_had_through_another_repository(registry: Site) {
    let digest = registry.blob("other/repo", b"content").await;
    assert_eq!(registry.delete(&format!("/v2/other/repo/blobs/{digest}")).await.status, 202);
    assert_eq!(mount(&registry, &digest, "&from=other/repo").await.status, 202);
    for repository in [REPO, "other/repo"] {
        registry.gone(&format!("/v2/{repository}/blobs/{digest}")).await;
    }
}
