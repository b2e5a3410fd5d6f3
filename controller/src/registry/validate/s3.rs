//! The bucket: what the spec leaves open, and whether what it refers to can be used. Pure.

use crds::{CaBundleKind, CaBundleReference, S3Storage, reason};
use snafu::{OptionExt, ensure};
use url::Url;

use super::{Error, InvalidSpecSnafu, Objection, credentials_file};
use crate::registry::dereference::BucketObjects;

/// Key of the credentials file in its Secret.
pub const CREDENTIALS_KEY: &str = "credentials";
/// Region of stores that have none, and of those whose address doesn't say it.
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket that the server can be pointed to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// Where in it.
    pub path: Option<String>,
    /// Address of the store; none: Amazon's.
    pub endpoint: Option<String>,
    /// Region that requests are signed for.
    pub region: String,
    /// Secret with the credentials file.
    pub credentials: Option<String>,
    /// Profile in that file.
    pub profile: String,
    /// Whether the bucket stands in the path of addresses.
    pub path_style: bool,
    /// Where the store's authorities are.
    pub ca_bundle: Option<CaBundleReference>,
    /// How the store encrypts.
    pub server_side_encryption: Option<String>,
    /// Whether clients fetch blobs from the store itself.
    pub redirect: bool,
    /// What of the referenced objects can't be used.
    pub objection: Option<Objection>,
}

/// Checks the spec against what it refers to. What is wrong with that is no error: the pods that run go on.
///
/// # Errors
/// [`Error::InvalidSpec`] with the field and what would be right.
pub(super) fn check(spec: &S3Storage, found: &BucketObjects) -> Result<S3, Error> {
    let endpoint = spec.endpoint.as_deref().map(endpoint).transpose()?;
    if let Some(path) = &spec.path {
        ensure!(
            path.split('/').all(|part| !matches!(part, "" | "." | "..")),
            InvalidSpecSnafu {
                field: "spec.storage.s3.path",
                problem: format!(
                    "{path:?} is no path in a bucket: write names with single slashes between them, as a/b"
                )
            }
        );
    }
    let profile = spec.profile.clone().unwrap_or_else(|| "default".to_owned());
    Ok(S3 {
        region: spec.region.clone().unwrap_or_else(|| region(endpoint.as_ref()).to_owned()),
        path_style: spec.force_path_style.unwrap_or_else(|| !endpoint.as_ref().is_none_or(is_amazon)),
        objection: credentials_objection(spec, &profile, found).or_else(|| ca_bundle_objection(spec, found)),
        bucket: spec.bucket.clone(),
        path: spec.path.clone(),
        endpoint: spec.endpoint.as_ref().map(|text| text.trim_end_matches('/').to_owned()),
        credentials: spec.credentials_secret_ref.as_ref().map(|reference| reference.name.clone()),
        profile,
        ca_bundle: spec.ca_bundle_ref.clone(),
        server_side_encryption: spec.server_side_encryption.clone(),
        redirect: spec.redirect,
    })
}

fn endpoint(text: &str) -> Result<Url, Error> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    Url::parse(text).ok().filter(plain).context(InvalidSpecSnafu {
        field: "spec.storage.s3.endpoint",
        problem: format!("{text:?} is no address of a store: write http or https, host and port alone, as https://minio.example.com:9000"),
    })
}

fn is_amazon(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// The region in a host of the form `s3.<region>.<domain>`. A Service of a cluster has that form, too, and no region.
fn region(endpoint: Option<&Url>) -> &str {
    let Some(host) = endpoint.and_then(Url::host_str) else { return DEFAULT_REGION };
    let labels: Vec<&str> = host.split('.').collect();
    match labels.as_slice() {
        ["s3", _, "svc", ..] => DEFAULT_REGION,
        // As the server reads it: a region's name has a hyphen, and s3.storage.example.com is somebody's own host.
        ["s3", "dualstack", region, _, _, ..] | ["s3", region, _, _, ..] if region.contains('-') => region,
        _ => DEFAULT_REGION,
    }
}

fn credentials_objection(spec: &S3Storage, profile: &str, found: &BucketObjects) -> Option<Objection> {
    let name = &spec.credentials_secret_ref.as_ref()?.name;
    let invalid = |problem: String| {
        let message = format!("spec.storage.s3.credentialsSecretRef: {problem}");
        Some(Objection { reason: reason::SECRET_INVALID, message })
    };
    let Some(data) = &found.credentials else {
        return invalid(format!("there is no Secret {name} in this namespace: create it, or correct the name"));
    };
    let Some(file) = data.get(CREDENTIALS_KEY) else {
        return invalid(format!(
            "Secret {name} has no key {CREDENTIALS_KEY}: put an AWS shared credentials file with a profile [{profile}] there"
        ));
    };
    let Ok(text) = std::str::from_utf8(&file.0) else {
        return invalid(format!("the key {CREDENTIALS_KEY} of Secret {name} must be text in UTF-8"));
    };
    let problem = credentials_file::check(text, profile).err()?;
    invalid(format!("the credentials file in Secret {name} {problem}"))
}

fn ca_bundle_objection(spec: &S3Storage, found: &BucketObjects) -> Option<Objection> {
    let CaBundleReference { kind, name, key } = spec.ca_bundle_ref.as_ref()?;
    let (word, reason) = match kind {
        CaBundleKind::ConfigMap => ("ConfigMap", reason::DEPENDENCY_NOT_READY),
        CaBundleKind::Secret => ("Secret", reason::SECRET_INVALID),
    };
    let problem = match found.ca_bundle.as_ref().map(|data| data.get(key)) {
        None => format!("there is no {word} {name} in this namespace: create it, or correct the name"),
        Some(None) => format!("{word} {name} has no key {key}"),
        Some(Some(bytes)) if !contains_certificate(&bytes.0) => {
            format!("the key {key} of {word} {name} must hold certificates in PEM form")
        }
        Some(Some(_)) => return None,
    };
    Some(Objection { reason, message: format!("spec.storage.s3.caBundleRef: {problem}") })
}

fn contains_certificate(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains("-----BEGIN CERTIFICATE-----"))
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
