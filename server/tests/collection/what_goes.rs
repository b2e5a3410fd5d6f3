//! What goes and what stays, on every store that several instances may have.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use server::catalogue::entry::{BlobLink, Link, code_of};
use server::catalogue::links::Held;
use server::catalogue::{Catalogue, InFlight, Options, PublishError};
use server::digest::Digest;
use server::storage::keys::Place;
use server::storage::memory::MemoryStorage;
use server::storage::{Condition, StorageError, keys};
use tokio_util::sync::CancellationToken;

use crate::common::bundles::intent;
use crate::common::shared::Shared;
use crate::common::stores::{Store, Stores};
use crate::common::{keys as all_keys, text};
use crate::content::{
    GRACE, blob, blob_link, bundle, catalogue, collect_later, has, image, manifest_link, publish, pushed, put,
    repository, tag, target, whole, withdraw,
};

crate::on_stores! {
    on three_instances shared_file minio versitygw:
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
}

async fn what_nobody_needs_goes_after_the_grace_period(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    let entry = publish(&catalogue, "redis", "1", "layer").await.unwrap();
    let needless = blob(&store, b"needless").await;
    let link = blob_link(&needless);
    put(&store, &link, &Held::Blob(BlobLink::default())).await;
    let soon = catalogue.collect().await.unwrap();
    assert_eq!((soon.blobs, soon.small), (0, 0));
    assert!(has(&store, &Place::Blob(needless.clone())).await && has(&store, &link).await);
    stores.age(GRACE * 2).await;
    let later = catalogue.collect().await.unwrap();
    assert_eq!((later.blobs, later.bytes, later.small), (1, 8, 1));
    assert!(!has(&store, &Place::Blob(needless)).await && !has(&store, &link).await);
    whole(&store, &entry).await;
}

async fn what_is_made_new_stays_for_another_grace_period(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    let (relied, pinned, other) =
        (blob(&store, b"relied").await, blob(&store, b"pinned").await, blob(&store, b"other").await);
    let mut pins = catalogue.pins().set();
    pins.pin(pinned.clone()).await;
    stores.age(GRACE * 2).await;
    assert!(catalogue.rely_on(&relied, &mut catalogue.pins().set()).await.unwrap());
    catalogue.renew_pinned().await.unwrap();
    assert_eq!(catalogue.collect().await.unwrap().blobs, 1);
    assert!(has(&store, &Place::Blob(relied)).await && has(&store, &Place::Blob(pinned)).await);
    // What is gone is told, so that it is brought again.
    assert!(!catalogue.rely_on(&other, &mut pins).await.unwrap());
    let lacking = bundle("redis", "1", "never stored");
    let refused = catalogue.publish(lacking, intent("u"), &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, PublishError::Lacking { .. }), "{refused}");
    assert!(catalogue.snapshot().await.unwrap().packages.is_empty());
}

async fn a_dry_run_counts_and_removes_nothing(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    // Replaced by a later publication of the same declaration: it counts, and stays.
    let first = catalogue(&store);
    let entry = publish(&first, "redis", "1", "layer").await.unwrap();
    let again = intent(&entry.declaration.id);
    first.publish(bundle("redis", "2", "layer"), again, &CancellationToken::new()).await.unwrap();
    let options = Options { grace_period: GRACE, dry_run: true, ..Options::default() };
    let catalogue = Catalogue::with(Arc::clone(&store), options);
    blob(&store, b"needless").await;
    put(&store, &blob_link(&Digest::sha256(b"x")), &Held::Blob(BlobLink::default())).await;
    stores.age(GRACE * 2).await;
    let before = all_keys(store.as_ref()).await;
    for _ in 0..2 {
        let removed = catalogue.collect().await.unwrap();
        // With the claim of the number that was replaced.
        assert_eq!((removed.blobs, removed.bytes, removed.small), (1, 8, 2));
    }
    assert_eq!(all_keys(store.as_ref()).await, before);
}

async fn a_dry_run_makes_nothing_right(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let first = catalogue(&store);
    publish(&first, "redis", "1", "layer").await.unwrap();
    let missing = manifest_link(&Digest::sha256(&image("layer").0));
    store.delete(&missing.key()).await.unwrap();
    let (_, version) = store.get(&tag("5").key(), 1 << 20).await.unwrap();
    store.put(&tag("5").key(), "damaged".into(), Condition::Unchanged(version)).await.unwrap();
    let broken = keys::entry(&code_of("broken", "1").unwrap());
    store.put(&broken, "damaged".into(), Condition::Absent).await.unwrap();
    stores.age(GRACE * 2).await;
    let before = all_keys(store.as_ref()).await;
    let options = Options { grace_period: GRACE, dry_run: true, ..Options::default() };
    Catalogue::with(Arc::clone(&store), options).collect().await.unwrap();
    assert_eq!(all_keys(store.as_ref()).await, before);
    assert_eq!(text(store.as_ref(), &tag("5").key()).await, "damaged");
    // It was something to do.
    catalogue(&store).collect().await.unwrap();
    assert!(has(&store, &missing).await && !all_keys(store.as_ref()).await.contains(&broken.to_string()));
    assert_ne!(text(store.as_ref(), &tag("5").key()).await, "damaged");
}

async fn a_pushed_manifest_keeps_what_it_refers_to(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    let (manifest, layer) = (blob(&store, b"manifest").await, blob(&store, b"layer").await);
    put(&store, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
    put(&store, &manifest_link(&manifest), &pushed(&[&layer])).await;
    put(&store, &tag("pushed"), &target(&manifest)).await;
    let before = all_keys(store.as_ref()).await;
    collect_later(&stores, &catalogue).await;
    assert_eq!(all_keys(store.as_ref()).await, before);
    // Deleted by its owner.
    store.delete(&tag("pushed").key()).await.unwrap();
    store.delete(&manifest_link(&manifest).key()).await.unwrap();
    collect_later(&stores, &catalogue).await;
    assert!(all_keys(store.as_ref()).await.is_empty());
}

async fn a_pushed_blob_waits_for_its_manifest_as_long_as_the_grace_period(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    let layer = blob(&store, b"layer").await;
    stores.age(GRACE * 2).await;
    // An old blob that was mounted: its link is young.
    put(&store, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
    catalogue.collect().await.unwrap();
    assert!(has(&store, &blob_link(&layer)).await && has(&store, &Place::Blob(layer.clone())).await);
    collect_later(&stores, &catalogue).await;
    assert!(all_keys(store.as_ref()).await.is_empty());
}

async fn what_is_pushed_stays_when_the_package_goes_that_has_it_too(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
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
    collect_later(&stores, &catalogue).await;
    whole(&store, &entry).await;
    withdraw(&catalogue, "redis", "1").await;
    collect_later(&stores, &catalogue).await;
    assert_eq!(all_keys(store.as_ref()).await, before);
    let (there, _) = store.get(&manifest_link(&manifest).key(), 1 << 20).await.unwrap();
    assert_eq!(there, link(size).bytes().unwrap());
}

async fn a_manifest_of_a_package_stays_for_the_index_that_was_pushed_with_it(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    publish(&catalogue, "redis", "1", "layer").await.unwrap();
    let (child, layer) = image("layer");
    let (child, layer, index) = (Digest::sha256(&child), Digest::sha256(&layer), blob(&store, b"index").await);
    put(&store, &manifest_link(&index), &pushed(&[&child])).await;
    withdraw(&catalogue, "redis", "1").await;
    collect_later(&stores, &catalogue).await;
    collect_later(&stores, &catalogue).await;
    for place in [manifest_link(&index), manifest_link(&child), blob_link(&layer)] {
        assert!(has(&store, &place).await, "{place:?}");
    }
    for digest in [&index, &child, &layer] {
        assert!(has(&store, &Place::Blob(digest.clone())).await);
    }
    assert!(!has(&store, &tag("5")).await);
    store.delete(&manifest_link(&index).key()).await.unwrap();
    store.delete(&manifest_link(&child).key()).await.unwrap();
    collect_later(&stores, &catalogue).await;
    assert!(all_keys(store.as_ref()).await.is_empty());
}

async fn a_withdrawn_package_goes_from_the_catalogue_at_once_and_from_the_store_later(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let (one, other) = (catalogue(&store), catalogue(&store));
    publish(&one, "redis", "1", "layer").await.unwrap();
    // Long enough for nobody to be about to publish the same.
    stores.age(GRACE * 2).await;
    withdraw(&other, "redis", "1").await;
    let left: BTreeSet<String> = all_keys(store.as_ref()).await.into_iter().collect();
    assert!(left.iter().all(|key| key.starts_with("blobs/")) && left.len() == 2, "{left:?}");
    collect_later(&stores, &one).await;
    assert!(all_keys(store.as_ref()).await.is_empty());
}

async fn what_was_touched_lately_of_a_withdrawn_package_goes_with_a_later_sweep(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    let (there, link) = (tag("5"), manifest_link(&Digest::sha256(&image("layer").0)));
    publish(&catalogue, "redis", "1", "layer").await.unwrap();
    withdraw(&catalogue, "redis", "1").await;
    assert!(catalogue.snapshot().await.unwrap().packages.is_empty());
    stores.age(GRACE * 2).await;
    catalogue.sweep().await.unwrap();
    assert!(!has(&store, &there).await && !has(&store, &link).await);
}

async fn a_package_that_lacks_a_blob_is_known_until_it_is_published_again(stores: Stores) {
    let store = stores.next();
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

async fn what_is_in_flight_stays(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    let (uploaded, needless) = (blob(&store, b"uploaded").await, blob(&store, b"needless").await);
    catalogue.protect(Arc::new(Underway(uploaded.clone())));
    collect_later(&stores, &catalogue).await;
    assert!(has(&store, &Place::Blob(uploaded)).await && !has(&store, &Place::Blob(needless)).await);
}

async fn an_entry_of_a_referrer_goes_after_its_manifest(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    let (manifest, subject) = (blob(&store, b"signature").await, Digest::sha256(b"image"));
    let entry = Place::Referrer(repository(), subject.clone(), manifest.clone());
    put(&store, &manifest_link(&manifest), &pushed(&[])).await;
    store.put(&entry.key(), "{}".into(), Condition::Absent).await.unwrap();
    collect_later(&stores, &catalogue).await;
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

async fn a_claim_without_a_package_goes_and_another_keeps_its_number(stores: Stores) {
    let stores = stores.aging();
    let store = stores.next();
    let catalogue = catalogue(&store);
    let entry = publish(&catalogue, "redis", "1", "layer").await.unwrap();
    let stale = Place::Release("redis".parse().unwrap(), 7);
    store.put(&stale.key(), r#"{"coordinate":"x"}"#.into(), Condition::Absent).await.unwrap();
    // It counts as long as it is there.
    assert_eq!(publish(&catalogue, "redis", "2", "layer").await.unwrap().release_version, 8);
    collect_later(&stores, &catalogue).await;
    assert!(!has(&store, &stale).await);
    whole(&store, &entry).await;
}

#[tokio::test]
async fn what_has_no_known_age_stays() {
    let store: Store = Arc::new(Shared::without_ages(Arc::new(MemoryStorage::new())));
    let options = Options { grace_period: Duration::ZERO, ..Options::default() };
    let catalogue = Catalogue::with(Arc::clone(&store), options);
    let unknown = blob(&store, b"x").await;
    catalogue.collect().await.unwrap();
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
