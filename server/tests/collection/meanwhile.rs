//! What happens in the middle of a collection.

use std::sync::Arc;

use server::catalogue::entry::{BlobLink, TagTarget};
use server::catalogue::links::Held;
use server::catalogue::{Catalogue, Options};
use server::digest::Digest;
use server::storage::keys;
use server::storage::keys::Place;
use server::storage::memory::MemoryStorage;

use crate::common::bundles::MANIFEST_TYPE;
use crate::common::faulty::{Faulty, When};
use crate::common::shared::Shared;
use crate::common::stores::Store;
use crate::common::{keys as all_keys, text};
use crate::content::{SHORT, blob, blob_link, collect_after_a_while, has, image, publish, put, tag, whole, withdraw};

/// A store on which something happens in the middle of what is tested, as it is without that, and a catalogue on the former
/// that collects what nobody has needed for a short time.
fn interrupted(shared: bool) -> (Arc<Faulty>, Store, Catalogue) {
    let store: Store = Arc::new(MemoryStorage::new());
    let inner = if shared { Arc::new(Shared::new(Arc::clone(&store))) } else { Arc::clone(&store) };
    let faulty = Arc::new(Faulty::new(inner, When::Never));
    let options = Options { grace_period: SHORT, ..Options::default() };
    let catalogue = Catalogue::with(Arc::clone(&faulty) as Store, options);
    (faulty, store, catalogue)
}

async fn tag_target(store: &Store) -> String {
    let target: TagTarget = serde_json::from_str(&text(store.as_ref(), &tag("5").key()).await).unwrap();
    target.digest
}

#[tokio::test]
async fn a_collection_does_not_move_a_tag_back_that_was_published_meanwhile() {
    for shared in [true, false] {
        let (faulty, store, collecting) = interrupted(shared);
        publish(&collecting, "redis", "1", "layer").await.unwrap();
        tokio::time::sleep(SHORT * 2).await;
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
        let (faulty, store, collecting) = interrupted(shared);
        publish(&collecting, "redis", "1", "layer").await.unwrap();
        tokio::time::sleep(SHORT * 2).await;
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
        let (_, store, catalogue) = interrupted(shared);
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
        collect_after_a_while(&catalogue).await;
        assert_eq!(tag_target(&store).await, right, "shared: {shared}");
        whole(&store, &entry).await;
    }
}

#[tokio::test]
async fn a_sweep_does_not_take_a_blob_that_is_pushed_meanwhile() {
    let (faulty, store, _) = interrupted(false);
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
