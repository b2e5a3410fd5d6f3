//! What the consumer's proxy needs of the addresses of icons and command binaries (universe.md 7.5).

use std::collections::BTreeSet;

use bundle::json::Json;
use http::StatusCode;

use crate::common::Answer;
use crate::common::site::Site;

/// Addresses that the proxy fetches: `images` and CLI binaries.
pub fn proxied(package: &Json) -> Vec<String> {
    let mut all = Vec::new();
    for (_, value) in package.at(&["resource", "images"]).map_or(&[][..], Json::entries) {
        let items = if let Json::Array(items) = value { items.as_slice() } else { std::slice::from_ref(value) };
        all.extend(items.iter().filter_map(Json::as_str).map(str::to_owned));
    }
    for (_, system) in package.at(&["resource", "cli", "binaries"]).map_or(&[][..], Json::entries) {
        all.extend(system.at(&["x86-64", "url"]).and_then(Json::as_str).map(str::to_owned));
    }
    all
}

/// What the proxy would refuse of an address: it is put into a query unescaped.
pub fn check_address(address: &str) -> Result<(), String> {
    let kept = |c: char| c.is_ascii_alphanumeric() || "-._~:/?@!$'()*,=".contains(c);
    match address.chars().find(|c| !kept(*c)) {
        Some(c) => Err(format!("{address} has {c:?}, which changes in a query")),
        None => Ok(()),
    }
}

/// What the proxy would refuse of the answer to that address.
pub fn check_answer(address: &str, answer: &Answer) -> Result<(), String> {
    if answer.status != StatusCode::OK {
        return Err(format!("{address}: status {}", answer.status));
    }
    let kind = answer.header("content-type").split(';').next().unwrap_or_default();
    let token =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c));
    if !kind.split_once('/').is_some_and(|(a, b)| token(a) && token(b)) {
        return Err(format!("{address}: Content-Type {kind:?}"));
    }
    if answer.headers.contains_key("transfer-encoding") || answer.headers.contains_key("content-encoding") {
        return Err(format!("{address}: encoded"));
    }
    match answer.header("content-length").parse::<usize>() {
        Ok(length) if length > 0 && length == answer.body.len() => {}
        other => return Err(format!("{address}: Content-Length {other:?}")),
    }
    let name = address.rsplit('/').next().unwrap_or_default();
    let right = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if right { Ok(()) } else { Err(format!("{address}: no name for Content-Disposition")) }
}

/// Fetches everything that a package's addresses on this registry lead to, but for what was fetched before.
pub async fn fetch_all(
    site: &Site,
    package: &Json,
    origin: &str,
    fetched: &mut BTreeSet<String>,
) -> Result<(), String> {
    for address in proxied(package) {
        check_address(&address)?;
        let path = address.strip_prefix(origin).ok_or_else(|| format!("{address} is elsewhere"))?;
        if fetched.insert(path.to_owned()) {
            check_answer(&address, &site.get(path).await)?;
        }
    }
    for (_, value) in package.at(&["resource", "assets", "uris"]).map_or(&[][..], Json::entries) {
        let Some(path) = value.as_str().filter(|address| !address.is_empty()) else { continue };
        let path = path.strip_prefix(origin).ok_or_else(|| format!("{path} is elsewhere"))?;
        if fetched.insert(path.to_owned()) {
            let answer = site.get(path).await;
            let length = answer.header("content-length").to_owned();
            if answer.status != StatusCode::OK || length != answer.body.len().to_string() {
                return Err(format!("{path}: {}", answer.status));
            }
        }
    }
    for (_, value) in package.at(&["resource", "assets", "container", "docker"]).map_or(&[][..], Json::entries) {
        let image = value.as_str().unwrap_or_default();
        let (name, digest) = image.split_once('@').ok_or_else(|| format!("{image} has no digest"))?;
        let (_, repository) = name.split_once('/').ok_or_else(|| format!("{image} has no host"))?;
        let repository = repository.rsplit_once(':').map_or(repository, |(repository, _)| repository);
        let path = format!("/v2/{repository}/manifests/{digest}");
        if fetched.insert(path.clone()) && site.status(&path).await != 200 {
            return Err(format!("{image} is not there"));
        }
    }
    Ok(())
}
