//! A package with a file and an image, and bundles made of it.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use bundle::digest::sha256;
use bundle::model::Bundle;
use bundle::stream::{self, Limits, ReadError, Receipt, Sink};
use bundle::zip::ZipWriter;
use serde_json::{Value, json};

/// A sink in memory.
#[derive(Default)]
pub struct Memory {
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Sink for Memory {
    type Error = io::Error;

    fn blob(&mut self, body: &mut dyn Read) -> Result<Receipt, Self::Error> {
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes)?;
        let receipt = Receipt { digest: sha256(&bytes), size: bytes.len() as u64 };
        self.blobs.insert(receipt.digest.clone(), bytes);
        Ok(receipt)
    }

    fn read_back(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error> {
        let bytes = self.blobs.get(digest).ok_or_else(|| io::Error::other("not kept"))?;
        assert!(bytes.len() as u64 <= limit);
        Ok(bytes.clone())
    }
}

pub type Entries = Vec<(String, Vec<u8>)>;

pub fn hex(bytes: &[u8]) -> String {
    sha256(bytes).trim_start_matches("sha256:").to_owned()
}

/// Layer, config and manifest of an image for one platform.
pub struct SampleImage {
    pub layer: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

pub fn image(architecture: &str) -> SampleImage {
    let layer = format!("layer of {architecture}").into_bytes();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]},
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    SampleImage { layer, config, manifest }
}

pub fn blob_entry(bytes: &[u8]) -> (String, Vec<u8>) {
    (format!("images/blobs/sha256/{}", hex(bytes)), bytes.to_vec())
}

pub const FILE: &[u8] = b"what the service needs";

pub fn file_path() -> String {
    format!("resources/{}/need.txt", hex(FILE))
}

pub fn metadata() -> Value {
    json!({
        "packagingVersion": "4.0",
        "name": "sample",
        "version": "1.0-beta",
        "maintainer": "m@example.test",
        "description": "",
        "tags": [],
        "resource": {
            "assets": {"uris": {"need": file_path()}, "container": {"docker": {"main": "acme/web:1", "again": "acme/web:1"}}},
        },
    })
}

/// Entries of a whole bundle whose `images/index.json` has this target.
pub fn bundle_entries(target: &Value, blobs: &[&[u8]]) -> Entries {
    let mut named = target.clone();
    named["annotations"] = json!({"org.opencontainers.image.ref.name": "acme/web:1"});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [named]});
    let mut entries = vec![
        ("metadata.json".to_owned(), metadata().to_string().into_bytes()),
        ("manifest.json".to_owned(), br#"{"format":1,"built-by":"test 1"}"#.to_vec()),
        (file_path(), FILE.to_vec()),
        ("images/oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("images/index.json".to_owned(), index.to_string().into_bytes()),
    ];
    entries.extend(blobs.iter().map(|blob| blob_entry(blob)));
    entries
}

/// Entries of a whole bundle with an image for one platform.
pub fn whole() -> Entries {
    let SampleImage { layer, config, manifest } = image("amd64");
    bundle_entries(&descriptor(MANIFEST_TYPE, &manifest), &[&layer, &config, &manifest])
}

pub fn zipped(entries: &Entries) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        if matches!(name.as_str(), "metadata.json" | "manifest.json") {
            zip.deflated(name, content).unwrap();
        } else {
            zip.stored(name, content.len() as u64, &mut &content[..]).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

pub fn read(bytes: &[u8]) -> Result<Bundle, ReadError<io::Error>> {
    stream::read(bytes, &mut Memory::default(), &Limits::default())
}

/// Puts other content under a name, or a new entry behind the others.
pub fn with(mut entries: Entries, name: &str, content: impl Into<Vec<u8>>) -> Entries {
    let content = content.into();
    match entries.iter_mut().find(|(entry, _)| entry == name) {
        Some((_, old)) => *old = content,
        None => entries.push((name.to_owned(), content)),
    }
    entries
}

pub fn without(mut entries: Entries, name: &str) -> Entries {
    let before = entries.len();
    entries.retain(|(entry, _)| entry != name);
    assert_eq!(entries.len(), before - 1, "{name} was there");
    entries
}

/// A tar archive of these files.
pub fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A bundle that has its images as `docker save` writes them.
pub fn docker_bundle(archive: Vec<u8>) -> Entries {
    let mut entries = whole();
    entries.truncate(3);
    with(entries, "docker/images.tar", archive)
}

/// What older `docker save` writes, with these names.
pub fn legacy_archive(names: &str) -> Vec<u8> {
    let sample = image("amd64");
    let (id, config) = ("a".repeat(64), format!("{}.json", hex(&sample.config)));
    let manifest = format!(r#"[{{"Config":"{config}","RepoTags":{names},"Layers":["{id}/layer.tar"]}}]"#);
    tarred(&[
        (&format!("{id}/VERSION"), b"1.0"),
        (&format!("{id}/json"), b"{}"),
        (&format!("{id}/layer.tar"), &sample.layer),
        (&config, &sample.config),
        ("manifest.json", manifest.as_bytes()),
        ("repositories", b"{}"),
    ])
}
