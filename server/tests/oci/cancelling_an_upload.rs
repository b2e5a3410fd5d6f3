//! Section "Cancel a blob upload".

use axum::body::Body;
use server::digest::Digest;

use crate::common::site::{Reach, Site};
use crate::registry::{REPO, error, refused};

crate::on_stores! {
    an_upload_that_is_cancelled_is_204_and_gone
    what_arrived_of_it_is_gone_too
}

async fn an_upload_that_is_cancelled_is_204_and_gone(registry: Site) {
    let location = registry.begin(REPO).await;
    registry.piece(&location, 0, b"0123").await;
    assert_eq!(registry.delete(&location).await.status, 204);
    for answer in [
        registry.get(&location).await,
        registry.delete(&location).await,
        registry.end(&location, &Digest::sha256(b"0123"), Body::empty()).await,
    ] {
        assert_eq!(refused(&answer), error(404, "BLOB_UPLOAD_UNKNOWN"));
    }
}

async fn what_arrived_of_it_is_gone_too(registry: Site) {
    let location = registry.begin(REPO).await;
    registry.piece(&location, 0, b"0123").await;
    registry.delete(&location).await;
    let keys = registry.client().keys().await;
    assert!(!keys.iter().any(|key| key.starts_with("uploads/") || key.starts_with("blobs/")), "{keys:?}");
}
