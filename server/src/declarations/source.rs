//! The hash by which a declaration's source is recognised. Pure.

use api::DeclarationSpec;
use serde::Serialize;

use crate::digest::Digest;

/// Where from, and which bytes. Credentials and certificates may be renewed without anything being fetched again.
#[derive(Serialize)]
struct Source<'a> {
    url: &'a str,
    sha256: Option<&'a str>,
}

/// Hash of a declaration's source.
#[must_use]
pub fn source_hash(spec: &DeclarationSpec) -> String {
    let source = Source { url: &spec.url.url, sha256: spec.url.sha256.as_deref() };
    let text = serde_json::to_vec(&source).unwrap_or_default();
    Digest::sha256(&text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Credentials, UrlSource};

    fn spec() -> DeclarationSpec {
        let url = UrlSource { url: "http://a.test/x".into(), sha256: None, credentials: None, ca_bundle: None };
        DeclarationSpec { url, release_version: None, release_version_from: 1, declared_by: "a/b".into() }
    }

    #[test]
    fn another_place_or_digest_is_another_source() {
        let mut url = spec();
        url.url.url.push('y');
        let mut digest = spec();
        digest.url.sha256 = Some("0".repeat(64));
        for other in [url, digest] {
            assert_ne!(source_hash(&other), source_hash(&spec()));
        }
    }

    #[test]
    fn renewed_credentials_are_the_same_source() {
        let mut renewed = spec();
        renewed.url.credentials = Some(Credentials::Bearer { token: "t".into() });
        assert_eq!(source_hash(&renewed), source_hash(&spec()));
    }
}
