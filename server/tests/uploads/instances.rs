//! Several instances on one store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::State;
use axum::body::Body;
use bundle::stream::Limits;
use futures::StreamExt;
use http::StatusCode;
use server::audit::Audit;
use server::catalogue::Catalogue;
use server::digest::Digest;
use server::metrics::Metrics;
use server::storage::memory::MemoryStorage;
use server::storage::{Condition, Storage};
use server::uploads::{Pace, UploadId, Uploads};
use tokio::sync::Semaphore;

use crate::common::bundles::{Package, package};
use crate::common::faulty::{Faulty, When};
use crate::common::sender::{announced, bring, complete, patch, send, settled, view};
use crate::common::shared::Shared;
use crate::common::site::{Reach, Site};
use crate::common::stores::{Store, Stores};
use crate::common::until::until;
use crate::common::{Client, Setup};

const QUICK: Pace = Pace {
    beat: Duration::from_millis(50),
    stopped: Duration::from_secs(3),
    look: Duration::from_millis(50),
    expiry: Duration::from_hours(24),
};

fn quick(storage: Store) -> Setup {
    Setup { pace: QUICK, ..Setup::on(storage) }
}

/// One of several instances on a store in memory.
async fn instance(storage: &MemoryStorage) -> Client {
    quick(Arc::new(Shared::new(Arc::new(storage.clone())))).start().await.unwrap()
}

crate::on_stores! {
    on three_instances minio versitygw:
    every_request_of_an_upload_may_go_to_another_instance
    another_instance_goes_on_when_the_owner_has_stopped_and_not_before
    an_upload_that_nobody_touches_expires_with_all_that_came_of_it
    blobs_of_uploads_on_their_way_are_roots_for_a_collector
}

async fn every_request_of_an_upload_may_go_to_another_instance(stores: Stores) {
    // faults.md 18.
    let site = Site::with(stores, quick).await;
    let redis = package("redis", "1", "redis:5");
    let upload = announced(&site, &redis.content()).await;
    for blob in &upload.missing {
        let bytes = &redis.parts()[&blob.digest];
        for (offset, piece) in bytes.chunks(7).enumerate() {
            let answer = patch(&site, &upload.id, &blob.digest, offset as u64 * 7, piece.to_vec()).await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        }
    }
    assert_eq!(complete(&site, &upload.id).await.status, StatusCode::ACCEPTED);
    assert_eq!(settled(&site, &upload.id).await.state, State::Added);
    site.shows(&["redis 1"]).await;
}

async fn another_instance_goes_on_when_the_owner_has_stopped_and_not_before(stores: Stores) {
    let closed = Arc::new(Semaphore::new(0));
    let owner = quick(Arc::new(Faulty::gated(stores.next(), "packages/", closed))).start().await.unwrap();
    let other = quick(stores.next()).start().await.unwrap();
    let redis = package("redis", "1", "redis:5");
    let upload = announced(&owner, &redis.content()).await;
    send(&owner, &redis, &upload).await;
    // On a runtime of its own, so that it can stop as a process does.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (client, id) = (owner.clone(), upload.id.clone());
    runtime.spawn(async move { complete(&client, &id).await }).await.unwrap();
    tokio::spawn(other.uploads.clone().watch());
    until("it is stored", async || view(&other, &upload.id).await.state == State::Storing).await;
    let begun = Instant::now();
    while begun.elapsed() < QUICK.stopped.mul_f32(1.3) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(view(&other, &upload.id).await.state, State::Storing, "its owner is alive");
    }
    runtime.shutdown_background();
    assert_eq!(settled(&other, &upload.id).await.state, State::Added);
    assert_eq!(other.catalogue().await, ["redis 1"], "what an instance wrote itself it sees at once");
}

async fn an_upload_that_nobody_touches_expires_with_all_that_came_of_it(site: Site) {
    let redis = package("redis", "1", "redis:5");
    let upload = announced(&site, &redis.content()).await;
    let blob = &upload.missing[0];
    patch(&site, &upload.id, &blob.digest, 0, redis.parts()[&blob.digest][..1].to_vec()).await;
    let uploads = &site.client().uploads;
    for (age, there) in [(Duration::ZERO, true), (Duration::from_hours(23), true), (Duration::from_hours(2), false)] {
        site.age(age).await;
        uploads.scan().await.unwrap();
        assert_eq!(site.keys().await.is_empty(), !there, "{age:?}");
    }
    assert!(uploads.roots().await.unwrap().is_empty());
}

/// A package with one file of 30 bytes.
fn tiny(name: &str) -> (Package, String) {
    (Package::new(name, "1").file("a", "a.txt", &[7; 30]), Digest::sha256(&[7; 30]).to_string())
}

#[tokio::test]
async fn an_upload_that_is_announced_again_or_still_sent_to_does_not_expire() {
    const STEP: Duration = Duration::from_millis(150);
    let mut setup = Setup::on(Arc::new(MemoryStorage::new()));
    setup.pace = Pace { expiry: STEP * 12, ..QUICK };
    let client = setup.start().await.unwrap();
    let ((sent, digest), (again, _), (slow, _)) = (tiny("sent"), tiny("again"), tiny("slow"));
    let id = announced(&client, &sent.content()).await.id;
    let slow = announced(&client, &slow.content()).await.id;
    // One request that takes longer than an upload lives, and than everything below. Its bytes are those of the others: a
    // session of its own.
    let bytes = futures::stream::iter(0..30).then(|_| async {
        tokio::time::sleep(STEP).await;
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[7]))
    });
    let (other, path) = (client.clone(), digest.clone());
    let dripping = tokio::spawn(async move { patch(&other, &slow, &path, 0, Body::from_stream(bytes)).await.status });
    for offset in 0..18 {
        assert!(announced(&client, &again.content()).await.missing.len() == 1);
        assert_eq!(patch(&client, &id, &digest, offset, vec![7]).await.status, StatusCode::NO_CONTENT);
        tokio::time::sleep(STEP).await;
        client.uploads.scan().await.unwrap();
    }
    assert_eq!(client.uploads.statuses().await.unwrap().len(), 3, "all are still on their way");
    assert_eq!(dripping.await.unwrap(), StatusCode::NO_CONTENT);
}

async fn blobs_of_uploads_on_their_way_are_roots_for_a_collector(stores: Stores) {
    let client = quick(stores.next()).start().await.unwrap();
    let redis = package("redis", "1", "redis:5");
    let upload = announced(&client, &redis.content()).await;
    let roots: BTreeSet<_> = client.uploads.roots().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(roots, redis.parts().into_keys().collect());
    send(&client, &redis, &upload).await;
    assert_eq!(complete(&client, &upload.id).await.status, StatusCode::ACCEPTED);
    settled(&client, &upload.id).await;
    assert!(client.uploads.roots().await.unwrap().is_empty(), "they are the package's now");
}

/// Uploads of a store, and the catalogue that they hold blobs in.
fn uploads(storage: Arc<dyn Storage>) -> (Uploads, Catalogue) {
    let catalogue = Catalogue::new(storage);
    (Uploads::new(catalogue.clone(), Limits::default(), QUICK, Audit::keeping(), Metrics::default()), catalogue)
}

#[tokio::test]
async fn an_instance_holds_blobs_no_longer_than_the_upload_that_another_one_ends() {
    let storage = MemoryStorage::new();
    let (uploads, catalogue) = uploads(Arc::new(storage.clone()));
    let other = instance(&storage).await;
    let (redis, given_up) = (package("redis", "1", "redis:5"), package("other", "1", "other:1"));
    uploads.announce(redis.content()).await.unwrap();
    let id = uploads.announce(given_up.content()).await.unwrap().upload.id;
    let held = || catalogue.pins().all().iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let blobs_of = |package: &Package| package.parts().into_keys().collect::<BTreeSet<_>>();
    uploads.scan().await.unwrap();
    assert_eq!(held(), &blobs_of(&redis) | &blobs_of(&given_up), "both are on their way");
    assert_eq!(bring(&other, &redis).await.state, State::Added);
    uploads.scan().await.unwrap();
    assert_eq!(held(), blobs_of(&given_up), "the package has them now");
    other.uploads.abandon(&id.parse().unwrap()).await.unwrap();
    uploads.scan().await.unwrap();
    assert_eq!(held(), BTreeSet::new(), "nobody brings them");
}

#[tokio::test]
async fn a_store_that_fails_never_looks_like_one_whose_uploads_need_nothing() {
    let storage = MemoryStorage::new();
    let client = instance(&storage).await;
    announced(&client, &package("redis", "1", "redis:5").content()).await;
    let faulty = |when| Arc::new(Faulty::new(Arc::new(storage.clone()), when));
    let sound = faulty(When::Never);
    let roots = uploads(Arc::clone(&sound) as Arc<_>).0.roots().await.unwrap();
    assert!(!roots.is_empty() && sound.calls() >= 3, "a listing, a status, a content");
    for call in 1..=sound.calls() {
        let (uploads, _) = uploads(faulty(When::Only(call)));
        assert!(uploads.roots().await.is_err(), "call {call}");
        assert_eq!(uploads.roots().await.unwrap(), roots);
    }
}

#[tokio::test]
async fn a_damaged_status_is_no_reason_to_know_nothing_of_the_others_and_expires() {
    let storage = MemoryStorage::new();
    let (redis, other) = (package("redis", "1", "redis:5"), package("other", "1", "other:1"));
    let (first, catalogue) = uploads(Arc::new(storage.clone()));
    first.announce(redis.content()).await.unwrap();
    let id: UploadId = first.announce(other.content()).await.unwrap().upload.id.parse().unwrap();
    let key = server::storage::keys::upload_status(&id);
    storage.delete(&key).await.unwrap();
    storage.put(&key, "{".into(), Condition::Absent).await.unwrap();
    let roots: BTreeSet<_> = first.roots().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(roots, redis.parts().into_keys().collect());
    let error = first.view(&id).await.unwrap_err().to_string();
    assert!(error.contains(key.as_str()) && error.contains("damaged"), "{error}");
    let pace = Pace { expiry: Duration::ZERO, ..QUICK };
    let later = Uploads::new(catalogue, Limits::default(), pace, Audit::keeping(), Metrics::default());
    // What is found without a status goes with the second look.
    later.scan().await.unwrap();
    later.scan().await.unwrap();
    let left = crate::common::keys(&storage).await;
    assert!(left.iter().all(|key| !key.starts_with("package-uploads/")), "{left:?}");
}

#[tokio::test]
async fn a_status_on_which_nobody_works_is_read_once() {
    let storage = MemoryStorage::new();
    let client = instance(&storage).await;
    bring(&client, &package("redis", "1", "redis:5")).await;
    let waiting = announced(&client, &package("other", "1", "other:1").content()).await;
    let counting = Arc::new(Shared::new(Arc::new(storage.clone())));
    let pace = Pace { stopped: Duration::ZERO, ..QUICK };
    let catalogue = Catalogue::new(Arc::clone(&counting) as Arc<_>);
    let uploads = Uploads::new(catalogue, Limits::default(), pace, Audit::keeping(), Metrics::default());
    uploads.scan().await.unwrap();
    assert_eq!(counting.calls().1, 2, "both");
    uploads.scan().await.unwrap();
    assert_eq!(counting.calls().1, 2, "neither again");
    client.uploads.abandon(&waiting.id.parse().unwrap()).await.unwrap();
    announced(&client, &package("other", "1", "other:1").content()).await;
    uploads.scan().await.unwrap();
    assert_eq!(counting.calls().1, 3, "the one that was written again");
}
