//! What is damaged or missing in the store doesn't take the rest down, isn't made worse, and is healed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{DeclarationSpec, FailureReason};
use bundle::model::Bundle;
use bytes::Bytes;
use common::bundles::{bare, intent, package};
use common::source::Source;
use common::stores::Store;
use common::{Client, Setup, keys, spec};
use http::StatusCode;
use server::catalogue::{Catalogue, OnConflict, Options, PublishError};
use server::ingest::IngestError;
use server::storage::keys::Place;
use server::storage::memory::MemoryStorage;
use server::storage::{Condition, Key};
use tokio_util::sync::CancellationToken;

async fn start(storage: &Store) -> Client {
    Setup::on(Arc::clone(storage)).start().await.unwrap()
}

/// A store with two packages that share nothing, and how they were declared.
async fn prepared(source: &Source) -> (Store, DeclarationSpec, DeclarationSpec) {
    let storage: Store = Arc::new(MemoryStorage::new());
    let one = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    let other = spec(&source.bytes("2", package("other", "1", "redis:6").bytes()));
    let client = start(&storage).await;
    client.add("u", &one).await;
    client.add("other", &other).await;
    (storage, one, other)
}

async fn key(storage: &Store, name: &str) -> Key {
    Place::of(keys(storage.as_ref()).await.iter().find(|key| key.contains(name)).unwrap()).unwrap().key()
}

/// The entry of `redis 1`.
async fn entry(storage: &Store) -> Key {
    let catalogue = Catalogue::new(Arc::clone(storage));
    catalogue.declared("u").await.unwrap().unwrap().entry
}

async fn overwrite(storage: &Store, key: &Key, bytes: impl Into<Bytes>) {
    storage.delete(key).await.unwrap();
    storage.put(key, bytes.into(), Condition::Absent).await.unwrap();
}

async fn contents(storage: &Store) -> BTreeMap<String, Bytes> {
    let mut contents = BTreeMap::new();
    for name in keys(storage.as_ref()).await {
        let key = Place::of(&name).unwrap().key();
        contents.insert(name, storage.get(&key, 1 << 30).await.unwrap().0);
    }
    contents
}

async fn tag(client: &Client, tag: &str) -> StatusCode {
    client.get(&format!("/v2/docker.io/library/redis/manifests/{tag}")).await.status
}

fn blobs(keys: &[String]) -> Vec<&String> {
    keys.iter().filter(|key| key.starts_with("blobs/")).collect()
}

#[tokio::test]
async fn a_damaged_entry_is_set_aside_while_the_others_are_served_withdrawn_and_it_is_healed() {
    let source = Source::start().await;
    for damage in [vec![], b"{}".to_vec(), vec![b' '; (64 << 20) + 1]] {
        let (storage, one, _) = prepared(&source).await;
        let (entry, all) = (entry(&storage).await, keys(storage.as_ref()).await);
        overwrite(&storage, &entry, damage).await;
        let client = start(&storage).await;
        assert_eq!(client.catalogue().await, ["other 1"]);
        assert!(client.keys().await.contains(&format!("quarantine/{entry}")));
        client.withdraw("other").await;
        assert!(client.catalogue().await.is_empty());
        // Nobody knows what the damaged one needs; what the other one alone had is not served any more.
        assert_eq!(blobs(&client.keys().await), blobs(&all));
        assert_eq!((tag(&client, "5").await, tag(&client, "6").await), (StatusCode::OK, StatusCode::NOT_FOUND));
        client.add("u", &one).await;
        start(&storage).await;
        let (alone, fresh) = (client.keys().await, common::client().await);
        fresh.add("u", &one).await;
        assert_eq!(alone, fresh.keys().await);
    }
}

#[tokio::test]
async fn an_entry_that_is_damaged_while_the_server_runs_is_healed_by_the_same_declaration() {
    let source = Source::start().await;
    let (storage, one, _) = prepared(&source).await;
    let (client, before) = (start(&storage).await, keys(storage.as_ref()).await);
    let entry = entry(&storage).await;
    overwrite(&storage, &entry, "").await;
    client.add("u", &one).await;
    assert_eq!(client.catalogue().await, ["other 1", "redis 1"]);
    assert_eq!(client.keys().await, before);
}

#[tokio::test]
async fn a_damaged_entry_of_what_is_withdrawn_goes_with_it() {
    let source = Source::start().await;
    let (storage, _, other) = prepared(&source).await;
    let client = start(&storage).await;
    overwrite(&storage, &entry(&storage).await, "").await;
    client.withdraw("u").await;
    let fresh = common::client().await;
    fresh.add("other", &other).await;
    assert_eq!(client.keys().await, fresh.keys().await);
}

#[tokio::test]
async fn lost_and_damaged_links_are_made_again_at_the_start() {
    let source = Source::start().await;
    let (storage, ..) = prepared(&source).await;
    let before = contents(&storage).await;
    let links: Vec<&String> = before.keys().filter(|key| key.contains("/_")).collect();
    assert!(links.len() >= 8, "{links:?}");
    for (number, link) in links.into_iter().enumerate() {
        let key = Place::of(link).unwrap().key();
        match number % 3 {
            0 => storage.delete(&key).await.unwrap(),
            1 => overwrite(&storage, &key, "").await,
            _ => overwrite(&storage, &key, vec![b'x'; before[link].len()]).await,
        }
    }
    start(&storage).await;
    assert_eq!(contents(&storage).await, before);
}

#[tokio::test]
async fn a_damaged_link_is_made_again_by_a_package_that_needs_it() {
    let source = Source::start().await;
    let (storage, ..) = prepared(&source).await;
    let options = Options { on_conflict: OnConflict::Replace, ..Options::default() };
    let client = Setup { options, ..Setup::on(Arc::clone(&storage)) }.start().await.unwrap();
    let link = key(&storage, "/_manifests/").await;
    let right = storage.get(&link, 1 << 20).await.unwrap().0;
    overwrite(&storage, &link, vec![b'x'; right.len()]).await;
    for (id, name) in [("u", "redis"), ("other", "other")] {
        let image = if id == "u" { "redis:5" } else { "redis:6" };
        let more = package(name, "1", image).file("more", "more.txt", b"more");
        client.add(id, &spec(&source.bytes(&format!("more-{id}"), more.bytes()))).await;
    }
    assert_eq!(storage.get(&link, 1 << 20).await.unwrap().0, right);
}

#[tokio::test]
async fn a_package_that_lacks_a_blob_is_fetched_again() {
    let source = Source::start().await;
    let (storage, one, other) = prepared(&source).await;
    let before = keys(storage.as_ref()).await;
    let client = start(&storage).await;
    let digest = package("redis", "1", "redis:5").manifest_digest("redis:5");
    storage.delete(&key(&storage, digest.trim_start_matches("sha256:")).await).await.unwrap();
    storage.delete(&server::storage::keys::blob(&digest.parse().unwrap())).await.unwrap();
    drop(client);
    let asked = source.requests();
    let client = start(&storage).await;
    assert_eq!(client.get("/api/v1/declarations/u").await.status, StatusCode::NOT_FOUND);
    client.add("u", &one).await;
    client.add("other", &other).await;
    assert_eq!(source.requests(), asked + 1);
    assert_eq!(client.keys().await, before);
    assert_eq!(tag(&client, "5").await, StatusCode::OK);
}

#[tokio::test]
async fn a_withdrawal_takes_older_publications_of_the_declaration_along() {
    let source = Source::start().await;
    let (storage, ..) = prepared(&source).await;
    let client = start(&storage).await;
    let entry = entry(&storage).await;
    let older = storage.get(&entry, 1 << 20).await.unwrap().0;
    client.add("u", &spec(&source.bytes("3", package("redis", "2", "redis:7").bytes()))).await;
    // As it is when the sweep behind the second publication fails.
    overwrite(&storage, &entry, older).await;
    client.withdraw("u").await;
    client.withdraw("other").await;
    assert!(client.keys().await.is_empty());
}

#[tokio::test]
async fn a_declaration_that_memory_does_not_know_is_withdrawn_from_the_store() {
    let source = Source::start().await;
    let storage: Store = Arc::new(MemoryStorage::new());
    let client = start(&storage).await;
    start(&storage).await.add("u", &spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()))).await;
    client.withdraw("u").await;
    assert!(client.keys().await.is_empty());
}

fn bundle(signatures: usize) -> Bundle {
    Bundle { signatures: vec![vec![b' '; 8 << 20]; signatures], ..bare("redis", "1") }
}

#[tokio::test]
async fn what_could_not_be_read_again_is_not_published() {
    let catalogue = Catalogue::new(Arc::new(MemoryStorage::new()));
    let token = CancellationToken::new();
    let refused = catalogue.publish(bundle(8), intent("u"), &token).await.unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge { .. }), "{refused}");
    assert_eq!(IngestError::from(refused).reason(), FailureReason::InvalidBundle);
    assert!(keys(catalogue.storage().as_ref()).await.is_empty());
    catalogue.publish(bundle(7), intent("u"), &token).await.unwrap();
    assert_eq!(catalogue.packages(|_| ()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_cancelled_before_its_turn_is_not_published() {
    let catalogue = Catalogue::new(Arc::new(MemoryStorage::new()));
    let token = CancellationToken::new();
    token.cancel();
    let refused = catalogue.publish(bundle(0), intent("u"), &token).await.unwrap_err();
    assert!(matches!(refused, PublishError::Cancelled), "{refused}");
    assert!(keys(catalogue.storage().as_ref()).await.is_empty());
}
