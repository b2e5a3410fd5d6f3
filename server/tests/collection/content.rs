//! What is collected in these tests, and when.

use std::sync::Arc;
use std::time::Duration;

use bundle::model::{Bundle, Descriptor, Image};
use bytes::Bytes;
use server::catalogue::entry::{Entry, Link, Pushed, TagTarget};
use server::catalogue::links::Held;
use server::catalogue::{Catalogue, Options, PublishError};
use server::digest::{Algorithm, Digest};
use server::names::Repository;
use server::storage::Condition;
use server::storage::keys::Place;
use tokio_util::sync::CancellationToken;

use crate::common::bundles::{MANIFEST_TYPE, bare, intent};
use crate::common::stores::{Store, Stores};

/// What tests that set ages do takes much less.
pub const GRACE: Duration = Duration::from_hours(1);
/// Where time passes by itself: long enough for what a test does within it on a machine that has other things to do.
pub const SHORT: Duration = Duration::from_millis(1200);

pub fn catalogue(store: &Store) -> Catalogue {
    Catalogue::with(Arc::clone(store), Options { grace_period: GRACE, ..Options::default() })
}

pub async fn blob(store: &Store, content: &[u8]) -> Digest {
    let mut writer = store.write_blob(Algorithm::Sha256).await.unwrap();
    writer.write(Bytes::copy_from_slice(content)).await.unwrap();
    let finished = writer.finish().await.unwrap();
    let digest = finished.digest().clone();
    finished.commit().await.unwrap();
    digest
}

pub async fn has(store: &Store, place: &Place) -> bool {
    match store.size(&place.key()).await {
        Ok(_) => true,
        Err(error) if error.is_not_found() => false,
        Err(error) => panic!("{error}"),
    }
}

pub async fn put(store: &Store, place: &Place, held: &Held) {
    store.put(&place.key(), held.bytes().unwrap(), Condition::Absent).await.unwrap();
}

pub fn repository() -> Repository {
    "docker.io/library/redis".parse().unwrap()
}

pub fn blob_link(digest: &Digest) -> Place {
    Place::BlobLink(repository(), digest.clone())
}

pub fn manifest_link(digest: &Digest) -> Place {
    Place::ManifestLink(repository(), digest.clone())
}

pub fn tag(name: &str) -> Place {
    Place::Tag(repository(), name.parse().unwrap())
}

pub fn pushed(references: &[&Digest]) -> Held {
    let references = references.iter().map(ToString::to_string).collect();
    let pushed = Some(Pushed { references, subject: None });
    Held::Manifest(Link { media_type: MANIFEST_TYPE.into(), size: 1, pushed })
}

pub fn target(digest: &Digest) -> Held {
    let digest = digest.to_string();
    Held::Tag(TagTarget { digest, media_type: MANIFEST_TYPE.into(), size: 1, pushed: true })
}

/// Content of an image with one layer: manifest, layer.
pub fn image(layer: &str) -> (Vec<u8>, Vec<u8>) {
    let digest = Digest::sha256(layer.as_bytes());
    let manifest = format!(r#"{{"schemaVersion":2,"layers":[{{"digest":"{digest}"}}]}}"#);
    (manifest.into_bytes(), layer.as_bytes().to_vec())
}

/// A package with that image, not in the store yet.
pub fn bundle(name: &str, version: &str, layer: &str) -> Bundle {
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
        attachments: vec![],
    };
    Bundle { images: vec![image], ..bare(name, version) }
}

pub async fn publish(catalogue: &Catalogue, name: &str, version: &str, layer: &str) -> Result<Entry, PublishError> {
    let (store, mut pins) = (catalogue.storage(), catalogue.pins().set());
    let (manifest, content) = image(layer);
    for content in [manifest, content] {
        pins.pin(Digest::sha256(&content)).await;
        blob(store, &content).await;
    }
    let intent = intent(&format!("{name}-{version}"));
    catalogue.publish(bundle(name, version, layer), intent, &CancellationToken::new()).await
}

pub async fn withdraw(catalogue: &Catalogue, name: &str, version: &str) {
    catalogue.withdraw(&format!("{name}-{version}"), None, &mut vec![]).await.unwrap();
}

/// Collects when everything that is there is old.
pub async fn collect_later(stores: &Stores, catalogue: &Catalogue) {
    stores.age(GRACE * 2).await;
    catalogue.collect().await.unwrap();
}

/// Collects when as much time has passed as lets everything go that nobody needs.
pub async fn collect_after_a_while(catalogue: &Catalogue) {
    tokio::time::sleep(catalogue.options().grace_period * 2).await;
    catalogue.collect().await.unwrap();
}

/// Everything that a package needs is there.
pub async fn whole(store: &Store, entry: &Entry) {
    let roots = entry.roots().unwrap();
    let blobs = roots.blobs.iter().cloned().map(Place::Blob);
    for place in roots.links_and_tags().chain(blobs) {
        assert!(has(store, &place).await, "{} {} lacks {}", entry.name, entry.version, place.key());
    }
}
