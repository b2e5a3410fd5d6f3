//! What the consumer takes as a document (universe.md 2, 3, 4 and 7.3, second table), and the schemas besides.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bundle::json::Json;

type Checked = Result<(), String>;

/// Keys of a package by the first packaging version that has them; `releaseVersion` is there in all.
const KEYS: [(&str, u32); 23] = [
    ("packagingVersion", 2),
    ("name", 2),
    ("version", 2),
    ("releaseVersion", 2),
    ("maintainer", 2),
    ("description", 2),
    ("tags", 2),
    ("selected", 2),
    ("scm", 2),
    ("website", 2),
    ("framework", 2),
    ("preInstallNotes", 2),
    ("postInstallNotes", 2),
    ("postUninstallNotes", 2),
    ("licenses", 2),
    ("marathon", 2),
    ("config", 2),
    ("resource", 2),
    ("minDcosReleaseVersion", 3),
    ("lastUpdated", 3),
    ("hasKnownIssues", 3),
    ("upgradesFrom", 4),
    ("downgradesTo", 4),
];

/// Reads a document labelled with a version.
pub fn read(text: &[u8], version: &str) -> Result<Vec<Json>, String> {
    let document = Json::parse(text).map_err(|error| error.to_string())?;
    match document.entries() {
        [(key, Json::Array(packages))] if key == "packages" => {
            for package in packages {
                check(package, version).map_err(|why| format!("{why} in {:.300}", package.to_string()))?;
            }
            Ok(packages.clone())
        }
        _ => Err("not one object with the one key packages".to_owned()),
    }
}

fn check(package: &Json, version: &str) -> Checked {
    let packaging = match text(package, "packagingVersion")? {
        "2.0" => 2,
        "3.0" => 3,
        "4.0" => 4,
        "5.0" => 5,
        other => return Err(format!("packagingVersion {other}")),
    };
    let most = match version {
        "v3" => 3,
        "v4" => 4,
        _ => 5,
    };
    if packaging > most {
        return Err(format!("packagingVersion {packaging}.0 in a document of {version}"));
    }
    for (key, _) in package.entries() {
        let known = KEYS.iter().any(|(known, since)| known == key && packaging >= *since);
        let managed = key == "manager" && packaging == 5;
        if !(known || managed) {
            return Err(format!("key {key}"));
        }
    }
    for key in ["name", "version", "maintainer", "description"] {
        text(package, key)?;
    }
    release_version(package.get("releaseVersion"))?;
    for tag in strings(package.get("tags").ok_or("tags")?, "tags")? {
        if tag.is_empty() || tag.contains(char::is_whitespace) {
            return Err(format!("tag {tag:?}"));
        }
    }
    for key in ["upgradesFrom", "downgradesTo"] {
        present(package, key).map_or(Ok(()), |list| strings(list, key).map(drop))?;
    }
    for key in ["framework", "hasKnownIssues", "selected"] {
        if !matches!(present(package, key), None | Some(Json::Bool(_))) {
            return Err(format!("{key} is no boolean"));
        }
    }
    for key in ["scm", "website", "preInstallNotes", "postInstallNotes", "postUninstallNotes"] {
        present(package, key).map_or(Ok(()), |_| text(package, key).map(drop))?;
    }
    last_updated(present(package, "lastUpdated"))?;
    present(package, "minDcosReleaseVersion")
        .map_or(Ok(()), |_| dcos_version(text(package, "minDcosReleaseVersion")?))?;
    marathon(present(package, "marathon"), packaging)?;
    if !matches!(present(package, "config"), None | Some(Json::Object(_))) {
        return Err("config is no object".to_owned());
    }
    licenses(present(package, "licenses"))?;
    if let Some(manager) = present(package, "manager") {
        text(manager, "packageName")?;
    }
    present(package, "resource").map_or(Ok(()), resource)
}

/// `null` is the same as absent.
fn present<'a>(object: &'a Json, key: &str) -> Option<&'a Json> {
    object.get(key).filter(|value| !matches!(value, Json::Null))
}

fn text<'a>(object: &'a Json, key: &str) -> Result<&'a str, String> {
    object.get(key).and_then(Json::as_str).ok_or_else(|| format!("{key} is no string or missing"))
}

fn strings<'a>(list: &'a Json, what: &str) -> Result<Vec<&'a str>, String> {
    let Json::Array(items) = list else { return Err(format!("{what} is no list")) };
    items.iter().map(|item| item.as_str().ok_or_else(|| format!("{what} has something that is no string"))).collect()
}

fn release_version(value: Option<&Json>) -> Checked {
    match value {
        Some(Json::Number(digits)) if digits.parse::<i64>().is_ok_and(|number| number >= 0) => Ok(()),
        other => Err(format!("releaseVersion {other:?}")),
    }
}

fn last_updated(value: Option<&Json>) -> Checked {
    let whole = |digits: &str| {
        digits.parse::<i64>().is_ok() || digits.strip_suffix(".0").is_some_and(|whole| whole.parse::<i64>().is_ok())
    };
    match value {
        None => Ok(()),
        Some(Json::Number(digits)) if whole(digits) => Ok(()),
        Some(other) => Err(format!("lastUpdated {other}")),
    }
}

fn dcos_version(version: &str) -> Checked {
    let number = |text: &str| text.parse::<i32>().is_ok_and(|number| number.to_string() == text && number >= 0);
    let numbers = version.split_once('-').map_or(version, |(numbers, _)| numbers);
    if numbers.split('.').all(number) { Ok(()) } else { Err(format!("minDcosReleaseVersion {version}")) }
}

fn marathon(value: Option<&Json>, packaging: u32) -> Checked {
    let Some(marathon) = value else {
        return if packaging == 2 { Err("2.0 without marathon".to_owned()) } else { Ok(()) };
    };
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let template = text(marathon, "v2AppMustacheTemplate")?;
    GeneralPurpose::new(&STANDARD, lenient).decode(template).map(drop).map_err(|error| format!("template: {error}"))
}

fn licenses(value: Option<&Json>) -> Checked {
    let Some(list) = value else { return Ok(()) };
    let Json::Array(items) = list else { return Err("licenses is no list".to_owned()) };
    items.iter().try_for_each(|license| {
        text(license, "name")?;
        uri(text(license, "url")?)
    })
}

/// As a reader by RFC 2396 takes it: known characters, whole escapes, an authority that is one.
fn uri(address: &str) -> Checked {
    let wrong = || Err(format!("{address:?} is no URI"));
    let bytes = address.as_bytes();
    for (index, c) in address.char_indices() {
        let escape = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        let right = match c {
            '%' => escape(index + 1) && escape(index + 2),
            _ if c.is_ascii() => c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=".contains(c),
            _ => !c.is_whitespace() && !c.is_control(),
        };
        if !right {
            return wrong();
        }
    }
    if address.contains("://") && url::Url::parse(address).is_err() { wrong() } else { Ok(()) }
}

fn resource(resource: &Json) -> Checked {
    if let Some(assets) = present(resource, "assets") {
        if let Some(uris) = present(assets, "uris") {
            for (alias, value) in object(uris, "uris")? {
                // The Universe has empty addresses.
                let address = value.as_str().ok_or_else(|| format!("uris.{alias} is no string"))?;
                uri(address)?;
            }
        }
        if let Some(container) = present(assets, "container") {
            let docker = present(container, "docker").ok_or("container without docker")?;
            for (alias, value) in object(docker, "docker")? {
                value.as_str().ok_or_else(|| format!("docker.{alias} is no string"))?;
            }
        }
    }
    if let Some(images) = present(resource, "images") {
        for (key, value) in object(images, "images")? {
            match key.as_str() {
                "icon-small" | "icon-medium" | "icon-large" => uri(value.as_str().ok_or_else(|| key.clone())?)?,
                "screenshots" => strings(value, key)?.into_iter().try_for_each(uri)?,
                other => return Err(format!("images.{other}")),
            }
        }
    }
    present(resource, "cli").and_then(|cli| present(cli, "binaries")).map_or(Ok(()), binaries)
}

fn binaries(binaries: &Json) -> Checked {
    for (system, architectures) in object(binaries, "binaries")? {
        let binary = present(architectures, "x86-64").ok_or_else(|| format!("{system} without x86-64"))?;
        let kind = text(binary, "kind")?;
        if !matches!(kind, "executable" | "zip") {
            return Err(format!("kind {kind}"));
        }
        uri(text(binary, "url")?)?;
        let Some(Json::Array(hashes)) = binary.get("contentHash") else { return Err("contentHash".to_owned()) };
        for hash in hashes {
            text(hash, "value")?;
            if text(hash, "algo")? != "sha256" {
                return Err("contentHash.algo".to_owned());
            }
        }
    }
    Ok(())
}

fn object<'a>(value: &'a Json, what: &str) -> Result<&'a [(String, Json)], String> {
    if matches!(value, Json::Object(_)) { Ok(value.entries()) } else { Err(format!("{what} is no object")) }
}
