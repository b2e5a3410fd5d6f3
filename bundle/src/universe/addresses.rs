//! The places of a package document that hold addresses of files.

use crate::json::Json;

const ICONS: [&str; 3] = ["icon-small", "icon-medium", "icon-large"];
const SYSTEMS: [&str; 3] = ["darwin", "linux", "windows"];

/// Every address of a file but empty ones, in the order in which `build` fetches them: assets, icons, screenshots, CLI binaries.
#[must_use]
pub fn file_addresses(document: &Json) -> Vec<&str> {
    let text = |value: &'_ Json| value.as_str().is_some_and(|text| !text.is_empty());
    let Some(resource) = document.get("resource") else { return Vec::new() };
    let uris = resource.at(&["assets", "uris"]).map_or(&[][..], Json::entries).iter().map(|(_, value)| value);
    let icons = ICONS.iter().filter_map(|icon| resource.at(&["images", icon]));
    let screenshots = resource.at(&["images", "screenshots"]).map_or(&[][..], Json::items);
    let binaries = SYSTEMS.iter().filter_map(|system| resource.at(&["cli", "binaries", system, "x86-64", "url"]));
    let all = uris.chain(icons).chain(screenshots).chain(binaries);
    all.filter(|value| text(value)).filter_map(Json::as_str).collect()
}

/// Replaces every address of a file, in the order of the document's own keys.
pub fn rewrite_files(document: &mut Json, rewrite: &mut dyn FnMut(&str) -> String) {
    let Some(resource) = document.get_mut("resource") else { return };
    if let Some(uris) = resource.get_mut("assets").and_then(|assets| assets.get_mut("uris")) {
        uris.entries_mut().iter_mut().for_each(|(_, value)| replace(value, rewrite));
    }
    if let Some(images) = resource.get_mut("images") {
        for (_, value) in images.entries_mut() {
            match value {
                Json::Array(screenshots) => screenshots.iter_mut().for_each(|value| replace(value, rewrite)),
                icon => replace(icon, rewrite),
            }
        }
    }
    if let Some(binaries) = resource.get_mut("cli").and_then(|cli| cli.get_mut("binaries")) {
        for (_, system) in binaries.entries_mut() {
            if let Some(url) = system.get_mut("x86-64").and_then(|binary| binary.get_mut("url")) {
                replace(url, rewrite);
            }
        }
    }
}

/// Replaces every image reference: alias and reference in, name out.
pub fn rewrite_images(document: &mut Json, rewrite: &mut dyn FnMut(&str, &str) -> String) {
    let container = document
        .get_mut("resource")
        .and_then(|resource| resource.get_mut("assets"))
        .and_then(|assets| assets.get_mut("container"))
        .and_then(|container| container.get_mut("docker"));
    let Some(docker) = container else { return };
    for (alias, value) in docker.entries_mut() {
        replace(value, &mut |reference| rewrite(alias, reference));
    }
}

fn replace(value: &mut Json, rewrite: &mut dyn FnMut(&str) -> String) {
    if let Json::String(text) = value
        && !text.is_empty()
    {
        *text = rewrite(text);
    }
}

/// Address and expected sha256 of every CLI binary.
#[must_use]
pub fn content_hashes(document: &Json) -> Vec<(&str, &str)> {
    let binaries = document.at(&["resource", "cli", "binaries"]).map_or(&[][..], Json::entries);
    let mut all = Vec::new();
    for (_, system) in binaries {
        let Some(binary) = system.get("x86-64") else { continue };
        let Some(address) = binary.get("url").and_then(Json::as_str) else { continue };
        let hashes = binary.get("contentHash").map_or(&[][..], Json::items);
        all.extend(hashes.iter().filter_map(|hash| Some((address, hash.get("value")?.as_str()?))));
    }
    all
}
