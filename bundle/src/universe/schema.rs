//! The rules of package documents, checked by hand so that every message names its place and what would be right.

use url::Url;

use super::DcosVersion;
use crate::json::Json;
use crate::reference::is_sha256_hex;

/// Which document is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// A build definition: local references and file paths are allowed.
    Definition,
    /// Metadata: everything in place, addresses are entries of the bundle or `http(s)` URLs.
    Metadata,
}

/// A broken rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// JSON path: `$.resource.images.icon-small`.
    pub path: String,
    /// What the rule is.
    pub rule: String,
}

type Checked = Result<(), Violation>;

/// Longest name and version, so that a coordinate code fits into a file name.
const LONGEST: usize = 63;

/// Most images of one package; real ones have up to 19.
const MOST_IMAGES: usize = 1000;

/// The packaging versions that are read.
pub const PACKAGING_VERSIONS: [&str; 3] = ["3.0", "4.0", "5.0"];

const REQUIRED: [&str; 6] = ["packagingVersion", "name", "version", "maintainer", "description", "tags"];
const STRINGS: [&str; 7] =
    ["maintainer", "description", "scm", "website", "preInstallNotes", "postInstallNotes", "postUninstallNotes"];

/// Checks a document whose `packagingVersion` is one of [`PACKAGING_VERSIONS`].
///
/// # Errors
/// The first [`Violation`], in the order of the document's keys.
pub fn check(document: &Json, packaging_version: &str, form: Form) -> Checked {
    object(document, "$")?;
    for key in REQUIRED {
        if document.get(key).is_none() {
            return broken("$", format!("the key \"{key}\" is missing"));
        }
    }
    for (key, value) in document.entries() {
        package_key(key, value, packaging_version, form)?;
    }
    Ok(())
}

fn package_key(key: &str, value: &Json, packaging_version: &str, form: Form) -> Checked {
    let path = &child("$", key);
    let since4 = packaging_version != "3.0";
    match key {
        "packagingVersion" => string(value, path).map(drop),
        "name" => matching(
            value,
            path,
            is_package_name,
            "must be lower-case letters, digits and -, at least two, beginning with a letter, not ending in -, at most 63",
        ),
        "version" => {
            matching(value, path, is_package_version, "must be letters, digits, . and -, at least one and at most 63")
        }
        _ if STRINGS.contains(&key) => string(value, path).map(drop),
        "tags" => each(value, path, |item, path| matching(item, path, is_tag, "must not be empty or have white space")),
        "framework" | "hasKnownIssues" => boolean(value, path),
        "licenses" => each(value, path, |item, path| license(item, path, form)),
        "minDcosReleaseVersion" => {
            let right = |text: &str| !text.contains('-') && DcosVersion::parse(text).is_some();
            matching(value, path, right, "must be numbers up to 2147483647 without leading zeros, separated by dots")
        }
        "lastUpdated" => match value {
            Json::Number(digits) if is_whole(digits) => Ok(()),
            _ => broken(path, "must be a whole number, Unix seconds"),
        },
        "upgradesFrom" | "downgradesTo" if since4 => each(value, path, |item, path| string(item, path).map(drop)),
        "manager" if packaging_version == "5.0" => manager(value, path),
        "command" if !since4 => {
            fields(value, path, &["pip"], &["pip"])?;
            value
                .get("pip")
                .map_or(Ok(()), |pip| each(pip, &child(path, "pip"), |item, path| string(item, path).map(drop)))
        }
        "marathon" => marathon(value, path, form),
        "config" => {
            if is_local(value, form) {
                Ok(())
            } else {
                no_path_without_mark(value, path, form)?;
                object(value, path)
            }
        }
        "resource" => {
            if is_local(value, form) {
                Ok(())
            } else {
                no_path_without_mark(value, path, form)?;
                resource(value, path, form)
            }
        }
        _ => broken(path, format!("this key is not allowed in packagingVersion {packaging_version}")),
    }
}

/// A string where an object belongs is mostly a path without its `@`.
fn no_path_without_mark(value: &Json, path: &str, form: Form) -> Checked {
    match value {
        Json::String(_) if form == Form::Definition => broken(path, "must be an object, or @ and the path of a file"),
        _ => Ok(()),
    }
}

fn license(value: &Json, path: &str, form: Form) -> Checked {
    fields(value, path, &["name", "url"], &["name", "url"])?;
    string_at(value, path, "name")?;
    let path = &child(path, "url");
    match value.get("url") {
        Some(url) if form == Form::Metadata => matching(url, path, is_uri, "must be a URI"),
        Some(url) => matching(url, path, |url| !url.is_empty(), "must not be empty"),
        None => Ok(()),
    }
}

fn manager(value: &Json, path: &str) -> Checked {
    fields(value, path, &["packageName", "minPackageVersion"], &["packageName"])?;
    if let Some(name) = value.get("packageName") {
        matching(name, &child(path, "packageName"), is_package_name, "must be the name of a package")?;
    }
    value.get("minPackageVersion").map_or(Ok(()), |version| {
        matching(version, &child(path, "minPackageVersion"), is_package_version, "must be the version of a package")
    })
}

fn marathon(value: &Json, path: &str, form: Form) -> Checked {
    const TEMPLATE: &str = "v2AppMustacheTemplate";
    fields(value, path, &[TEMPLATE], &[TEMPLATE])?;
    match value.get(TEMPLATE) {
        Some(template) if !is_local(template, form) => {
            let rule = "must be base64 with the standard alphabet and padding, without line breaks, not empty";
            matching(template, &child(path, TEMPLATE), is_base64, rule)
        }
        _ => Ok(()),
    }
}

/// Checks `resource`.
///
/// # Errors
/// The first [`Violation`].
pub fn resource(value: &Json, path: &str, form: Form) -> Checked {
    fields(value, path, &["assets", "images", "cli"], &[])?;
    if let Some(assets) = value.get("assets") {
        assets_fields(assets, &child(path, "assets"), form)?;
    }
    if let Some(images) = value.get("images") {
        images_fields(images, &child(path, "images"), form)?;
    }
    value.get("cli").map_or(Ok(()), |cli| cli_fields(cli, &child(path, "cli"), form))
}

fn assets_fields(assets: &Json, path: &str, form: Form) -> Checked {
    fields(assets, path, &["uris", "container"], &[])?;
    if let Some(uris) = assets.get("uris") {
        each_value(uris, &child(path, "uris"), |uri, path| {
            // Real packages have empty addresses here.
            if string(uri, path)?.is_empty() { Ok(()) } else { address(uri, path, form) }
        })?;
    }
    let Some(container) = assets.get("container") else { return Ok(()) };
    let path = &child(path, "container");
    fields(container, path, &["docker"], &[])?;
    let Some(docker) = container.get("docker") else { return Ok(()) };
    let path = &child(path, "docker");
    if docker.entries().len() > MOST_IMAGES {
        return broken(path, format!("must have at most {MOST_IMAGES} images"));
    }
    each_value(docker, path, |image, path| {
        let reference = string(image, path)?;
        crate::reference::Reference::parse(reference).map(drop).or_else(|error| broken(path, error.to_string()))
    })
}

fn images_fields(images: &Json, path: &str, form: Form) -> Checked {
    const ICONS: [&str; 3] = ["icon-small", "icon-medium", "icon-large"];
    fields(images, path, &["icon-small", "icon-medium", "icon-large", "screenshots"], &[])?;
    for icon in ICONS {
        images.get(icon).map_or(Ok(()), |value| address(value, &child(path, icon), form))?;
    }
    let screenshots = images.get("screenshots");
    screenshots.map_or(Ok(()), |list| each(list, &child(path, "screenshots"), |item, path| address(item, path, form)))
}

fn cli_fields(cli: &Json, path: &str, form: Form) -> Checked {
    const SYSTEMS: [&str; 3] = ["darwin", "linux", "windows"];
    fields(cli, path, &["binaries"], &["binaries"])?;
    let Some(binaries) = cli.get("binaries") else { return Ok(()) };
    let path = &child(path, "binaries");
    fields(binaries, path, &SYSTEMS, &[])?;
    if binaries.entries().is_empty() {
        return broken(path, "must have at least one of darwin, linux, windows");
    }
    for (system, architectures) in binaries.entries() {
        let path = &child(path, system);
        fields(architectures, path, &["x86-64"], &["x86-64"])?;
        architectures.get("x86-64").map_or(Ok(()), |binary| binary_fields(binary, &child(path, "x86-64"), form))?;
    }
    Ok(())
}

fn binary_fields(binary: &Json, path: &str, form: Form) -> Checked {
    let all = ["kind", "url", "contentHash"];
    fields(binary, path, &all, &all)?;
    if let Some(kind) = binary.get("kind") {
        let known = |kind: &str| matches!(kind, "executable" | "zip");
        matching(kind, &child(path, "kind"), known, "must be \"executable\" or \"zip\"")?;
    }
    binary.get("url").map_or(Ok(()), |url| address(url, &child(path, "url"), form))?;
    let path = &child(path, "contentHash");
    let Some(hashes) = binary.get("contentHash") else { return Ok(()) };
    each(hashes, path, |hash, path| {
        fields(hash, path, &["algo", "value"], &["algo", "value"])?;
        if let Some(algorithm) = hash.get("algo") {
            matching(algorithm, &child(path, "algo"), |text| text == "sha256", "must be \"sha256\"")?;
        }
        string_at(hash, path, "value")
    })?;
    if hashes.items().is_empty() { broken(path, "must have at least one hash") } else { Ok(()) }
}

/// An address of a file.
fn address(value: &Json, path: &str, form: Form) -> Checked {
    match form {
        Form::Definition => matching(value, path, |text| !text.is_empty(), "must not be empty"),
        Form::Metadata => {
            let right = |text: &str| entry_path(text).is_some() || is_http_url(text);
            matching(value, path, right, "must be resources/<sha256>/<file name> or an http or https URL")
        }
    }
}

/// Digest (hex) and file name of an address that points into the bundle.
#[must_use]
pub fn entry_path(address: &str) -> Option<(&str, &str)> {
    let (hex, name) = address.strip_prefix("resources/")?.split_once('/')?;
    (is_sha256_hex(hex) && is_file_name(name)).then_some((hex, name))
}

/// Whether a text is a file name of a bundle: `[A-Za-z0-9._-]+`, at most 128, no dot first.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.bytes().all(known)
}

fn is_local(value: &Json, form: Form) -> bool {
    form == Form::Definition && value.as_str().is_some_and(|text| text.len() > 1 && text.starts_with('@'))
}

/// `^[a-z][a-z0-9-]*[a-z0-9]$`, at most 63.
#[must_use]
pub fn is_package_name(name: &str) -> bool {
    let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (2..=LONGEST).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(known)
}

/// `^[-a-zA-Z0-9.]+$`, at most 63.
#[must_use]
pub fn is_package_version(version: &str) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
    (1..=LONGEST).contains(&version.len()) && version.bytes().all(known)
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty() && !tag.contains(|c: char| c.is_whitespace() || c == '\u{feff}')
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

/// Whether a number is whole and fits into 64 bits, `1569283200.0` included.
fn is_whole(digits: &str) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    digits.parse::<i64>().is_ok()
        || digits.parse::<f64>().is_ok_and(|number| number.fract() == 0.0 && number.abs() <= EXACT)
}

fn is_http_url(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://")) && is_uri(text)
}

/// Whether a text is a URI that the repository's consumer reads: RFC 3986's characters (and non-ASCII ones), whole escapes.
fn is_uri(text: &str) -> bool {
    let known = |c: char| {
        c.is_ascii_alphanumeric()
            || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
            || (!c.is_ascii() && !c.is_whitespace() && !c.is_control())
    };
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let escapes = text.split('%').skip(1).all(|rest| hex(rest.as_bytes().first()) && hex(rest.as_bytes().get(1)));
    let parses = match text.split_once(':') {
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => !rest.is_empty() && Url::parse(text).is_ok(),
        _ => true,
    };
    let known = text.chars().all(known) && escapes && text.matches('#').count() < 2;
    !text.is_empty() && known && parses && !path_of(text).contains(['[', ']'])
}

/// What is between the authority and the query: brackets are an address' there, and only there.
fn path_of(uri: &str) -> &str {
    let end = uri.find(['?', '#']).unwrap_or(uri.len());
    let before = uri.get(..end).unwrap_or_default();
    match before.split_once("//") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default()
        }
        _ => before,
    }
}

fn object(value: &Json, path: &str) -> Checked {
    match value {
        Json::Object(_) => Ok(()),
        _ => broken(path, "must be an object"),
    }
}

fn fields(value: &Json, path: &str, allowed: &[&str], required: &[&str]) -> Checked {
    object(value, path)?;
    if let Some((key, _)) = value.entries().iter().find(|(key, _)| !allowed.contains(&key.as_str())) {
        return broken(&child(path, key), format!("this key is not allowed here, only {}", allowed.join(", ")));
    }
    match required.iter().find(|key| value.get(key).is_none()) {
        Some(key) => broken(path, format!("the key \"{key}\" is missing")),
        None => Ok(()),
    }
}

fn each(value: &Json, path: &str, rule: impl Fn(&Json, &str) -> Checked) -> Checked {
    let Json::Array(items) = value else { return broken(path, "must be a list") };
    items.iter().enumerate().try_for_each(|(index, item)| rule(item, &format!("{path}[{index}]")))
}

fn each_value(value: &Json, path: &str, rule: impl Fn(&Json, &str) -> Checked) -> Checked {
    object(value, path)?;
    value.entries().iter().try_for_each(|(key, item)| rule(item, &child(path, key)))
}

fn string<'a>(value: &'a Json, path: &str) -> Result<&'a str, Violation> {
    value.as_str().map_or_else(|| broken(path, "must be a string"), Ok)
}

fn string_at(value: &Json, path: &str, key: &str) -> Checked {
    value.get(key).map_or(Ok(()), |value| string(value, &child(path, key)).map(drop))
}

fn boolean(value: &Json, path: &str) -> Checked {
    if matches!(value, Json::Bool(_)) { Ok(()) } else { broken(path, "must be true or false") }
}

fn matching(value: &Json, path: &str, right: impl Fn(&str) -> bool, rule: &str) -> Checked {
    let text = string(value, path)?;
    let shown: String = text.chars().take(80).collect();
    if right(text) { Ok(()) } else { broken(path, format!("is \"{}\", {rule}", shown.escape_debug())) }
}

fn child(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if plain { format!("{path}.{key}") } else { format!("{path}[\"{}\"]", key.escape_debug()) }
}

fn broken<T>(path: &str, rule: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { path: path.to_owned(), rule: rule.into() })
}
