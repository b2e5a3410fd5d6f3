//! Paths under `/v2/`. Names have slashes in them, so a path is read from its end. Pure.

use super::error::V2Error;
use crate::digest::Digest;
use crate::images::{ImageError, Named};
use crate::names::Repository;
use crate::storage::SessionId;

/// What a path stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// `/v2/`.
    Base,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v2/<name>/manifests/<reference>`.
    Manifest(Repository, Named),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/`.
    Uploads(Repository),
    /// `/v2/<name>/blobs/uploads/<session>`.
    Upload(Repository, SessionId),
    /// `/v2/<name>/tags/list`.
    Tags(Repository),
    /// `/v2/<name>/referrers/<digest>`.
    Referrers(Repository, Digest),
}

impl Target {
    /// The methods that it takes, as `Allow` lists them.
    #[must_use]
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET, HEAD",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }
}

/// Reads a path.
///
/// # Errors
/// A path that stands for nothing, a name or digest that is none.
pub fn parse(path: &str) -> Result<Target, V2Error> {
    let rest = match path.strip_prefix("/v2") {
        Some("" | "/") => return Ok(Target::Base),
        Some(rest) => rest.strip_prefix('/').ok_or(V2Error::NoSuchPath)?,
        None => return Err(V2Error::NoSuchPath),
    };
    if rest == "_catalog" {
        return Ok(Target::Catalog);
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Ok(Target::Tags(repository(name)?));
    }
    if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
        return Ok(Target::Uploads(repository(name)?));
    }
    if let Some((name, id)) = rest.rsplit_once("/blobs/uploads/").filter(|(_, id)| !id.contains('/')) {
        let repository = repository(name)?;
        // What can't be a session's id is none that was handed out.
        return Ok(Target::Upload(repository, id.parse().map_err(|_| ImageError::UploadUnknown)?));
    }
    let mut parts = rest.rsplitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(reference), Some("manifests"), Some(name)) => {
            let repository = repository(name)?;
            let reference = uncoded(reference);
            if reference.contains(':') {
                return Ok(Target::Manifest(repository, Named::Digest(digest(&reference)?)));
            }
            // What can't be a tag can't have been published.
            let tag = reference.parse().map_err(|_| V2Error::ManifestUnknown(reference))?;
            Ok(Target::Manifest(repository, Named::Tag(tag)))
        }
        (Some(reference), Some("blobs"), Some(name)) => {
            Ok(Target::Blob(repository(name)?, digest(&uncoded(reference))?))
        }
        (Some(subject), Some("referrers"), Some(name)) => {
            Ok(Target::Referrers(repository(name)?, digest(&uncoded(subject))?))
        }
        _ => Err(V2Error::NoSuchPath),
    }
}

fn repository(name: &str) -> Result<Repository, V2Error> {
    name.parse().map_err(|error: crate::names::InvalidName| V2Error::NameInvalid(error.to_string()))
}

/// A digest, as paths and queries have it.
///
/// # Errors
/// One that is none.
pub fn digest(text: &str) -> Result<Digest, V2Error> {
    text.parse().map_err(|error: crate::digest::InvalidDigest| V2Error::DigestInvalid(error.to_string()))
}

/// Some clients write the colon of a digest as `%3A`. Nothing else in a right path is coded.
fn uncoded(reference: &str) -> String {
    reference.replace("%3A", ":").replace("%3a", ":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex() -> String {
        Digest::sha256(b"x").to_string()
    }

    #[test]
    fn names_may_look_like_parts_of_a_path() {
        let name = "a/manifests/blobs/tags/list";
        let found = parse(&format!("/v2/{name}/manifests/1.0")).unwrap();
        assert_eq!(found, Target::Manifest(name.parse().unwrap(), Named::Tag("1.0".parse().unwrap())));
        assert_eq!(parse(&format!("/v2/{name}/tags/list")).unwrap(), Target::Tags(name.parse().unwrap()));
    }

    #[test]
    fn sessions_are_found_behind_the_name() {
        let id = SessionId::random();
        let found = parse(&format!("/v2/a/blobs/uploads/{id}")).unwrap();
        assert_eq!(found, Target::Upload("a".parse().unwrap(), id));
        for path in ["/v2/a/blobs/uploads/", "/v2/a/blobs/uploads"] {
            assert_eq!(parse(path).unwrap(), Target::Uploads("a".parse().unwrap()));
        }
        assert!(matches!(parse("/v2/a/blobs/uploads/x"), Err(V2Error::Image(ImageError::UploadUnknown))));
        let name = "a/blobs/uploads";
        let manifest = parse(&format!("/v2/{name}/manifests/1")).unwrap();
        assert_eq!(manifest, Target::Manifest(name.parse().unwrap(), Named::Tag("1".parse().unwrap())));
        let referrers = parse(&format!("/v2/a/referrers/{}", hex())).unwrap();
        assert_eq!(referrers, Target::Referrers("a".parse().unwrap(), hex().parse().unwrap()));
    }

    #[test]
    fn a_digest_may_have_its_colon_coded() {
        let plain = parse(&format!("/v2/a/blobs/{}", hex())).unwrap();
        assert_eq!(parse(&format!("/v2/a/blobs/{}", hex().replace(':', "%3A"))).unwrap(), plain);
    }

    #[test]
    fn wrong_names_and_digests_are_told_apart() {
        assert!(matches!(parse("/v2/A/tags/list"), Err(V2Error::NameInvalid(_))));
        assert!(matches!(parse("/v2/a/../b/manifests/x"), Err(V2Error::NameInvalid(_))));
        assert!(matches!(parse("/v2/a%2eb/manifests/x"), Err(V2Error::NameInvalid(_))));
        assert!(matches!(parse("/v2/a/blobs/sha256:12"), Err(V2Error::DigestInvalid(_))));
        assert!(matches!(parse("/v2/a/manifests/md5:12"), Err(V2Error::DigestInvalid(_))));
        assert!(matches!(parse("/v2/a/manifests/-x"), Err(V2Error::ManifestUnknown(_))));
        assert!(matches!(parse("/v2/a"), Err(V2Error::NoSuchPath)));
        assert!(matches!(parse("/v2/manifests/x"), Err(V2Error::NoSuchPath)));
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic(text in ".{0,100}") {
            let _ = parse(&text);
            let _ = parse(&format!("/v2/{text}"));
        }
    }
}
