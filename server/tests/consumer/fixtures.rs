//! Real packages as bundles that are made on the spot: every file and image that they name is there, with content of ours.
//! Nothing is fetched.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use serde_json::Value;

use crate::common::bundles::Package;
use crate::common::skip::fixtures;

/// Every fixture; `None` where there are none.
pub fn packages() -> Option<Vec<Package>> {
    let mut found = Vec::new();
    directories(&fixtures()?, &mut found);
    Some(found.iter().map(|directory| package(directory)).collect())
}

fn directories(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("package.json").is_file() {
        found.push(folder.to_owned());
        return;
    }
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().filter(|path| path.is_dir()).for_each(|path| directories(path, found));
}

fn package(directory: &Path) -> Package {
    let part =
        |name: &str| fs::read(directory.join(name)).ok().map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap());
    let mut metadata = part("package.json").unwrap();
    metadata.as_object_mut().unwrap().shift_remove("selected");
    for (key, name) in [("config", "config.json"), ("command", "command.json"), ("resource", "resource.json")] {
        if let Some(value) = part(name) {
            metadata[key] = value;
        }
    }
    if let Ok(template) = fs::read(directory.join("marathon.json.mustache")) {
        let template = base64::engine::general_purpose::STANDARD.encode(template);
        metadata["marathon"] = serde_json::json!({ "v2AppMustacheTemplate": template });
    }
    let mut package = Package::of(metadata.clone());
    let mut resource = metadata.get("resource").cloned().unwrap_or_default();
    let resource = &mut resource;
    for pointer in ["/assets/uris", "/images"] {
        let Some(Value::Object(values)) = resource.pointer_mut(pointer) else { continue };
        values.values_mut().for_each(|value| match value {
            Value::Array(items) => items.iter_mut().for_each(|item| bring_in(item, &mut package)),
            value => bring_in(value, &mut package),
        });
    }
    for system in ["darwin", "linux", "windows"] {
        if let Some(url) = resource.pointer_mut(&format!("/cli/binaries/{system}/x86-64/url")) {
            bring_in(url, &mut package);
        }
    }
    let images = resource.pointer("/assets/container/docker").and_then(Value::as_object).cloned().unwrap_or_default();
    if !resource.is_null() {
        metadata["resource"] = resource.clone();
    }
    package.metadata = metadata;
    for (alias, reference) in images {
        let reference = reference.as_str().unwrap();
        package = package.image(&alias, reference, format!("layer of {reference}").as_bytes());
    }
    package
}

/// Puts an entry of the bundle in the place of an address.
fn bring_in(address: &mut Value, package: &mut Package) {
    let text = address.as_str().unwrap();
    if text.is_empty() {
        return;
    }
    let last = text.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = last.chars().map(plain).collect();
    let name = name.trim_start_matches('.');
    *address = Value::from(
        package.entry(if name.is_empty() { "file" } else { name }, format!("what is at {text}").as_bytes()),
    );
}
