//! A process that ends at any point leaves a package whole or absent, and the next one goes on.

use std::sync::Arc;
use std::time::Duration;

use api::State;
use axum::body::Body;
use http::Method;
use server::storage::memory::MemoryStorage;
use server::uploads::Pace;

use crate::common::bundles::package;
use crate::common::faulty::{Faulty, When, at_every_call};
use crate::common::sender::{announce, bring, complete, patch};
use crate::common::until::until;
use crate::common::{Client, Setup};

/// Does what a client does, whatever it is answered.
async fn try_all(client: &Client) {
    let redis = package("redis", "1", "redis:5");
    let content = redis.content();
    announce(client, &content).await;
    let id = server::uploads::UploadId::of(&content.name, &content.version, &content.digest).to_string();
    for (digest, bytes) in redis.parts() {
        let half = bytes.len() / 2;
        patch(client, &id, &digest, 0, bytes[..half].to_vec()).await;
        patch(client, &id, &digest, half as u64, bytes[half..].to_vec()).await;
    }
    complete(client, &id).await;
    // The work in the background, until it is done, or can't be asked any more.
    until("the work ends", async || {
        let answer = client.get(&format!("/api/v1/uploads/{id}")).await;
        !answer.status.is_success() || matches!(answer.json()["state"].as_str(), Some("Added" | "Failed"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_at_any_call_of_the_store_leaves_the_package_whole_or_absent() {
    // faults.md 12, 13, 25.
    at_every_call(40, async |n| {
        let storage = Arc::new(MemoryStorage::new());
        let dying = Arc::new(Faulty::new(Arc::clone(&storage) as Arc<_>, When::From(n)));
        let pace = Pace { beat: Duration::from_hours(1), ..Pace::default() };
        if let Ok(client) = (Setup { pace, ..Setup::on(Arc::clone(&dying) as Arc<_>) }).start().await {
            try_all(&client).await;
        }
        let calls = dying.calls();
        let next = Setup::on(Arc::clone(&storage) as Arc<_>).start().await.unwrap();
        let there = next.catalogue().await;
        assert!(there.is_empty() || there == ["redis 1"], "call {n}: {there:?}");
        for package in there {
            let (name, version) = package.split_once(' ').unwrap();
            let content = next.get(&format!("/api/v1/packages/{name}/{version}/content")).await.json();
            for blob in content["blobs"].as_array().unwrap().iter().chain(content["files"].as_array().unwrap()) {
                let path = format!("/api/v1/packages/{name}/{version}/blobs/{}", blob["digest"].as_str().unwrap());
                assert_eq!(next.get(&path).await.body.len() as u64, blob["size"].as_u64().unwrap(), "call {n}");
            }
        }
        next.uploads.scan().await.unwrap();
        let upload = bring(&next, &package("redis", "1", "redis:5")).await;
        assert_eq!(upload.state, State::Added, "call {n}");
        let gone = next.call(Method::DELETE, "/api/v1/packages/redis/1", &[], Body::empty()).await;
        assert_eq!(gone.status, http::StatusCode::ACCEPTED, "call {n}: {}", gone.text());
        let left = next.keys().await;
        assert!(left.iter().all(|key| key.starts_with("package-uploads/")), "call {n}: {left:?}");
        calls
    })
    .await;
}
