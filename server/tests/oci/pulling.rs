//! Section "Pull".

use axum::body::Body;
use http::Method;
use server::digest::Digest;

use crate::common::site::Site;
use crate::registry::{LAYER, MANIFEST, REPO, error, refused};

crate::on_stores! {
    the_base_says_that_the_specification_is_implemented
    a_manifest_comes_back_byte_for_byte_with_its_type_and_digest
    a_manifest_that_is_not_there_is_404
    a_blob_comes_back_byte_for_byte_with_its_digest
    a_blob_that_is_not_there_is_404
    head_answers_as_get_does_without_the_content
    part_of_a_blob_may_be_asked_for
    names_that_are_none_are_refused
}

async fn the_base_says_that_the_specification_is_implemented(registry: Site) {
    assert_eq!(registry.status("/v2/").await, 200);
}

async fn a_manifest_comes_back_byte_for_byte_with_its_type_and_digest(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    for reference in ["1".to_owned(), image.digest.to_string()] {
        let answer = registry.get(&format!("/v2/{REPO}/manifests/{reference}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &image.bytes[..]));
        assert_eq!(answer.header("content-type"), MANIFEST);
        assert_eq!(answer.header("docker-content-digest"), image.digest.to_string());
        assert_eq!(answer.header("content-length"), image.bytes.len().to_string());
    }
}

async fn a_manifest_that_is_not_there_is_404(registry: Site) {
    registry.image(REPO, "1", "a").await;
    for reference in ["2".to_owned(), Digest::sha256(b"none").to_string()] {
        for repository in [REPO, "none"] {
            let answer = registry.get(&format!("/v2/{repository}/manifests/{reference}")).await;
            assert_eq!(refused(&answer), error(404, "MANIFEST_UNKNOWN"));
        }
    }
}

async fn a_blob_comes_back_byte_for_byte_with_its_digest(registry: Site) {
    let digest = registry.blob(REPO, b"content").await;
    let answer = registry.get(&format!("/v2/{REPO}/blobs/{digest}")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "content"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
}

async fn a_blob_that_is_not_there_is_404(registry: Site) {
    let digest = registry.blob(REPO, b"content").await;
    let none = Digest::sha256(b"none");
    for path in [format!("/v2/{REPO}/blobs/{none}"), format!("/v2/other/blobs/{digest}")] {
        assert_eq!(refused(&registry.get(&path).await), error(404, "BLOB_UNKNOWN"), "{path}");
        assert_eq!(registry.head(&path).await.status, 404, "{path}");
    }
}

async fn head_answers_as_get_does_without_the_content(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    for (path, size) in [
        (format!("/v2/{REPO}/manifests/1"), image.bytes.len()),
        (format!("/v2/{REPO}/manifests/{}", image.digest), image.bytes.len()),
        (format!("/v2/{REPO}/blobs/{}", image.layer), "layer of a".len()),
    ] {
        let answer = registry.head(&path).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{path}");
        assert_eq!(answer.header("content-length"), size.to_string(), "{path}");
        assert!(!answer.header("docker-content-digest").is_empty(), "{path}");
    }
    assert_eq!(registry.head(&format!("/v2/{REPO}/manifests/2")).await.status, 404);
}

async fn part_of_a_blob_may_be_asked_for(registry: Site) {
    let digest = registry.blob(REPO, b"0123456789").await;
    let path = format!("/v2/{REPO}/blobs/{digest}");
    let answer = registry.call(Method::GET, &path, &[("range", "bytes=2-4")], Body::empty()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (206, "234"));
    let outside = registry.call(Method::GET, &path, &[("range", "bytes=10-")], Body::empty()).await;
    assert_eq!((outside.status.as_u16(), outside.header("content-range")), (416, "bytes */10"));
}

/// Fault 36: names with `..`, also where they are coded, never lead out of the tree.
async fn names_that_are_none_are_refused(registry: Site) {
    let blob = Digest::sha256(LAYER.as_bytes());
    for name in ["UPPER", "a/../b", "a/%2e%2e/b", "%2e%2e", "a//b", "a_/b", "-a", "a/_tags"] {
        for path in
            [format!("/v2/{name}/manifests/1"), format!("/v2/{name}/blobs/{blob}"), format!("/v2/{name}/tags/list")]
        {
            assert_eq!(refused(&registry.get(&path).await), error(400, "NAME_INVALID"), "{path}");
        }
        let path = format!("/v2/{name}/blobs/uploads/");
        let answer = registry.call(Method::POST, &path, &[], Body::empty()).await;
        assert_eq!(refused(&answer), error(400, "NAME_INVALID"), "{path}");
    }
}
