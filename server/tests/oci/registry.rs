//! What the tests push to: one instance, or several that take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use server::digest::{Algorithm, Digest, Hasher};
use server::storage::health::StorageHealth;
use server::storage::s3::S3Storage;
use tempfile::TempDir;

use crate::common::s3_server::Kind;
use crate::common::stores::{self, Store};
use crate::common::{Answer, Client, Setup};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The repository that most tests use.
pub const REPO: &str = "docker.io/library/app";

/// Instances of the server on one store.
pub struct Registry {
    instances: Vec<Client>,
    turn: AtomicUsize,
    _folder: Option<TempDir>,
}

/// One instance on a store in memory.
pub async fn memory() -> Option<Registry> {
    Some(Registry::on(stores::memory(), 1).await)
}

/// One instance on a folder.
pub async fn file() -> Option<Registry> {
    let (storage, folder) = stores::file();
    Some(Registry { _folder: Some(folder), ..Registry::on(storage, 1).await })
}

/// Three instances that take turns on one store in memory.
pub async fn three_instances() -> Option<Registry> {
    Some(Registry::on(stores::memory(), 3).await)
}

/// Three instances that take turns on one bucket of `MinIO`, each with what it remembers of it; `None`, with a word, where
/// there is no `MinIO`.
pub async fn minio() -> Option<Registry> {
    three_on(Kind::Minio).await
}

/// The same with versitygw.
pub async fn versitygw() -> Option<Registry> {
    three_on(Kind::Versitygw).await
}

async fn three_on(kind: Kind) -> Option<Registry> {
    let config = kind.server().await?.config();
    let mut instances = Vec::new();
    for _ in 0..3 {
        let storage = S3Storage::open(config.clone(), StorageHealth::default()).await.unwrap();
        instances.push(Setup::on(Arc::new(storage)).start().await.unwrap());
    }
    Some(Registry { instances, turn: AtomicUsize::new(0), _folder: None })
}

/// Makes each test of a module run on every store. A store is a function of this module.
macro_rules! on_every_registry {
    ($($test:ident)*) => {
        on_registries! { { $($test)* } memory file three_instances minio versitygw }
    };
}

/// Makes each test run on the stores that are named.
macro_rules! on_registries {
    ($tests:tt $($store:ident)*) => {
        $(on_registry! { $store $tests })*
    };
}

/// Makes each test run on one store.
macro_rules! on_registry {
    ($store:ident { $($test:ident)* }) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some(registry) = $crate::registry::$store().await {
                    super::$test(&registry).await;
                }
            })*
        }
    };
}

/// A manifest and what it is made of.
pub struct Image {
    pub bytes: Vec<u8>,
    pub digest: Digest,
    pub layer: Digest,
}

impl Registry {
    pub async fn on(storage: Store, count: usize) -> Self {
        let mut instances = Vec::new();
        for _ in 0..count {
            instances.push(Setup::on(Arc::clone(&storage)).start().await.unwrap());
        }
        Self { instances, turn: AtomicUsize::new(0), _folder: None }
    }

    pub async fn with(setup: Setup) -> Self {
        Self { instances: vec![setup.start().await.unwrap()], turn: AtomicUsize::new(0), _folder: None }
    }

    /// The instance whose turn it is.
    pub fn client(&self) -> &Client {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst);
        &self.instances[turn % self.instances.len()]
    }

    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.client().call(method, path, headers, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Body::empty()).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.call(Method::HEAD, path, &[], Body::empty()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], Body::empty()).await
    }

    /// Starts an upload and says where it goes on.
    pub async fn begin(&self, repository: &str) -> String {
        let answer = self.call(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.header("location").to_owned()
    }

    /// Adds a piece that must be taken.
    pub async fn piece(&self, location: &str, first: usize, content: &[u8]) -> Answer {
        let range = format!("{first}-{}", first + content.len() - 1);
        let answer = self.call(Method::PATCH, location, &[("content-range", &range)], content.to_vec()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer
    }

    /// Ends an upload.
    pub async fn end(&self, location: &str, digest: &Digest, content: impl Into<Body>) -> Answer {
        self.call(Method::PUT, &format!("{location}?digest={digest}"), &[], content).await
    }

    /// Pushes a blob.
    pub async fn blob(&self, repository: &str, content: &[u8]) -> Digest {
        let (location, digest) = (self.begin(repository).await, Digest::sha256(content));
        let answer = self.end(&location, &digest, content.to_vec()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        digest
    }

    /// Asks to put a manifest.
    pub async fn put(&self, repository: &str, reference: &str, media_type: &str, bytes: impl Into<Bytes>) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let body = Body::from(bytes.into());
        self.call(Method::PUT, &path, &[("content-type", media_type)], body).await
    }

    /// Puts a manifest that must be taken.
    pub async fn accept(&self, repository: &str, reference: &str, document: &Value) -> Digest {
        let media_type = document["mediaType"].as_str().unwrap().to_owned();
        let bytes = document.to_string();
        let answer = self.put(repository, reference, &media_type, bytes.clone()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        Digest::sha256(bytes.as_bytes())
    }

    /// Pushes an image whose content is made from a word.
    pub async fn image(&self, repository: &str, reference: &str, word: &str) -> Image {
        let (config, layer) = (format!("config of {word}"), format!("layer of {word}"));
        let image = image(&config, &layer);
        self.blob(repository, config.as_bytes()).await;
        self.blob(repository, layer.as_bytes()).await;
        let answer = self.put(repository, reference, MANIFEST, image.bytes.clone()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        image
    }

    /// Waits until no instance serves it any more. An instance may remember for some seconds what another one removed.
    pub async fn gone(&self, path: &str) {
        for instance in &self.instances {
            let start = Instant::now();
            while instance.get(path).await.status != StatusCode::NOT_FOUND {
                assert!(start.elapsed() < Duration::from_secs(20), "{path} is still there");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Status of what is asked for.
    pub async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status.as_u16()
    }
}

/// A descriptor of some content.
pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::sha256(content).to_string(), "size": content.len() })
}

/// The manifest of an image with one layer.
pub fn document(config: &str, layer: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config.as_bytes()),
        "layers": [descriptor(LAYER, layer.as_bytes())],
    })
}

fn image(config: &str, layer: &str) -> Image {
    let bytes = document(config, layer).to_string().into_bytes();
    let digest = Digest::sha256(&bytes);
    Image { bytes, digest, layer: Digest::sha256(layer.as_bytes()) }
}

/// The SHA-512 of some content.
pub fn sha512(content: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(content);
    hasher.finish()
}

/// Codes of the errors of an answer, whose form must be the specification's.
pub fn codes(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.header("content-type"), "application/json", "{}", answer.text());
    let json = answer.json();
    let errors = json["errors"].as_array().unwrap();
    assert!(!errors.is_empty() && json.as_object().unwrap().len() == 1, "{json}");
    errors
        .iter()
        .map(|error| {
            assert!(error["message"].is_string(), "{error}");
            error["code"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// The path of the next page; empty on the last one.
pub fn next_page(answer: &Answer) -> String {
    answer.header("link").trim_start_matches('<').trim_end_matches(">; rel=\"next\"").to_owned()
}

/// Status and first code of an answer.
pub fn refused(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), codes(answer).remove(0))
}

/// What `refused` says of an error.
pub fn error(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
