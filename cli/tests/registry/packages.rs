//! Packages to bring.

use std::fs;
use std::path::{Path, PathBuf};

use bundle::digest::sha256;
use serde_json::{Value, json};

use crate::program::{hex, succeed};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An OCI layout `layout` with the image `acme/web:1` of these layers.
fn layout(folder: &Path, layers: &[&[u8]]) {
    let descriptor =
        |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()});
    let digests: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": digests}});
    let config = config.to_string().into_bytes();
    let listed: Vec<Value> =
        layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config), "layers": listed});
    let manifest = manifest.to_string().into_bytes();
    let mut target = descriptor(MANIFEST, &manifest);
    target["annotations"] = json!({"org.opencontainers.image.ref.name": "acme/web:1"});
    let blobs = folder.join("layout/blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in layers.iter().copied().chain([config.as_slice(), manifest.as_slice()]) {
        fs::write(blobs.join(hex(blob)), blob).unwrap();
    }
    fs::write(folder.join("layout/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [target]});
    fs::write(folder.join("layout/index.json"), index.to_string()).unwrap();
}

/// The file `<name>-<version>.dcos` with these files, and an image of these layers unless there are none.
pub fn built(folder: &Path, name: &str, version: &str, files: &[&[u8]], layers: &[&[u8]]) -> PathBuf {
    let mut uris = serde_json::Map::new();
    for (index, content) in files.iter().enumerate() {
        let file = format!("{name}-{index}.bin");
        fs::write(folder.join(&file), content).unwrap();
        uris.insert(format!("f{index}"), json!(file));
    }
    let mut assets = json!({"uris": uris});
    if !layers.is_empty() {
        layout(folder, layers);
        assets["container"] = json!({"docker": {"main": "acme/web:1"}});
    }
    let definition = json!({"packagingVersion": "4.0", "name": name, "version": version, "maintainer": "m", "description": "Größe",
        "tags": [], "resource": {"assets": assets}});
    fs::write(folder.join("definition.json"), definition.to_string()).unwrap();
    let mut arguments = vec!["registry", "build", "--build-definition-file=definition.json"];
    if !layers.is_empty() {
        arguments.push("--images=oci:layout");
    }
    succeed(folder, &arguments);
    folder.join(format!("{name}-{version}.dcos"))
}
