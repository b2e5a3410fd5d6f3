//! The catalogue in memory follows the store, and asks it for no more than it must.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bundle::model::{Bundle, Descriptor, Image};
use common::bundles::{bare, intent};
use common::shared::Shared;
use server::catalogue::Catalogue;
use server::digest::{Algorithm, Digest};
use server::images::{ImageError, Images};
use server::storage::keys::{self, Key};
use server::storage::memory::MemoryStorage;
use server::storage::{Condition, Storage};
use tokio_util::sync::CancellationToken;

async fn publish(catalogue: &Catalogue, name: &str, version: &str) -> Key {
    publish_with(catalogue, name, version, vec![]).await
}

async fn publish_with(catalogue: &Catalogue, name: &str, version: &str, images: Vec<Image>) -> Key {
    let (bundle, intent) = (Bundle { images, ..bare(name, version) }, intent(&format!("{name}-{version}")));
    let entry = catalogue.publish(bundle, intent, &CancellationToken::new()).await.unwrap();
    keys::entry(&entry.code().unwrap())
}

async fn withdraw(catalogue: &Catalogue, name: &str, version: &str) {
    catalogue.withdraw(&format!("{name}-{version}"), None, &mut vec![]).await.unwrap();
}

async fn names(catalogue: &Catalogue) -> Vec<String> {
    let snapshot = catalogue.snapshot().await.unwrap();
    snapshot.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
}

#[tokio::test]
async fn own_changes_are_seen_at_once_and_each_is_another_generation() {
    let stores: [Arc<dyn Storage>; 2] =
        [Arc::new(MemoryStorage::new()), Arc::new(Shared::new(Arc::new(MemoryStorage::new())))];
    for storage in stores {
        let catalogue = Catalogue::new(storage);
        assert!(names(&catalogue).await.is_empty());
        let mut generations = vec![catalogue.snapshot().await.unwrap().generation];
        publish(&catalogue, "redis", "1").await;
        generations.push(catalogue.snapshot().await.unwrap().generation);
        publish(&catalogue, "redis", "2").await;
        publish(&catalogue, "abc", "1").await;
        assert_eq!(names(&catalogue).await, ["abc 1", "redis 2", "redis 1"]);
        generations.push(catalogue.snapshot().await.unwrap().generation);
        withdraw(&catalogue, "redis", "1").await;
        assert_eq!(names(&catalogue).await, ["abc 1", "redis 2"]);
        generations.push(catalogue.snapshot().await.unwrap().generation);
        assert!(generations.is_sorted_by(|a, b| a < b), "{generations:?}");
        assert_eq!(catalogue.snapshot().await.unwrap().generation, generations[3]);
    }
}

#[tokio::test]
async fn what_others_change_is_seen_within_a_second_where_there_are_others() {
    let storage: Arc<dyn Storage> = Arc::new(Shared::new(Arc::new(MemoryStorage::new())));
    let (one, other) = (Catalogue::new(Arc::clone(&storage)), Catalogue::new(storage));
    assert!(names(&other).await.is_empty());
    publish(&one, "redis", "1").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(names(&other).await, ["redis 1"]);
    withdraw(&one, "redis", "1").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(names(&other).await.is_empty());
}

#[tokio::test]
async fn nothing_is_read_again_that_did_not_change() {
    let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let counting = Arc::new(Shared::new(Arc::clone(&inner)));
    let writer = Catalogue::new(Arc::clone(&counting) as _);
    for number in 0..20 {
        publish(&writer, "redis", &number.to_string()).await;
    }
    let reader = Catalogue::new(Arc::clone(&counting) as _);
    let (_, before) = counting.calls();
    let first = reader.snapshot().await.unwrap().generation;
    assert_eq!(counting.calls().1, before + 20);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (lists, gets) = counting.calls();
    for _ in 0..100 {
        assert_eq!(reader.snapshot().await.unwrap().generation, first);
    }
    assert_eq!(counting.calls(), (lists + 1, gets));
    publish(&writer, "redis", "20").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (_, gets) = counting.calls();
    assert_eq!(reader.snapshot().await.unwrap().generation, first + 1);
    assert_eq!(counting.calls().1, gets + 1);
}

#[tokio::test]
async fn what_is_damaged_is_counted_and_left_out() {
    let storage: Arc<dyn Storage> = Arc::new(Shared::new(Arc::new(MemoryStorage::new())));
    let catalogue = Catalogue::new(Arc::clone(&storage));
    let key = publish(&catalogue, "redis", "1").await;
    publish(&catalogue, "redis", "2").await;
    let (_, state) = catalogue.read(&key).await.unwrap();
    storage.put(&key, "{}".into(), Condition::Unchanged(state)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let snapshot = catalogue.snapshot().await.unwrap();
    assert_eq!((snapshot.packages.len(), snapshot.unreadable), (1, 1));
}

/// Puts a blob into the store.
async fn blob(storage: &dyn Storage, content: &'static [u8]) -> Digest {
    let mut writer = storage.write_blob(Algorithm::Sha256).await.unwrap();
    writer.write(content.into()).await.unwrap();
    let finished = writer.finish().await.unwrap();
    finished.commit().await.unwrap();
    Digest::sha256(content)
}

#[tokio::test]
async fn a_deletion_reads_the_packages_of_its_repository_alone() {
    let counting = Arc::new(Shared::new(Arc::new(MemoryStorage::new())));
    let catalogue = Catalogue::new(Arc::clone(&counting) as _);
    for number in 0..20 {
        publish(&catalogue, "other", &number.to_string()).await;
    }
    let (manifest, layer) = (blob(counting.as_ref(), b"{}").await, blob(counting.as_ref(), b"layer").await);
    let descriptor = |digest: &Digest, size| Descriptor { media_type: "m".into(), digest: digest.to_string(), size };
    let image = Image {
        alias: "main".into(),
        reference: "a/b:1".into(),
        repository: "a/b".into(),
        tag: None,
        target: descriptor(&manifest, 2),
        manifests: vec![descriptor(&manifest, 2)],
        blobs: vec![descriptor(&layer, 5)],
        platforms: vec![],
        attachments: vec![],
    };
    publish_with(&catalogue, "redis", "1", vec![image]).await;
    let (repository, pushed) = ("a/b".parse().unwrap(), Digest::sha256(b"pushed"));
    counting.put(&keys::blob_link(&repository, &pushed), "{}".into(), Condition::Absent).await.unwrap();
    let (images, (_, before)) = (Images::new(catalogue), counting.calls());
    assert!(matches!(images.remove_blob(&repository, &layer).await, Err(ImageError::Owned { .. })));
    images.remove_blob(&repository, &pushed).await.unwrap();
    // The link and the one package, twice.
    assert_eq!(counting.calls().1, before + 4);
}
