//! Step 2, pure: what a Package asks for, checked.

use std::sync::Arc;

use api::Credentials;
use crds::{Package, PackageRegistry, SecretReference, UrlSource, condition, reason};
use kube::ResourceExt;
use url::Url;

use super::{
    build::declared_by,
    dereference::{Dereferenced, SecretData, Secrets},
    error::{
        AlreadyDeclaredSnafu, Error, InvalidSpecSnafu, RegistryLeavingSnafu, RegistryMissingSnafu,
        RegistryNotServingSnafu, SecretInvalidSnafu,
    },
    status::declared_generation,
};
use crate::condition::{find, is_true};

/// A registry that can be asked.
#[derive(Clone, Debug)]
pub struct ServingRegistry {
    /// The object.
    pub object: Arc<PackageRegistry>,
    /// `host` or `host:port`, as image references begin.
    pub authority: String,
    /// Changes when the registry was away, is another one or has other settings.
    pub marker: String,
}

/// The registry of a Package, if it serves.
///
/// # Errors
/// When it isn't there, is going, or doesn't serve.
pub fn registry(package: &Package, found: &Dereferenced) -> Result<ServingRegistry, Error> {
    let name = package.spec.registry_ref.name.as_str();
    let Some(object) = &found.registry else { return RegistryMissingSnafu { name }.fail() };
    if object.metadata.deletion_timestamp.is_some() {
        return RegistryLeavingSnafu { name }.fail();
    }
    serving(object)
}

/// `object` as one that can be asked.
///
/// # Errors
/// When it doesn't serve.
pub fn serving(object: &Arc<PackageRegistry>) -> Result<ServingRegistry, Error> {
    let name = object.name_any();
    let status = object.status.clone().unwrap_or_default();
    let condition = find(&status.conditions, condition::SERVING_READY);
    let url = status.url.as_deref().and_then(|url| Url::parse(url).ok());
    let authority = url.as_ref().and_then(authority);
    // While one of several pods is away or exchanged, the others answer.
    let answers = is_true(&status.conditions, condition::SERVING_READY)
        || status.instances.as_ref().is_some_and(|instances| instances.desired > 1 && instances.ready > 0);
    match (answers, authority, condition) {
        (true, Some(authority), Some(condition)) => Ok(ServingRegistry {
            marker: format!(
                "{}/{}/{}/{authority}",
                object.uid().unwrap_or_default(),
                object.metadata.generation.unwrap_or_default(),
                condition.last_transition_time.0
            ),
            object: Arc::clone(object),
            authority,
        }),
        (_, _, condition) => {
            let detail = condition.map(|condition| condition.message.clone()).filter(|text| !text.is_empty());
            RegistryNotServingSnafu { name, detail }.fail()
        }
    }
}

/// Host, and port where it isn't the scheme's.
pub(super) fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Whether `package` has to give way to an older object that declares the same name and version.
///
/// # Errors
/// [`Error::AlreadyDeclared`] when it has to.
pub fn precedence(package: &Package, found: &Dereferenced) -> Result<(), Error> {
    let Some((name, version)) = known_coordinate(package) else { return Ok(()) };
    let older = found
        .siblings
        .iter()
        .filter(|other| is_older(other, package) && claims(other) && known_coordinate(other) == Some((name, version)))
        .min_by_key(|other| age(other));
    match older {
        None => Ok(()),
        Some(older) => AlreadyDeclaredSnafu { older: older.name_any(), name, version }.fail(),
    }
}

/// Name and version that an object's status has for its present spec.
fn known_coordinate(package: &Package) -> Option<(&str, &str)> {
    let status = package.status.as_ref()?;
    if declared_generation(package) != package.metadata.generation {
        return None;
    }
    Some((status.name.as_deref()?, status.version.as_deref()?))
}

/// Whether an object stands by its coordinate: published, on the way, or kept from it by a younger one.
fn claims(package: &Package) -> bool {
    if package.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let conditions = package.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    find(conditions, condition::PUBLISHED).is_some_and(|published| {
        published.status == "True"
            || matches!(published.reason.as_str(), reason::PROGRESSING | reason::ALREADY_DECLARED)
    })
}

/// Whether `one` was created before `other`; the uid decides within a second.
#[must_use]
pub fn is_older(one: &Package, other: &Package) -> bool {
    age(one) < age(other)
}

fn age(package: &Package) -> (Option<jiff::Timestamp>, String) {
    (package.metadata.creation_timestamp.as_ref().map(|time| time.0), package.uid().unwrap_or_default())
}

/// The sibling that the server means when it says `AlreadyDeclared`: its message names the one that declared it as
/// `<namespace>/<name>`, and the coordinate.
#[must_use]
pub fn rival<'a>(message: &str, found: &'a Dereferenced) -> Option<&'a Arc<Package>> {
    let words: Vec<&str> = message.split(|c: char| c.is_whitespace() || "\"'`,;()".contains(c)).collect();
    let says = |text: &str| words.iter().any(|word| *word == text || word.trim_end_matches(['.', ':']) == text);
    let standing = || found.siblings.iter().filter(|other| claims(other));
    standing().find(|other| says(&declared_by(other))).or_else(|| {
        standing().find(|other| known_coordinate(other).is_some_and(|(name, version)| says(name) && says(version)))
    })
}

/// A source that can be declared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValidSource {
    /// Address.
    pub url: String,
    /// Digest of the file, lower-case hex.
    pub sha256: Option<String>,
    /// For the source's host.
    pub credentials: Option<Credentials>,
    /// PEM certificates to trust for the source's host.
    pub ca_bundle: Option<String>,
}

/// The one source of a Package.
///
/// # Errors
/// When there is none.
pub fn source_of(package: &Package) -> Result<&UrlSource, Error> {
    match &package.spec.source.url {
        Some(source) => Ok(source),
        None => {
            InvalidSpecSnafu { field: "spec.source", problem: "exactly one source must be set: url or upload" }.fail()
        }
    }
}

/// Checks a source and what its Secrets hold.
///
/// # Errors
/// When a Secret is missing or lacks a key, or the address can't be one.
pub fn source(source: &UrlSource, secrets: &Secrets) -> Result<ValidSource, Error> {
    let usable = Url::parse(&source.url).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if usable.is_none() {
        let problem =
            "must be an http or https address without user and password; these go into a Secret named by secretRef";
        return InvalidSpecSnafu { field: "spec.source.url.url", problem }.fail();
    }
    Ok(ValidSource {
        url: source.url.clone(),
        sha256: source.sha256.clone(),
        credentials: credentials(source.secret_ref.as_ref(), secrets)?,
        ca_bundle: authorities(source.cert_secret_ref.as_ref(), secrets)?,
    })
}

fn credentials(reference: Option<&SecretReference>, secrets: &Secrets) -> Result<Option<Credentials>, Error> {
    const FIELD: &str = "spec.source.url.secretRef";
    let Some(reference) = reference else { return Ok(None) };
    let data = existing(FIELD, reference, secrets.credentials.as_ref())?;
    if let Some(token) = text(FIELD, reference, data, "token")? {
        return Ok(Some(Credentials::Bearer { token }));
    }
    match (text(FIELD, reference, data, "username")?, text(FIELD, reference, data, "password")?) {
        (Some(username), Some(password)) => Ok(Some(Credentials::Basic { username, password })),
        (None, Some(_)) => missing(FIELD, reference, "username"),
        (Some(_), None) => missing(FIELD, reference, "password"),
        (None, None) => {
            let problem =
                format!("Secret {} must have the keys username and password, or the key token", reference.name);
            SecretInvalidSnafu { field: FIELD, problem }.fail()
        }
    }
}

fn authorities(reference: Option<&SecretReference>, secrets: &Secrets) -> Result<Option<String>, Error> {
    const FIELD: &str = "spec.source.url.certSecretRef";
    let Some(reference) = reference else { return Ok(None) };
    let data = existing(FIELD, reference, secrets.authorities.as_ref())?;
    match text(FIELD, reference, data, "ca.crt")? {
        Some(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Ok(Some(pem)),
        Some(_) => {
            let problem = format!("the key ca.crt of Secret {} must hold certificates in PEM form", reference.name);
            SecretInvalidSnafu { field: FIELD, problem }.fail()
        }
        None => missing(FIELD, reference, "ca.crt"),
    }
}

fn existing<'a>(
    field: &'static str,
    reference: &SecretReference,
    data: Option<&'a Option<SecretData>>,
) -> Result<&'a SecretData, Error> {
    if let Some(Some(data)) = data {
        return Ok(data);
    }
    let problem = format!("there is no Secret {} in this namespace: create it, or correct the name", reference.name);
    SecretInvalidSnafu { field, problem }.fail()
}

fn text(
    field: &'static str,
    reference: &SecretReference,
    data: &SecretData,
    key: &str,
) -> Result<Option<String>, Error> {
    let Some(bytes) = data.get(key).filter(|bytes| !bytes.0.is_empty()) else { return Ok(None) };
    if let Ok(text) = std::str::from_utf8(&bytes.0) {
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let problem = format!("the key {key} of Secret {} must be text in UTF-8", reference.name);
    SecretInvalidSnafu { field, problem }.fail()
}

fn missing<T>(field: &'static str, reference: &SecretReference, key: &str) -> Result<T, Error> {
    SecretInvalidSnafu { field, problem: format!("Secret {} has no key {key}", reference.name) }.fail()
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
