//! Faults 17 and 18: clients that push the same at the same time, and requests that go through different instances.

use std::collections::BTreeSet;

use axum::body::Body;
use futures::future::join_all;
use server::digest::Digest;

use crate::common::site::{Reach, Site};
use crate::registry::{MANIFEST, REPO};

crate::on_stores! {
    many_clients_push_the_same_blob_and_there_is_one
    many_clients_move_a_tag_and_one_of_them_wins
    who_pushes_while_others_delete_finds_what_it_pushed
    of_two_pieces_at_the_same_time_none_is_mixed_into_the_other
}

/// Fault 17.
async fn many_clients_push_the_same_blob_and_there_is_one(registry: Site) {
    let content = vec![7; 700_000];
    let pushes = join_all((0..8).map(|_| registry.blob(REPO, &content))).await;
    assert!(pushes.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(registry.get(&format!("/v2/{REPO}/blobs/{}", pushes[0])).await.body, content);
    let keys = registry.client().keys().await;
    assert_eq!(keys.iter().filter(|key| key.starts_with("blobs/")).count(), 1, "{keys:?}");
    assert!(!keys.iter().any(|key| key.starts_with("uploads/")), "{keys:?}");
}

/// Fault 17.
async fn many_clients_move_a_tag_and_one_of_them_wins(registry: Site) {
    let words: Vec<_> = (0..8).map(|n| n.to_string()).collect();
    let mut images = Vec::new();
    for word in &words {
        images.push(registry.image(REPO, word, word).await);
    }
    let answers =
        join_all(images.iter().map(|image| registry.put(REPO, "latest", MANIFEST, image.bytes.clone()))).await;
    assert!(answers.iter().all(|answer| answer.status == 201));
    let seen: BTreeSet<_> = join_all((0..6).map(|_| registry.get("/v2/docker.io/library/app/manifests/latest")))
        .await
        .iter()
        .map(|answer| answer.header("docker-content-digest").to_owned())
        .collect();
    let winner = seen.first().unwrap().clone();
    assert_eq!(seen.len(), 1);
    let image = images.iter().find(|image| image.digest.to_string() == winner).unwrap();
    assert_eq!(registry.get(&format!("/v2/{REPO}/manifests/latest")).await.body, image.bytes);
}

/// A deletion removes what it saw, never what was pushed since.
async fn who_pushes_while_others_delete_finds_what_it_pushed(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let path = format!("/v2/{REPO}/manifests/{}", image.digest);
    for _ in 0..20 {
        let push = registry.put(REPO, "1", MANIFEST, image.bytes.clone());
        let (pushed, deleted) = tokio::join!(push, registry.delete(&path));
        assert_eq!(pushed.status, 201);
        assert!(deleted.status == 202 || deleted.status == 404, "{}", deleted.status);
        let (by_tag, by_digest) =
            (registry.status(&format!("/v2/{REPO}/manifests/1")).await, registry.status(&path).await);
        // Either all of the push came after the deletion, or the deletion found it.
        assert!(by_tag == 404 || by_digest == 200, "{by_tag} {by_digest}");
    }
}

/// Fault 18.
async fn of_two_pieces_at_the_same_time_none_is_mixed_into_the_other(registry: Site) {
    for _ in 0..10 {
        let location = registry.begin(REPO).await;
        let (a, b) = (vec![b'a'; 40_000], vec![b'b'; 40_000]);
        let headers = [("content-range", "0-39999")];
        let send = |content: &Vec<u8>| registry.call(http::Method::PATCH, &location, &headers, content.clone());
        let (first, second) = tokio::join!(send(&a), send(&b));
        let taken = [&first, &second].map(|answer| answer.status.as_u16());
        assert!(taken.iter().filter(|status| **status == 202).count() <= 1, "{taken:?}");
        assert!(taken.iter().all(|status| matches!(status, 202 | 409 | 416)), "{taken:?}");
        let size = registry.get(&location).await.header("range").to_owned();
        if size == "0-39999" {
            let whole = if first.status == 202 { a } else { b };
            let ended = registry.end(&location, &Digest::sha256(&whole), Body::empty()).await;
            assert_eq!(ended.status, 201, "{taken:?}");
        }
    }
}
