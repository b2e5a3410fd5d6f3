//! Sections "POST then PUT" and "Single POST".

use axum::body::Body;
use http::Method;
use server::digest::Digest;
use uuid::Uuid;

use crate::common::site::{Reach, Site};
use crate::registry::{REPO, error, refused, sha512};

crate::on_stores! {
    a_session_is_202_with_a_path_that_names_it
    a_put_with_the_whole_blob_is_201_and_says_where_it_is
    one_post_with_the_whole_blob_is_201_and_says_where_it_is
    content_with_another_digest_is_refused_and_not_kept
    a_digest_that_is_none_is_refused
    both_algorithms_are_taken
    a_blob_may_be_empty
    a_blob_that_is_there_may_be_pushed_again
    a_blob_is_not_to_be_had_before_its_end
    a_blob_of_many_pieces_of_the_store_comes_back_whole
}

async fn a_session_is_202_with_a_path_that_names_it(registry: Site) {
    let answer = registry.call(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), &[], Body::empty()).await;
    assert_eq!(answer.status, 202);
    let id = answer.header("location").strip_prefix(&format!("/v2/{REPO}/blobs/uploads/")).unwrap();
    assert!(id.parse::<Uuid>().is_ok(), "{id}");
    assert_eq!((answer.header("docker-upload-uuid"), answer.header("range")), (id, "0-0"));
    // Buckets take parts; elsewhere any size is as good as another.
    let least = registry.client().storage.least_piece();
    assert_eq!(answer.header("oci-chunk-min-length"), if least == 0 { String::new() } else { least.to_string() });
}

async fn a_put_with_the_whole_blob_is_201_and_says_where_it_is(registry: Site) {
    let (location, digest) = (registry.begin(REPO).await, Digest::sha256(b"whole"));
    let answer = registry.end(&location, &digest, "whole").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, &*format!("/v2/{REPO}/blobs/{digest}")));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(registry.get(answer.header("location")).await.text(), "whole");
    assert_eq!(refused(&registry.get(&location).await), error(404, "BLOB_UPLOAD_UNKNOWN"));
}

async fn one_post_with_the_whole_blob_is_201_and_says_where_it_is(registry: Site) {
    for digest in [Digest::sha256(b"whole"), sha512(b"whole")] {
        let path = format!("/v2/{REPO}/blobs/uploads/?digest={digest}");
        let answer = registry.call(Method::POST, &path, &[], "whole").await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (201, &*format!("/v2/{REPO}/blobs/{digest}")));
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_eq!(registry.get(answer.header("location")).await.text(), "whole");
    }
}

async fn content_with_another_digest_is_refused_and_not_kept(registry: Site) {
    let wrong = Digest::sha256(b"other");
    let location = registry.begin(REPO).await;
    let ended = registry.end(&location, &wrong, "whole").await;
    assert_eq!(refused(&ended), error(400, "DIGEST_INVALID"));
    let path = format!("/v2/{REPO}/blobs/uploads/?digest={wrong}");
    let posted = registry.call(Method::POST, &path, &[], "whole").await;
    assert_eq!(refused(&posted), error(400, "DIGEST_INVALID"));
    let location = registry.begin(REPO).await;
    registry.piece(&location, 0, b"whole").await;
    let ended = registry.end(&location, &wrong, Body::empty()).await;
    assert_eq!(refused(&ended), error(400, "DIGEST_INVALID"));
    for digest in [wrong, Digest::sha256(b"whole")] {
        assert_eq!(registry.status(&format!("/v2/{REPO}/blobs/{digest}")).await, 404);
    }
    let keys = registry.client().keys().await;
    assert!(!keys.iter().any(|key| key.starts_with("blobs/")), "{keys:?}");
}

async fn a_digest_that_is_none_is_refused(registry: Site) {
    let location = registry.begin(REPO).await;
    for digest in ["", "?digest=", "?digest=sha256:12", "?digest=md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = registry.call(Method::PUT, &format!("{location}{digest}"), &[], "x").await;
        assert_eq!(refused(&answer), error(400, "DIGEST_INVALID"), "{digest}");
    }
    // The upload is what it was.
    assert_eq!(registry.end(&location, &Digest::sha256(b"x"), "x").await.status, 201);
}

async fn both_algorithms_are_taken(registry: Site) {
    let digest = sha512(b"content");
    let (whole, pieces) = (registry.begin(REPO).await, registry.begin(REPO).await);
    assert_eq!(registry.end(&whole, &digest, "content").await.status, 201);
    registry.piece(&pieces, 0, b"cont").await;
    assert_eq!(registry.end(&pieces, &digest, "ent").await.status, 201);
    assert_eq!(registry.get(&format!("/v2/{REPO}/blobs/{digest}")).await.text(), "content");
}

async fn a_blob_may_be_empty(registry: Site) {
    let digest = registry.blob(REPO, b"").await;
    let answer = registry.get(&format!("/v2/{REPO}/blobs/{digest}")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, "0"));
}

async fn a_blob_that_is_there_may_be_pushed_again(registry: Site) {
    for repository in [REPO, REPO, "other"] {
        let digest = registry.blob(repository, b"content").await;
        assert_eq!(registry.get(&format!("/v2/{repository}/blobs/{digest}")).await.text(), "content");
    }
    let blobs = registry.client().keys().await.into_iter().filter(|key| key.starts_with("blobs/"));
    assert_eq!(blobs.count(), 1);
}

async fn a_blob_is_not_to_be_had_before_its_end(registry: Site) {
    let (location, digest) = (registry.begin(REPO).await, Digest::sha256(b"content"));
    registry.piece(&location, 0, b"content").await;
    assert_eq!(registry.status(&format!("/v2/{REPO}/blobs/{digest}")).await, 404);
    assert_eq!(registry.end(&location, &digest, Body::empty()).await.status, 201);
    assert_eq!(registry.status(&format!("/v2/{REPO}/blobs/{digest}")).await, 200);
}

async fn a_blob_of_many_pieces_of_the_store_comes_back_whole(registry: Site) {
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let digest = registry.blob(REPO, &content).await;
    let answer = registry.get(&format!("/v2/{REPO}/blobs/{digest}")).await;
    assert!(answer.body == content);
}
