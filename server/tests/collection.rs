//! What nobody needs is removed, at its time; what somebody needs, or may be about to, is not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::PackageSource;
use bundle::model::{Bundle, Descriptor, Image};
use bytes::Bytes;
use common::bundles::MANIFEST_TYPE;
use common::faulty::{Faulty, When};
use common::keys as all_keys;
use common::shared::Shared;
use futures::future::{BoxFuture, FutureExt};
use server::catalogue::entry::{BlobLink, Declared, Entry, Link, Pushed, TagTarget, code_of};
use server::catalogue::links::Held;
use server::catalogue::{Catalogue, InFlight, Intent, Number, Options, PublishError};
use server::digest::{Algorithm, Digest};
use server::names::Repository;
use server::storage::file::FileStorage;
use server::storage::keys::{self, Place};
use server::storage::memory::MemoryStorage;
use server::storage::{Condition, Storage, StorageError};
use tokio_util::sync::CancellationToken;

type Store = Arc<dyn Storage>;

/// Long enough for what a test does within it on a machine that has other things to do.
const GRACE: Duration = Duration::from_millis(1200);

/// Makes each test run on every store, as if other processes worked on it too.
macro_rules! on_every_store {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Arc::new(super::Shared::new(super::Arc::new(super::MemoryStorage::new())))).await;
            })*
        }
        mod file {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let storage = super::FileStorage::open(folder.path()).unwrap();
                super::$name(super::Arc::new(super::Shared::new(super::Arc::new(storage)))).await;
            })*
        }
    };
}

on_every_store! {
    what_nobody_needs_goes_after_the_grace_period
    what_is_made_new_stays_for_another_grace_period
    a_dry_run_counts_and_removes_nothing
    a_dry_run_makes_nothing_right
    a_pushed_manifest_keeps_what_it_refers_to
    a_pushed_blob_waits_for_its_manifest_as_long_as_the_grace_period
    what_is_pushed_stays_when_the_package_goes_that_has_it_too
    a_manifest_of_a_package_stays_for_the_index_that_was_pushed_with_it
    a_withdrawn_package_goes_from_the_catalogue_at_once_and_from_the_store_later
    what_was_touched_lately_of_a_withdrawn_package_goes_with_a_later_sweep
    a_package_that_lacks_a_blob_is_known_until_it_is_published_again
    what_is_in_flight_stays
    an_entry_of_a_referrer_goes_after_its_manifest
    a_claim_without_a_package_goes_and_another_keeps_its_number
    collectors_at_work_take_nothing_that_publications_and_pushes_count_on
}

fn catalogue(store: &Store) -> Catalogue {
    Catalogue::with(Arc::clone(store), Options { grace_period: GRACE, ..Options::default() })
}

async fn blob(store: &Store, content: &[u8]) -> Digest {
    let mut writer = store.write_blob(Algorithm::Sha256).await.unwrap();
    writer.write(Bytes::copy_from_slice(content)).await.unwrap();
    let finished = writer.finish().await.unwrap();
    let digest = finished.digest().clone();
    finished.commit().await.unwrap();
    digest
}

async fn has(store: &Store, place: &Place) -> bool {
    match store.size(&place.key()).await {
        Ok(_) => true,
        Err(error) if error.is_not_found() => false,
        Err(error) => panic!("{error}"),
    }
}

async fn put(store: &Store, place: &Place, held: &Held) {
    store.put(&place.key(), held.bytes().unwrap(), Condition::Absent).await.unwrap();
}

fn repository() -> Repository {
    "docker.io/library/redis".parse().unwrap()
}

fn blob_link(digest: &Digest) -> Place {
    Place::BlobLink(repository(), digest.clone())
}

fn manifest_link(digest: &Digest) -> Place {
    Place::ManifestLink(repository(), digest.clone())
}

fn tag(name: &str) -> Place {
    Place::Tag(repository(), name.parse().unwrap())
}

fn pushed(references: &[&Digest]) -> Held {
    let references = references.iter().map(ToString::to_string).collect();
    let pushed = Some(Pushed { references, subject: None });
    Held::Manifest(Link { media_type: MANIFEST_TYPE.into(), size: 1, pushed })
}

fn target(digest: &Digest) -> Held {
    let digest = digest.to_string();
    Held::Tag(TagTarget { digest, media_type: MANIFEST_TYPE.into(), size: 1, pushed: true })
}

/// Content of an image with one layer: manifest, layer.
fn image(layer: &str) -> (Vec<u8>, Vec<u8>) {
    let digest = Digest::sha256(layer.as_bytes());
    let manifest = format!(r#"{{"schemaVersion":2,"layers":[{{"digest":"{digest}"}}]}}"#);
    (manifest.into_bytes(), layer.as_bytes().to_vec())
}

/// A package with that image, not in the store yet.
fn bundle(name: &str, version: &str, layer: &str) -> Bundle {
    let (manifest, layer) = image(layer);
    let descriptor = |content: &[u8]| Descriptor {
        media_type: MANIFEST_TYPE.into(),
        digest: Digest::sha256(content).to_string(),
        size: content.len() as u64,
    };
    let image = Image {
        alias: "main".into(),
        reference: "redis:5".into(),
        repository: repository().to_string(),
        tag: Some("5".into()),
        target: descriptor(&manifest),
        manifests: vec![descriptor(&manifest)],
        blobs: vec![descriptor(&layer)],
        platforms: vec![],
    };
    Bundle {
        metadata: b"{}".to_vec(),
        manifest: None,
        index: None,
        signatures: vec![],
        packaging_version: "4.0".into(),
        name: name.into(),
        version: version.into(),
        files: vec![],
        images: vec![image],
        content_digest: format!("sha256:{version}"),
        size: 0,
    }
}

async fn publish(catalogue: &Catalogue, name: &str, version: &str, layer: &str) -> Result<Entry, PublishError> {
    let (store, mut pins) = (catalogue.storage(), catalogue.pins().set());
    let (manifest, content) = image(layer);
    for content in [manifest, content] {
        pins.pin(Digest::sha256(&content)).await;
        blob(store, &content).await;
    }
    let declaration = Declared { id: format!("{name}-{version}"), source: "s".into(), by: "a/b".into() };
    let intent = Intent { number: Number::From(1), source: PackageSource::Url, declaration };
    catalogue.publish(bundle(name, version, layer), intent, &CancellationToken::new()).await
}

async fn withdraw(catalogue: &Catalogue, name: &str, version: &str) {
    catalogue.withdraw(&format!("{name}-{version}"), None, &mut vec![]).await.unwrap();
}

async fn collect_later(catalogue: &Catalogue) {
    tokio::time::sleep(GRACE * 2).await;
    catalogue.collect().await.unwrap();
}

/// Everything that a package needs is there.
async fn whole(store: &Store, entry: &Entry) {
    let roots = entry.roots().unwrap();
    let blobs = roots.blobs.iter().cloned().map(Place::Blob);
    for place in roots.links_and_tags().chain(blobs) {
        assert!(has(store, &place).await, "{} {} lacks {}", entry.name, entry.version, place.key());
    }
}

async fn what_nobody_needs_goes_after_the_grace_period(store: Store) {
    let catalogue = catalogue(&store);
    let entry = publish(&catalogue, "redis", "1", "layer").await.unwrap();
    let needless = blob(&store, b"needless").await;
    let link = blob_link(&needless);
    put(&store, &link, &Held::Blob(BlobLink::default())).await;
    let soon = catalogue.collect().await.unwrap();
    assert_eq!((soon.blobs, soon.small), (0, 0));
    assert!(has(&store, &Place::Blob(needless.clone())).await && has(&store, &link).await);
    tokio::time::sleep(GRACE * 2).await;
    let later = catalogue.collect().await.unwrap();
    assert_eq!((later.blobs, later.bytes, later.small), (1, 8, 1));
    assert!(!has(&store, &Place::Blob(needless)).await && !has(&store, &link).await);
    whole(&store, &entry).await;
}

async fn what_is_made_new_stays_for_another_grace_period(store: Store) {
    let catalogue = catalogue(&store);
    let (relied, pinned, other) =
        (blob(&store, b"relied").await, blob(&store, b"pinned").await, blob(&store, b"other").await);
    let mut pins = catalogue.pins().set();
    pins.pin(pinned.clone()).await;
    tokio::time::sleep(GRACE * 2).await;
    assert!(catalogue.rely_on(&relied, &mut catalogue.pins().set()).await.unwrap());
    catalogue.renew_pinned().await.unwrap();
    assert_eq!(catalogue.collect().await.unwrap().blobs, 1);
    assert!(has(&store, &Place::Blob(relied)).await && has(&store, &Place::Blob(pinned)).await);
    // What is gone is told, so that it is brought again.
    assert!(!catalogue.rely_on(&other, &mut pins).await.unwrap());
    let lacking = bundle("redis", "1", "never stored");
    let declaration = Declared { id: "u".into(), source: "s".into(), by: "a/b".into() };
    let intent = Intent { number: Number::From(1), source: PackageSource::Url, declaration };
    let refused = catalogue.publish(lacking, intent, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, PublishError::Lacking { .. }), "{refused}");
    assert!(catalogue.snapshot().await.unwrap().packages.is_empty());
}

async fn a_dry_run_counts_and_removes_nothing(store: Store) {
    // Replaced by a later publication of the same declaration: it counts, and stays.
    let first = catalogue(&store);
    let entry = publish(&first, "redis", "1", "layer").await.unwrap();
    let declaration = entry.declaration.clone();
    let intent = Intent { number: Number::From(1), source: PackageSource::Url, declaration };
    first.publish(bundle("redis", "2", "layer"), intent, &CancellationToken::new()).await.unwrap();
    let options = Options { grace_period: GRACE, dry_run: true, ..Options::default() };
    let catalogue = Catalogue::with(Arc::clone(&store), options);
    blob(&store, b"needless").await;
    put(&store, &blob_link(&Digest::sha256(b"x")), &Held::Blob(BlobLink::default())).await;
    tokio::time::sleep(GRACE * 2).await;
    let before = all_keys(store.as_ref()).await;
    for _ in 0..2 {
        let removed = catalogue.collect().await.unwrap();
        // With the claim of the number that was replaced.
        assert_eq!((removed.blobs, removed.bytes, removed.small), (1, 8, 2));
    }
    assert_eq!(all_keys(store.as_ref()).await, before);
}

async fn a_dry_run_makes_nothing_right(store: Store) {
    let first = catalogue(&store);
    publish(&first, "redis", "1", "layer").await.unwrap();
    let missing = manifest_link(&Digest::sha256(&image("layer").0));
    store.delete(&missing.key()).await.unwrap();
    let (_, version) = store.get(&tag("5").key(), 1 << 20).await.unwrap();
    store.put(&tag("5").key(), "damaged".into(), Condition::Unchanged(version)).await.unwrap();
    let broken = keys::entry(&code_of("broken", "1").unwrap());
    store.put(&broken, "damaged".into(), Condition::Absent).await.unwrap();
    tokio::time::sleep(GRACE * 2).await;
    let before = all_keys(store.as_ref()).await;
    let options = Options { grace_period: GRACE, dry_run: true, ..Options::default() };
    Catalogue::with(Arc::clone(&store), options).collect().await.unwrap();
    assert_eq!(all_keys(store.as_ref()).await, before);
    assert_eq!(common::text(store.as_ref(), &tag("5").key()).await, "damaged");
    // It was something to do.
    catalogue(&store).collect().await.unwrap();
    assert!(has(&store, &missing).await && !all_keys(store.as_ref()).await.contains(&broken.to_string()));
    assert_ne!(common::text(store.as_ref(), &tag("5").key()).await, "damaged");
}

async fn a_pushed_manifest_keeps_what_it_refers_to(store: Store) {
    let catalogue = catalogue(&store);
    let (manifest, layer) = (blob(&store, b"manifest").await, blob(&store, b"layer").await);
    put(&store, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
    put(&store, &manifest_link(&manifest), &pushed(&[&layer])).await;
    put(&store, &tag("pushed"), &target(&manifest)).await;
    let before = all_keys(store.as_ref()).await;
    collect_later(&catalogue).await;
    assert_eq!(all_keys(store.as_ref()).await, before);
    // Deleted by its owner.
    store.delete(&tag("pushed").key()).await.unwrap();
    store.delete(&manifest_link(&manifest).key()).await.unwrap();
    collect_later(&catalogue).await;
    assert!(all_keys(store.as_ref()).await.is_empty());
}

async fn a_pushed_blob_waits_for_its_manifest_as_long_as_the_grace_period(store: Store) {
    let catalogue = catalogue(&store);
    let layer = blob(&store, b"layer").await;
    tokio::time::sleep(GRACE * 2).await;
    // An old blob that was mounted: its link is young.
    put(&store, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
    catalogue.collect().await.unwrap();
    assert!(has(&store, &blob_link(&layer)).await && has(&store, &Place::Blob(layer.clone())).await);
    collect_later(&catalogue).await;
    assert!(all_keys(store.as_ref()).await.is_empty());
}

async fn what_is_pushed_stays_when_the_package_goes_that_has_it_too(store: Store) {
    let catalogue = catalogue(&store);
    let (manifest, layer) = image("layer");
    let (manifest, layer) = (blob(&store, &manifest).await, blob(&store, &layer).await);
    // Pushed before the package was published.
    let link = |size| match pushed(&[&layer]) {
        Held::Manifest(link) => Held::Manifest(Link { size, ..link }),
        other => other,
    };
    let size = image("layer").0.len() as u64;
    put(&store, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
    put(&store, &manifest_link(&manifest), &link(size)).await;
    put(&store, &tag("5"), &target(&manifest)).await;
    let before = all_keys(store.as_ref()).await;
    let entry = publish(&catalogue, "redis", "1", "layer").await.unwrap();
    collect_later(&catalogue).await;
    whole(&store, &entry).await;
    withdraw(&catalogue, "redis", "1").await;
    collect_later(&catalogue).await;
    assert_eq!(all_keys(store.as_ref()).await, before);
    let (there, _) = store.get(&manifest_link(&manifest).key(), 1 << 20).await.unwrap();
    assert_eq!(there, link(size).bytes().unwrap());
}

async fn a_manifest_of_a_package_stays_for_the_index_that_was_pushed_with_it(store: Store) {
    let catalogue = catalogue(&store);
    publish(&catalogue, "redis", "1", "layer").await.unwrap();
    let (child, layer) = image("layer");
    let (child, layer, index) = (Digest::sha256(&child), Digest::sha256(&layer), blob(&store, b"index").await);
    put(&store, &manifest_link(&index), &pushed(&[&child])).await;
    withdraw(&catalogue, "redis", "1").await;
    collect_later(&catalogue).await;
    collect_later(&catalogue).await;
    for place in [manifest_link(&index), manifest_link(&child), blob_link(&layer)] {
        assert!(has(&store, &place).await, "{place:?}");
    }
    for digest in [&index, &child, &layer] {
        assert!(has(&store, &Place::Blob(digest.clone())).await);
    }
    assert!(!has(&store, &tag("5")).await);
    store.delete(&manifest_link(&index).key()).await.unwrap();
    store.delete(&manifest_link(&child).key()).await.unwrap();
    collect_later(&catalogue).await;
    assert!(all_keys(store.as_ref()).await.is_empty());
}

async fn a_withdrawn_package_goes_from_the_catalogue_at_once_and_from_the_store_later(store: Store) {
    let (one, other) = (catalogue(&store), catalogue(&store));
    publish(&one, "redis", "1", "layer").await.unwrap();
    // Long enough for nobody to be about to publish the same.
    tokio::time::sleep(GRACE * 2).await;
    withdraw(&other, "redis", "1").await;
    let left: BTreeSet<String> = all_keys(store.as_ref()).await.into_iter().collect();
    assert!(left.iter().all(|key| key.starts_with("blobs/")) && left.len() == 2, "{left:?}");
    collect_later(&one).await;
    assert!(all_keys(store.as_ref()).await.is_empty());
}

async fn what_was_touched_lately_of_a_withdrawn_package_goes_with_a_later_sweep(store: Store) {
    let catalogue = catalogue(&store);
    let (there, link) = (tag("5"), manifest_link(&Digest::sha256(&image("layer").0)));
    publish(&catalogue, "redis", "1", "layer").await.unwrap();
    withdraw(&catalogue, "redis", "1").await;
    assert!(catalogue.snapshot().await.unwrap().packages.is_empty());
    tokio::time::sleep(GRACE * 2).await;
    catalogue.sweep().await.unwrap();
    assert!(!has(&store, &there).await && !has(&store, &link).await);
}

async fn a_package_that_lacks_a_blob_is_known_until_it_is_published_again(store: Store) {
    let catalogue = catalogue(&store);
    let entry = publish(&catalogue, "redis", "1", "layer").await.unwrap();
    let key = entry.roots().unwrap().entry;
    store.delete(&keys::blob(&Digest::sha256(b"layer"))).await.unwrap();
    catalogue.collect().await.unwrap();
    assert!(catalogue.is_lacking(&key));
    assert_eq!(publish(&catalogue, "redis", "1", "layer").await.unwrap(), entry);
    assert!(!catalogue.is_lacking(&key));
    whole(&store, &entry).await;
}

struct Underway(Digest);

impl InFlight for Underway {
    fn roots(&self) -> BoxFuture<'_, Result<HashSet<Digest>, StorageError>> {
        std::future::ready(Ok([self.0.clone()].into())).boxed()
    }
}

async fn what_is_in_flight_stays(store: Store) {
    let catalogue = catalogue(&store);
    let (uploaded, needless) = (blob(&store, b"uploaded").await, blob(&store, b"needless").await);
    catalogue.protect(Arc::new(Underway(uploaded.clone())));
    collect_later(&catalogue).await;
    assert!(has(&store, &Place::Blob(uploaded)).await && !has(&store, &Place::Blob(needless)).await);
}

async fn an_entry_of_a_referrer_goes_after_its_manifest(store: Store) {
    let catalogue = catalogue(&store);
    let (manifest, subject) = (blob(&store, b"signature").await, Digest::sha256(b"image"));
    let entry = Place::Referrer(repository(), subject.clone(), manifest.clone());
    put(&store, &manifest_link(&manifest), &pushed(&[])).await;
    store.put(&entry.key(), "{}".into(), Condition::Absent).await.unwrap();
    collect_later(&catalogue).await;
    assert!(has(&store, &entry).await && has(&store, &manifest_link(&manifest)).await);
    store.delete(&manifest_link(&manifest).key()).await.unwrap();
    assert_eq!(catalogue.collect().await.unwrap().small, 1);
    assert!(!has(&store, &entry).await);
    // What is pushed at this moment has its entry before anybody sees its link.
    let young = Place::Referrer(repository(), subject, Digest::sha256(b"another"));
    store.put(&young.key(), "{}".into(), Condition::Absent).await.unwrap();
    catalogue.collect().await.unwrap();
    assert!(has(&store, &young).await);
}

async fn a_claim_without_a_package_goes_and_another_keeps_its_number(store: Store) {
    let catalogue = catalogue(&store);
    let entry = publish(&catalogue, "redis", "1", "layer").await.unwrap();
    let stale = Place::Release("redis".parse().unwrap(), 7);
    store.put(&stale.key(), r#"{"coordinate":"x"}"#.into(), Condition::Absent).await.unwrap();
    // It counts as long as it is there.
    assert_eq!(publish(&catalogue, "redis", "2", "layer").await.unwrap().release_version, 8);
    collect_later(&catalogue).await;
    assert!(!has(&store, &stale).await);
    whole(&store, &entry).await;
}

async fn what_a_start_finds(store: &Store) -> Vec<String> {
    let catalogue = Catalogue::new(Arc::clone(store));
    catalogue.restore().await.unwrap().into_iter().map(|found| found.id).collect()
}

/// Three instances publish and withdraw packages that share content, a client pushes; every few milliseconds one of them
/// collects.
async fn collectors_at_work_take_nothing_that_publications_and_pushes_count_on(store: Store) {
    let instances: Vec<_> = (0..3).map(|_| catalogue(&store)).collect();
    let stop = CancellationToken::new();
    let collectors: Vec<_> = instances
        .iter()
        .map(|instance| {
            let (instance, stop) = (instance.clone(), stop.clone());
            tokio::spawn(async move {
                let mut removed = 0;
                while !stop.is_cancelled() {
                    let done = instance.collect().await.unwrap();
                    removed += done.blobs + done.small;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                removed
            })
        })
        .collect();
    let publishers = instances.iter().enumerate().map(|(number, instance)| {
        let (instance, store) = (instance.clone(), Arc::clone(&store));
        tokio::spawn(async move {
            let name = format!("package-{number}");
            let mut published = 0;
            for round in 0..12 {
                // The same layers come and go in all three.
                let layer = format!("layer {}", round % 3);
                match publish(&instance, &name, "1", &layer).await {
                    Ok(entry) => {
                        published += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        whole(&store, &entry).await;
                        // Longer than the grace period: what is needed stays however old it is.
                        if round % 4 == 0 {
                            tokio::time::sleep(GRACE * 2).await;
                            whole(&store, &entry).await;
                        }
                    }
                    // Too slow, or overtaken by others all the time: it says so, and nothing is there of it.
                    Err(PublishError::Outrun { .. } | PublishError::Lacking { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                withdraw(&instance, &name, "1").await;
            }
            published
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let pushes = push_for_a_while(&store).await;
    let mut published = 0;
    for publisher in publishers {
        published += publisher.await.unwrap();
    }
    stop.cancel();
    let mut removed = 0;
    for collector in collectors {
        removed += collector.await.unwrap();
    }
    assert!(published > 12 && pushes > 0 && removed > 0, "{published} published, {pushes} pushed, {removed} removed");
    collect_later(&instances[0]).await;
    let left = all_keys(store.as_ref()).await;
    assert_eq!(left.len(), pushes * 5, "{left:?}");
    assert!(what_a_start_finds(&store).await.is_empty());
}

/// Pushes images as a client does, each with the time between its blob and its manifest that the grace period allows.
async fn push_for_a_while(store: &Store) -> usize {
    const PUSHES: usize = 6;
    for number in 0..PUSHES {
        let layer = blob(store, format!("pushed {number}").as_bytes()).await;
        put(store, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
        tokio::time::sleep(GRACE / 4).await;
        for key in [blob_link(&layer).key(), keys::blob(&layer)] {
            assert!(store.renew(&key).await.unwrap(), "{key}");
        }
        let manifest = blob(store, format!("manifest {number}").as_bytes()).await;
        put(store, &manifest_link(&manifest), &pushed(&[&layer])).await;
        put(store, &tag(&format!("pushed-{number}")), &target(&manifest)).await;
    }
    PUSHES
}

#[tokio::test]
async fn what_has_no_known_age_stays() {
    let store: Store = Arc::new(Shared::without_ages(Arc::new(MemoryStorage::new())));
    let catalogue = catalogue(&store);
    let unknown = blob(&store, b"x").await;
    collect_later(&catalogue).await;
    assert!(has(&store, &Place::Blob(unknown)).await);
}

#[tokio::test]
async fn where_nobody_else_works_what_a_package_leaves_goes_with_it() {
    let store: Store = Arc::new(MemoryStorage::new());
    let catalogue = Catalogue::new(Arc::clone(&store));
    let layer = blob(&store, b"pushed").await;
    put(&store, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
    let before = all_keys(store.as_ref()).await;
    publish(&catalogue, "redis", "1", "layer").await.unwrap();
    withdraw(&catalogue, "redis", "1").await;
    assert_eq!(all_keys(store.as_ref()).await, before);
    // A start tidies up; what was pushed still has time.
    blob(&store, b"left by a crash").await;
    Catalogue::new(Arc::clone(&store)).restore().await.unwrap();
    assert_eq!(all_keys(store.as_ref()).await, before);
}

/// A store on which something happens in the middle of what is tested, and as it is without that.
fn interrupted(shared: bool) -> (Arc<Faulty>, Store) {
    let store: Store = Arc::new(MemoryStorage::new());
    let faulty = if shared {
        Faulty::shared(Arc::clone(&store))
    } else {
        Faulty::new(Arc::clone(&store), When::From(usize::MAX))
    };
    (Arc::new(faulty), store)
}

async fn tag_target(store: &Store) -> String {
    let target: TagTarget = serde_json::from_str(&common::text(store.as_ref(), &tag("5").key()).await).unwrap();
    target.digest
}

#[tokio::test]
async fn a_collection_does_not_move_a_tag_back_that_was_published_meanwhile() {
    for shared in [true, false] {
        let (faulty, store) = interrupted(shared);
        let collecting =
            Catalogue::with(Arc::clone(&faulty) as Store, Options { grace_period: GRACE, ..Options::default() });
        publish(&collecting, "redis", "1", "layer").await.unwrap();
        tokio::time::sleep(GRACE * 2).await;
        let publisher = collecting.clone();
        faulty.interrupt(keys::REPOSITORIES, async move {
            publish(&publisher, "redis", "2", "another layer").await.unwrap();
        });
        collecting.collect().await.unwrap();
        let latest = Digest::sha256(&image("another layer").0).to_string();
        assert_eq!(tag_target(&store).await, latest, "shared: {shared}");
    }
}

#[tokio::test]
async fn a_collection_does_not_make_the_links_again_of_what_was_withdrawn_meanwhile() {
    for shared in [true, false] {
        let (faulty, store) = interrupted(shared);
        let collecting =
            Catalogue::with(Arc::clone(&faulty) as Store, Options { grace_period: GRACE, ..Options::default() });
        publish(&collecting, "redis", "1", "layer").await.unwrap();
        tokio::time::sleep(GRACE * 2).await;
        let withdrawing = collecting.clone();
        faulty.interrupt(keys::REPOSITORIES, async move { withdraw(&withdrawing, "redis", "1").await });
        collecting.collect().await.unwrap();
        let left: Vec<_> =
            all_keys(store.as_ref()).await.into_iter().filter(|key| !key.starts_with("blobs/")).collect();
        assert!(left.is_empty(), "shared: {shared}: {left:?}");
    }
}

#[tokio::test]
async fn a_collection_makes_right_what_is_wrong_and_what_nobody_has_touched_since() {
    for shared in [true, false] {
        let (faulty, store) = interrupted(shared);
        let catalogue =
            Catalogue::with(Arc::clone(&faulty) as Store, Options { grace_period: GRACE, ..Options::default() });
        let entry = publish(&catalogue, "redis", "1", "layer").await.unwrap();
        let right = tag_target(&store).await;
        let wrong = Held::Tag(TagTarget {
            digest: Digest::sha256(b"elsewhere").to_string(),
            media_type: MANIFEST_TYPE.into(),
            size: 1,
            pushed: false,
        });
        store.delete(&tag("5").key()).await.unwrap();
        put(&store, &tag("5"), &wrong).await;
        store.delete(&blob_link(&Digest::sha256(b"layer")).key()).await.unwrap();
        collect_later(&catalogue).await;
        assert_eq!(tag_target(&store).await, right, "shared: {shared}");
        whole(&store, &entry).await;
    }
}

#[tokio::test]
async fn a_sweep_does_not_take_a_blob_that_is_pushed_meanwhile() {
    let (faulty, store) = interrupted(false);
    let catalogue = Catalogue::new(Arc::clone(&faulty) as Store);
    publish(&catalogue, "redis", "1", "layer").await.unwrap();
    let (pushing, pushed) = (catalogue.clone(), Arc::clone(&store));
    let layer = Digest::sha256(b"layer");
    // Behind the walk through the links, before that through the bytes.
    faulty.interrupt(keys::BLOBS, async move {
        let mut pins = pushing.pins().set();
        pins.pin(Digest::sha256(b"layer")).await;
        let layer = blob(&pushed, b"layer").await;
        put(&pushed, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
    });
    withdraw(&catalogue, "redis", "1").await;
    assert!(has(&store, &Place::Blob(layer.clone())).await && has(&store, &blob_link(&layer)).await);
    // The manifest that nobody pushed is gone.
    assert_eq!(all_keys(store.as_ref()).await.len(), 2);
}
