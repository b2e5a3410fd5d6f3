//! The store's tree. No other file composes or takes apart a key.
//!
//! ```text
//! blobs/<alg>/<2>/<hex>                            the bytes
//! repositories/<name>/_manifests/<alg>/<hex>       link: this repository serves that manifest, with media type and size
//! repositories/<name>/_blobs/<alg>/<hex>           link: this repository serves that blob
//! repositories/<name>/_tags/<tag>                  what a tag points at; conditional writes
//! packages/<coordinate code>/<releaseVersion>.json written last, it makes a package visible
//! uploads/<uuid>/{state,data,tail}                 a blob that arrives in pieces; what is in it is the backend's own
//! quarantine/<key>                                 what was found broken, under the key that it had
//! ```
//! No part of a repository's name starts with `_`.

use std::fmt;

use super::session::SessionId;
use crate::digest::Digest;
use crate::names::{CoordinateCode, Repository, Tag};

/// Prefix of all blobs.
pub const BLOBS: &str = "blobs/";
/// Prefix of all repositories.
pub const REPOSITORIES: &str = "repositories/";
/// Prefix of all package entries.
pub const PACKAGES: &str = "packages/";
/// Prefix of all blobs that arrive in pieces.
pub const UPLOADS: &str = "uploads/";
/// Prefix of what was found broken.
pub const QUARANTINE: &str = "quarantine/";

const MANIFESTS: &str = "_manifests";
const BLOB_LINKS: &str = "_blobs";
const TAGS: &str = "_tags";

/// A key of the tree.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key(String);

impl Key {
    /// The key's text, parts separated by `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the bytes of a blob are.
#[must_use]
pub fn blob(digest: &Digest) -> Key {
    let hex = digest.hex();
    let fan = hex.get(..2).unwrap_or_default();
    Key(format!("{BLOBS}{}/{fan}/{hex}", digest.algorithm().name()))
}

/// The link of a manifest in a repository.
#[must_use]
pub fn manifest_link(repository: &Repository, digest: &Digest) -> Key {
    link(repository, MANIFESTS, digest)
}

/// The link of a blob in a repository.
#[must_use]
pub fn blob_link(repository: &Repository, digest: &Digest) -> Key {
    link(repository, BLOB_LINKS, digest)
}

fn link(repository: &Repository, kind: &str, digest: &Digest) -> Key {
    Key(format!("{REPOSITORIES}{repository}/{kind}/{}/{}", digest.algorithm().name(), digest.hex()))
}

/// A tag.
#[must_use]
pub fn tag(repository: &Repository, tag: &Tag) -> Key {
    Key(format!("{}{tag}", tags(repository)))
}

/// Prefix of a repository's tags.
#[must_use]
pub fn tags(repository: &Repository) -> String {
    format!("{REPOSITORIES}{repository}/{TAGS}/")
}

/// The entry of a package.
#[must_use]
pub fn entry(code: &CoordinateCode, release_version: u64) -> Key {
    Key(format!("{}{release_version}.json", entries(code)))
}

/// Prefix of the entries of one coordinate.
#[must_use]
pub fn entries(code: &CoordinateCode) -> String {
    format!("{PACKAGES}{code}/")
}

/// How far a session is.
#[must_use]
pub fn session_state(id: SessionId) -> Key {
    Key(format!("{}state", session(id)))
}

/// What arrived in a session.
#[must_use]
pub fn session_data(id: SessionId) -> Key {
    Key(format!("{}data", session(id)))
}

/// Prefix of everything of a session.
#[must_use]
pub fn session(id: SessionId) -> String {
    format!("{UPLOADS}{id}/")
}

/// The session that a listed folder of [`UPLOADS`] belongs to.
#[must_use]
pub fn session_of(folder: &str) -> Option<SessionId> {
    folder.strip_prefix(UPLOADS)?.strip_suffix('/')?.parse().ok()
}

/// Where a broken object goes.
#[must_use]
pub fn quarantined(key: &Key) -> Key {
    Key(format!("{QUARANTINE}{key}"))
}

/// Prefix of the broken entries of one coordinate.
#[must_use]
pub fn quarantined_entries(code: &CoordinateCode) -> String {
    format!("{QUARANTINE}{}", entries(code))
}

/// What a key stands for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// Bytes.
    Blob(Digest),
    /// A manifest's link.
    ManifestLink(Repository, Digest),
    /// A blob's link.
    BlobLink(Repository, Digest),
    /// A tag.
    Tag(Repository, Tag),
    /// A package's entry.
    Entry(CoordinateCode, u64),
}

impl Place {
    /// The key of this place.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Blob(digest) => blob(digest),
            Self::ManifestLink(repository, digest) => manifest_link(repository, digest),
            Self::BlobLink(repository, digest) => blob_link(repository, digest),
            Self::Tag(repository, name) => tag(repository, name),
            Self::Entry(code, release_version) => entry(code, *release_version),
        }
    }

    /// Reads a key that a listing found; `None` for what isn't of this tree.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        let found = if let Some(rest) = key.strip_prefix(BLOBS) {
            let mut parts = rest.split('/');
            let (algorithm, _fan, hex) = (parts.next()?, parts.next()?, parts.next()?);
            Self::Blob(format!("{algorithm}:{hex}").parse().ok()?)
        } else if let Some(rest) = key.strip_prefix(PACKAGES) {
            let (code, file) = rest.split_once('/')?;
            let release_version = file.strip_suffix(".json")?.parse().ok()?;
            Self::Entry(code.parse().ok()?, release_version)
        } else {
            let rest = key.strip_prefix(REPOSITORIES)?;
            let (name, rest) = rest.split_once("/_")?;
            let (kind, rest) = rest.split_once('/')?;
            let repository = name.parse().ok()?;
            let digest = || rest.replacen('/', ":", 1).parse().ok();
            match kind {
                "manifests" => Self::ManifestLink(repository, digest()?),
                "blobs" => Self::BlobLink(repository, digest()?),
                "tags" => Self::Tag(repository, rest.parse().ok()?),
                _ => return None,
            }
        };
        // What doesn't lead back to the same key is not ours.
        (found.key().as_str() == key).then_some(found)
    }
}

/// The name that a folder of the repositories' tree has as a repository: `repositories/a/b/` → `a/b`.
#[must_use]
pub fn repository_folder(prefix: &str) -> Option<Repository> {
    prefix.strip_prefix(REPOSITORIES)?.strip_suffix('/')?.parse().ok()
}

/// Prefix under which a folder of the repositories' tree has something of a repository's own.
#[must_use]
pub fn own_content(repository: &Repository) -> String {
    format!("{REPOSITORIES}{repository}/_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found_again_by_its_key() {
        let digest = Digest::sha256(b"x");
        let repository: Repository = "docker.io/library/redis".parse().unwrap();
        for place in [
            Place::Blob(digest.clone()),
            Place::ManifestLink(repository.clone(), digest.clone()),
            Place::BlobLink(repository.clone(), digest),
            Place::Tag(repository, "5.0_x".parse().unwrap()),
            Place::Entry("pmrg4".parse().unwrap(), 7),
        ] {
            assert_eq!(Place::of(place.key().as_str()), Some(place));
        }
    }

    #[test]
    fn foreign_keys_stand_for_nothing() {
        let hex = "a".repeat(64);
        for key in [
            "x".to_owned(),
            format!("blobs/sha256/bb/{hex}"),
            format!("blobs/sha256/aa/{hex}.tmp"),
            format!("blobs/sha256/aa/{hex}/x"),
            "packages/pmrg4/07.json".to_owned(),
            "packages/pmrg4/7".to_owned(),
            "repositories/a/_tags/b/c".to_owned(),
            "repositories/a/_other/x".to_owned(),
        ] {
            assert_eq!(Place::of(&key), None, "{key}");
        }
    }
}
