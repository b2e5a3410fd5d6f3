//! What the tests push, and how.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use server::digest::{Algorithm, Digest, Hasher};

use crate::common::Answer;
use crate::common::site::Site;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The repository that most tests use.
pub const REPO: &str = "docker.io/library/app";

/// A manifest and what it is made of.
pub struct Image {
    pub bytes: Vec<u8>,
    pub digest: Digest,
    pub layer: Digest,
}

/// What a client of a registry does.
impl Site {
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
