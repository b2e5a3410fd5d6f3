//! Step 3, pure: the declaration that the registry's server gets.

use api::{DeclarationSpec, UrlSource};
use crds::Package;
use kube::ResourceExt;

use super::{status::declared_generation, validate::ValidSource};

/// The declaration of `package`.
///
/// The release version is the spec's; else the one that the package already got, so that content which must be fetched again
/// keeps its place among the versions; else the server makes one from the creation time.
#[must_use]
pub fn build(package: &Package, source: ValidSource) -> DeclarationSpec {
    let kept = package
        .status
        .as_ref()
        .filter(|_| declared_generation(package) == package.metadata.generation)
        .and_then(|status| status.release_version);
    let created = package.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    DeclarationSpec {
        url: UrlSource {
            url: source.url,
            sha256: source.sha256,
            credentials: source.credentials,
            ca_bundle: source.ca_bundle,
        },
        release_version: package.spec.release_version.or(kept).and_then(|number| u64::try_from(number).ok()),
        release_version_from: u64::try_from(created).unwrap_or_default(),
        declared_by: declared_by(package),
    }
}

/// What the server and people call a package's object: `<namespace>/<name>`.
#[must_use]
pub fn declared_by(package: &Package) -> String {
    format!("{}/{}", package.namespace().unwrap_or_default(), package.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(text: &str) -> Package {
        serde_saphyr::from_str(text).unwrap()
    }

    const OBJECT: &str = r"
apiVersion: registry.dcos.io/v1alpha1
kind: Package
metadata: {name: redis, namespace: apps, generation: 2, creationTimestamp: '2026-01-01T00:00:00Z'}
spec: {registryRef: {name: main}, source: {url: {url: 'https://files.test/redis.dcos'}}}
";

    fn source() -> ValidSource {
        ValidSource { url: "https://files.test/redis.dcos".into(), sha256: None, credentials: None, ca_bundle: None }
    }

    #[test]
    fn the_release_version_begins_at_the_creation_time() {
        let spec = build(&package(OBJECT), source());
        assert_eq!((spec.release_version, spec.release_version_from), (None, 1_767_225_600));
        assert_eq!(spec.declared_by, "apps/redis");
    }

    #[test]
    fn a_release_version_that_was_given_out_is_kept_for_the_same_spec_alone() {
        let mut object = package(OBJECT);
        let mut status = crds::PackageStatus { release_version: Some(77), ..Default::default() };
        let published = crate::condition::Verdict::no("Progressing", "");
        crate::condition::set(&mut status.conditions, "Published", &published, Some(2), jiff::Timestamp::UNIX_EPOCH);
        object.status = Some(status);
        assert_eq!(build(&object, source()).release_version, Some(77));
        object.metadata.generation = Some(3);
        assert_eq!(build(&object, source()).release_version, None);
        object.spec.release_version = Some(5);
        assert_eq!(build(&object, source()).release_version, Some(5));
    }
}
