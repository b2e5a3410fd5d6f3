//! A store that dies or stumbles at every call of a push and of a removal in turn: what can be seen is whole, and the same
//! once more succeeds.

use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};
use server::digest::Digest;
use server::storage::Storage;
use server::storage::memory::MemoryStorage;

use crate::common::faulty::{Faulty, When, at_every_call};
use crate::common::{Answer, Client, Setup};
use crate::registry::{MANIFEST, REPO, descriptor, document};

/// An image that says something about another one.
fn image() -> Value {
    let mut image = document("config", "layer");
    image["subject"] = descriptor(MANIFEST, b"subject");
    image
}

fn digest() -> Digest {
    Digest::sha256(image().to_string().as_bytes())
}

/// Pushes one blob whole, one in pieces, and the image, as far as the store lets it.
fn push(client: &Client) -> BoxFuture<'_, Answer> {
    async move {
        let uploads = format!("/v2/{REPO}/blobs/uploads/");
        let path = format!("{uploads}?digest={}", Digest::sha256(b"config"));
        client.call(Method::POST, &path, &[], "config").await;
        let location = client.call(Method::POST, &uploads, &[], Body::empty()).await.header("location").to_owned();
        if !location.is_empty() {
            client.call(Method::PATCH, &location, &[], "lay").await;
            let path = format!("{location}?digest={}", Digest::sha256(b"layer"));
            client.call(Method::PUT, &path, &[], "er").await;
        }
        let path = format!("/v2/{REPO}/manifests/1");
        client.call(Method::PUT, &path, &[("content-type", MANIFEST)], image().to_string()).await
    }
    .boxed()
}

fn remove(client: &Client) -> BoxFuture<'_, Answer> {
    async move {
        let path = format!("/v2/{REPO}/manifests/{}", digest());
        client.call(Method::DELETE, &path, &[], Body::empty()).await
    }
    .boxed()
}

async fn status(client: &Client, path: &str) -> u16 {
    client.get(&format!("/v2/{REPO}/{path}")).await.status.as_u16()
}

async fn referrers(client: &Client) -> usize {
    let path = format!("/v2/{REPO}/referrers/{}", Digest::sha256(b"subject"));
    client.get(&path).await.json()["manifests"].as_array().unwrap().len()
}

/// What the tag leads to can be pulled, and so can what is listed.
async fn is_whole(client: &Client, n: usize) {
    if status(client, "manifests/1").await == 404 && referrers(client).await == 0 {
        return;
    }
    assert_eq!(status(client, &format!("manifests/{}", digest())).await, 200, "fault {n}");
    for content in ["config", "layer"] {
        let path = format!("/v2/{REPO}/blobs/{}", Digest::sha256(content.as_bytes()));
        assert_eq!(client.get(&path).await.text(), content, "fault {n}");
    }
}

/// Runs an act with a fault at each of its calls in turn; `prepare` comes before it and `check` after it, without faults.
async fn every_fault(
    fault: fn(usize) -> When,
    prepare: bool,
    act: fn(&Client) -> BoxFuture<'_, Answer>,
    check: impl AsyncFn(&Client, usize),
) {
    at_every_call(5, async |n| {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let healthy = Setup::on(Arc::clone(&storage)).start().await.unwrap();
        let faulty = Arc::new(Faulty::new(storage, When::Never));
        let client = Setup::on(Arc::clone(&faulty) as _).start().await.unwrap();
        if prepare {
            assert_eq!(push(&healthy).await.status, 201);
        }
        faulty.fail(fault(n));
        let answer = act(&client).await;
        // Without a blob, the manifest is refused.
        assert!(matches!(answer.status.as_u16(), 201 | 202 | 404 | 503), "fault {n}: {}", answer.status);
        let calls = faulty.calls();
        check(&healthy, n).await;
        calls
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_cut_short_shows_nothing_that_is_not_whole_and_can_be_repeated() {
    for fault in [When::From, When::Only] {
        every_fault(fault, false, push, async |healthy, n| {
            is_whole(healthy, n).await;
            assert_eq!(push(healthy).await.status, 201, "fault {n}");
            assert_eq!((status(healthy, "manifests/1").await, referrers(healthy).await), (200, 1), "fault {n}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_cut_short_can_be_repeated_and_leaves_nothing_to_be_seen() {
    for fault in [When::From, When::Only] {
        every_fault(fault, true, remove, async |healthy, n| {
            let again = remove(healthy).await.status.as_u16();
            assert!(again == 202 || again == 404, "fault {n}: {again}");
            let path = format!("manifests/{}", digest());
            let left = (status(healthy, "manifests/1").await, status(healthy, &path).await, referrers(healthy).await);
            assert_eq!(left, (404, 404, 0), "fault {n}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_pushes_with_507_and_still_deletes() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let full: Arc<dyn Storage> = Arc::new(Faulty::new(Arc::clone(&storage), When::Full));
    let (healthy, full) = (Setup::on(storage).start().await.unwrap(), Setup::on(full).start().await.unwrap());
    push(&healthy).await;
    let path = format!("/v2/{REPO}/blobs/uploads/");
    for path in [path.clone(), format!("{path}?digest={}", Digest::sha256(b"x"))] {
        let answer = full.call(Method::POST, &path, &[], "x").await;
        assert_eq!(answer.status, 507, "{path}");
        assert_eq!(
            answer.json()["errors"],
            json!([{
                "code": "UNAVAILABLE",
                "message": "the store failed: the store is full: fault could not be written; make room or enlarge the volume",
            }])
        );
    }
    assert_eq!(status(&full, "manifests/1").await, 200);
    assert_eq!(remove(&full).await.status, 202);
    assert_eq!(status(&full, "manifests/1").await, 404);
}
