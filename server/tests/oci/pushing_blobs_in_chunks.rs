//! Section "Pushing a blob in chunks".

use axum::body::Body;
use futures::stream;
use http::Method;
use server::digest::Digest;

use crate::common::site::Site;
use crate::registry::{REPO, error, refused};

crate::on_stores! {
    a_chunk_is_202_with_the_bytes_so_far
    the_last_chunk_may_come_with_the_end_or_before_it
    a_chunk_out_of_order_is_416_and_says_where_the_upload_is
    the_status_is_204_with_the_bytes_so_far
    a_stream_without_length_and_range_is_a_chunk
    a_range_that_is_none_or_has_another_length_is_refused
    the_end_needs_the_digest_of_the_whole
    an_upload_belongs_to_its_repository
    an_upload_that_is_not_there_is_404
    the_end_is_in_order_too
}

async fn a_chunk_is_202_with_the_bytes_so_far(registry: Site) {
    let location = registry.begin(REPO).await;
    for (first, chunk, range) in [(0, "0123", "0-3"), (4, "4", "0-4"), (5, "56789", "0-9")] {
        let answer = registry.piece(&location, first, chunk.as_bytes()).await;
        assert_eq!((answer.header("range"), answer.header("location")), (range, &*location));
        assert!(location.ends_with(answer.header("docker-upload-uuid")));
    }
    let answer = registry.end(&location, &Digest::sha256(b"0123456789"), Body::empty()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(registry.get(answer.header("location")).await.text(), "0123456789");
}

async fn the_last_chunk_may_come_with_the_end_or_before_it(registry: Site) {
    let digest = Digest::sha256(b"0123456789");
    let location = registry.begin(REPO).await;
    registry.piece(&location, 0, b"01234").await;
    let path = format!("{location}?digest={digest}");
    let answer = registry.call(Method::PUT, &path, &[("content-range", "5-9")], "56789").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, &*format!("/v2/{REPO}/blobs/{digest}")));
    assert_eq!(registry.get(answer.header("location")).await.text(), "0123456789");
}

/// Fault 36: neither an overlap nor a gap.
async fn a_chunk_out_of_order_is_416_and_says_where_the_upload_is(registry: Site) {
    let location = registry.begin(REPO).await;
    let early = registry.call(Method::PATCH, &location, &[("content-range", "1-4")], "1234").await;
    assert_eq!((refused(&early), early.header("range")), (error(416, "BLOB_UPLOAD_INVALID"), "0-0"));
    registry.piece(&location, 0, b"0123").await;
    for range in ["0-3", "3-6", "5-8"] {
        let answer = registry.call(Method::PATCH, &location, &[("content-range", range)], "4567").await;
        assert_eq!(refused(&answer), error(416, "BLOB_UPLOAD_INVALID"), "{range}");
        assert_eq!((answer.header("range"), answer.header("location")), ("0-3", &*location), "{range}");
    }
    registry.piece(&location, 4, b"4567").await;
    assert_eq!(registry.end(&location, &Digest::sha256(b"01234567"), Body::empty()).await.status, 201);
}

async fn the_status_is_204_with_the_bytes_so_far(registry: Site) {
    let location = registry.begin(REPO).await;
    registry.piece(&location, 0, b"0123").await;
    for method in [Method::GET, Method::HEAD] {
        let answer = registry.call(method, &location, &[], Body::empty()).await;
        assert_eq!((answer.status.as_u16(), answer.header("range")), (204, "0-3"));
        assert_eq!(answer.header("location"), location);
    }
}

async fn a_stream_without_length_and_range_is_a_chunk(registry: Site) {
    let location = registry.begin(REPO).await;
    for range in ["0-5", "0-11"] {
        let chunks = ["01", "23", "45"].map(Ok::<_, std::io::Error>);
        let answer = registry.call(Method::PATCH, &location, &[], Body::from_stream(stream::iter(chunks))).await;
        assert_eq!((answer.status.as_u16(), answer.header("range")), (202, range));
    }
    let last = Body::from_stream(stream::iter([Ok::<_, std::io::Error>("6")]));
    assert_eq!(registry.end(&location, &Digest::sha256(b"0123450123456"), last).await.status, 201);
}

async fn a_range_that_is_none_or_has_another_length_is_refused(registry: Site) {
    let location = registry.begin(REPO).await;
    for range in ["bytes 0-3/4", "0", "a-b", "3-0"] {
        let answer = registry.call(Method::PATCH, &location, &[("content-range", range)], "0123").await;
        assert_eq!(refused(&answer), error(400, "BLOB_UPLOAD_INVALID"), "{range}");
    }
    for range in ["0-2", "0-4"] {
        let known = registry.call(Method::PATCH, &location, &[("content-range", range)], "0123").await;
        assert_eq!(refused(&known), error(400, "SIZE_INVALID"), "{range}");
        let streamed = Body::from_stream(stream::iter([Ok::<_, std::io::Error>("0123")]));
        let unknown = registry.call(Method::PATCH, &location, &[("content-range", range)], streamed).await;
        assert_eq!(refused(&unknown), error(400, "SIZE_INVALID"), "{range}");
    }
    assert_eq!(registry.get(&location).await.header("range"), "0-0");
    assert_eq!(registry.end(&location, &Digest::sha256(b"x"), "x").await.status, 201);
}

async fn the_end_needs_the_digest_of_the_whole(registry: Site) {
    let location = registry.begin(REPO).await;
    registry.piece(&location, 0, b"0123").await;
    let without = registry.call(Method::PUT, &location, &[], "4567").await;
    assert_eq!(refused(&without), error(400, "DIGEST_INVALID"));
    let of_the_last = registry.end(&location, &Digest::sha256(b"4567"), "4567").await;
    assert_eq!(refused(&of_the_last), error(400, "DIGEST_INVALID"));
}

async fn an_upload_belongs_to_its_repository(registry: Site) {
    let location = registry.begin(REPO).await;
    registry.piece(&location, 0, b"0123").await;
    let foreign = location.replace(REPO, "other");
    let digest = Digest::sha256(b"0123");
    for (method, path) in [
        (Method::GET, foreign.clone()),
        (Method::PATCH, foreign.clone()),
        (Method::PUT, format!("{foreign}?digest={digest}")),
        (Method::DELETE, foreign),
    ] {
        let answer = registry.call(method.clone(), &path, &[], Body::empty()).await;
        assert_eq!(refused(&answer), error(404, "BLOB_UPLOAD_UNKNOWN"), "{method}");
    }
    assert_eq!(registry.end(&location, &digest, Body::empty()).await.status, 201);
}

async fn an_upload_that_is_not_there_is_404(registry: Site) {
    let none = format!("/v2/{REPO}/blobs/uploads/");
    for id in ["2c1e7dfb-53a5-4f0c-8f3e-6f6a4d0e7f11", "x", "%2e%2e"] {
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let path = format!("{none}{id}?digest={}", Digest::sha256(b""));
            let answer = registry.call(method.clone(), &path, &[], Body::empty()).await;
            assert_eq!(refused(&answer), error(404, "BLOB_UPLOAD_UNKNOWN"), "{method} {id}");
        }
    }
}

async fn the_end_is_in_order_too(registry: Site) {
    let location = registry.begin(REPO).await;
    registry.piece(&location, 0, b"0123").await;
    let path = format!("{location}?digest={}", Digest::sha256(b"01234567"));
    let answer = registry.call(Method::PUT, &path, &[("content-range", "5-8")], "4567").await;
    assert_eq!((refused(&answer), answer.header("range")), (error(416, "BLOB_UPLOAD_INVALID"), "0-3"));
    let answer = registry.call(Method::PUT, &path, &[("content-range", "4-7")], "4567").await;
    assert_eq!(answer.status, 201);
}
