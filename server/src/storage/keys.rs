//! The store's tree. No other file composes or takes apart a key.
//!
//! ```text
//! blobs/<alg>/<2>/<hex>                            the bytes; on S3 a small pointer to data/<uuid>
//! data/<uuid>                                      S3 only: bytes of a blob, or on their way to be one. In no listing
//! repositories/<name>/_manifests/<alg>/<hex>       link: this repository serves that manifest, with media type and size
//! repositories/<name>/_blobs/<alg>/<hex>           link: this repository serves that blob
//! repositories/<name>/_tags/<tag>                  what a tag points at; conditional writes
//! repositories/<name>/_referrers/<alg>/<hex>/<alg>/<hex>  the second manifest says something about the first
//! packages/<coordinate code>.json                  written last, it makes a package visible; conditional writes decide who has
//!                                                  a name and version
//! releases/<name>/<releaseVersion>                 claim: that number of that name is taken; written once
//! declarations/<id>.json                           shared stores: a declaration that an instance works on; conditional writes
//! package-uploads/<id>/<hex>.json                  what a package that is uploaded consists of; written once, <hex> is its digest
//! package-uploads/<id>/status.json                 where that upload is; conditional writes
//! removals/<coordinate code>.json                  somebody asked the operator to remove that package
//! uploads/<uuid>/{state,data}                      a blob that arrives in pieces; what is in it is the backend's own
//! quarantine/<key>                                 what was found broken, under the key that it had
//! ```
//! No part of a repository's name starts with `_`.

use std::fmt;

use uuid::Uuid;

use super::session::SessionId;
use crate::digest::Digest;
use crate::names::{CoordinateCode, DeclarationId, PackageName, Repository, Tag};
use crate::uploads::UploadId;

/// Prefix of all blobs.
pub const BLOBS: &str = "blobs/";
/// Prefix of all repositories.
pub const REPOSITORIES: &str = "repositories/";
/// Prefix of all package entries.
pub const PACKAGES: &str = "packages/";
/// Prefix of all claims of release versions.
pub const RELEASES: &str = "releases/";
/// Prefix of all declarations that instances share.
pub const DECLARATIONS: &str = "declarations/";
/// Prefix of all blobs that arrive in pieces.
pub const UPLOADS: &str = "uploads/";
/// Prefix of all uploads of packages.
pub const PACKAGE_UPLOADS: &str = "package-uploads/";
/// Prefix of all removals that were asked for.
pub const REMOVALS: &str = "removals/";
/// Prefix of the bytes that pointers point to.
pub const DATA: &str = "data/";
/// Prefix of what was found broken.
pub const QUARANTINE: &str = "quarantine/";

const MANIFESTS: &str = "_manifests";
const BLOB_LINKS: &str = "_blobs";
const TAGS: &str = "_tags";
const UPLOAD_STATUS: &str = "status.json";
const REFERRERS: &str = "_referrers";

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

/// Where a pointer's bytes are.
#[must_use]
pub fn data(id: Uuid) -> String {
    format!("{DATA}{}", id.as_hyphenated())
}

/// The id of a listed key of [`DATA`]; `None` for what isn't of this tree.
#[must_use]
pub fn data_id(key: &str) -> Option<Uuid> {
    let id = key.strip_prefix(DATA)?.parse().ok()?;
    (data(id) == key).then_some(id)
}

/// Whether a key stands for a blob, in its place or in quarantine.
#[must_use]
pub fn stands_for_a_blob(key: &str) -> bool {
    let key = key.strip_prefix(QUARANTINE).unwrap_or(key);
    key.starts_with(BLOBS)
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

/// The entry of a manifest that says something about a subject.
#[must_use]
pub fn referrer(repository: &Repository, subject: &Digest, referrer: &Digest) -> Key {
    let prefix = referrers(repository, subject);
    Key(format!("{prefix}{}/{}", referrer.algorithm().name(), referrer.hex()))
}

/// Prefix of the entries of everything that says something about a subject.
#[must_use]
pub fn referrers(repository: &Repository, subject: &Digest) -> String {
    let (algorithm, hex) = (subject.algorithm().name(), subject.hex());
    format!("{REPOSITORIES}{repository}/{REFERRERS}/{algorithm}/{hex}/")
}

/// The entry of a package.
#[must_use]
pub fn entry(code: &CoordinateCode) -> Key {
    Key(format!("{PACKAGES}{code}.json"))
}

/// The claim of a release version.
#[must_use]
pub fn release(name: &PackageName, release_version: u64) -> Key {
    Key(format!("{}{release_version}", releases(name)))
}

/// Prefix of the claims of one name.
#[must_use]
pub fn releases(name: &PackageName) -> String {
    format!("{RELEASES}{name}/")
}

/// What instances share of a declaration.
#[must_use]
pub fn declaration(id: &DeclarationId) -> Key {
    Key(format!("{DECLARATIONS}{id}.json"))
}

/// What a package that is uploaded consists of. `hex` is the sha256 of what is kept there.
#[must_use]
pub fn upload_content(id: &UploadId, hex: &str) -> Key {
    Key(format!("{}{hex}.json", upload(id)))
}

/// Where an upload is.
#[must_use]
pub fn upload_status(id: &UploadId) -> Key {
    Key(format!("{}{UPLOAD_STATUS}", upload(id)))
}

/// Prefix of everything of an upload but the blobs that arrive.
#[must_use]
pub fn upload(id: &UploadId) -> String {
    format!("{PACKAGE_UPLOADS}{id}/")
}

/// What a key under [`PACKAGE_UPLOADS`] stands for; `None` for what isn't of this tree.
#[must_use]
pub fn upload_part(key: &str) -> Option<UploadPart> {
    let (id, file) = key.strip_prefix(PACKAGE_UPLOADS)?.split_once('/')?;
    let id = id.parse().ok()?;
    if file == UPLOAD_STATUS {
        return Some(UploadPart::Status(id));
    }
    let hex = file.strip_suffix(".json").filter(|hex| crate::digest::check_sha256_hex(hex).is_ok())?;
    Some(UploadPart::Content(id, hex.to_owned()))
}

/// An object of an upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UploadPart {
    /// Where it is.
    Status(UploadId),
    /// What the package consists of, with the digits of its digest.
    Content(UploadId, String),
}

/// The mark on a package that the operator is to remove.
#[must_use]
pub fn removal(code: &CoordinateCode) -> Key {
    Key(format!("{REMOVALS}{code}.json"))
}

/// The package that a key under [`REMOVALS`] marks.
#[must_use]
pub fn removal_of(key: &str) -> Option<CoordinateCode> {
    key.strip_prefix(REMOVALS)?.strip_suffix(".json")?.parse().ok()
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
    /// A referrer's entry: repository, subject, referrer.
    Referrer(Repository, Digest, Digest),
    /// A package's entry.
    Entry(CoordinateCode),
    /// The claim of a release version.
    Release(PackageName, u64),
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
            Self::Referrer(repository, subject, by) => referrer(repository, subject, by),
            Self::Entry(code) => entry(code),
            Self::Release(name, release_version) => release(name, *release_version),
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
            Self::Entry(rest.strip_suffix(".json")?.parse().ok()?)
        } else if let Some(rest) = key.strip_prefix(RELEASES) {
            let (name, release_version) = rest.split_once('/')?;
            Self::Release(name.parse().ok()?, release_version.parse().ok()?)
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
                "referrers" => {
                    let parts: Vec<_> = rest.split('/').collect();
                    let [algorithm, hex, by_algorithm, by_hex] = parts[..] else { return None };
                    let subject = format!("{algorithm}:{hex}").parse().ok()?;
                    Self::Referrer(repository, subject, format!("{by_algorithm}:{by_hex}").parse().ok()?)
                }
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
            Place::BlobLink(repository.clone(), digest.clone()),
            Place::Referrer(repository.clone(), digest.clone(), digest),
            Place::Tag(repository, "5.0_x".parse().unwrap()),
            Place::Entry("pmrg4".parse().unwrap()),
            Place::Release("redis".parse().unwrap(), 7),
        ] {
            assert_eq!(Place::of(place.key().as_str()), Some(place));
        }
    }

    #[test]
    fn the_parts_of_an_upload_are_found_again_by_their_keys() {
        let (id, hex) = (UploadId::of("a", "1", "x"), "a".repeat(64));
        assert_eq!(upload_part(upload_status(&id).as_str()), Some(UploadPart::Status(id.clone())));
        assert_eq!(upload_part(upload_content(&id, &hex).as_str()), Some(UploadPart::Content(id, hex)));
        assert_eq!(upload_part("package-uploads/x/status.json"), None);
    }

    #[test]
    fn bytes_are_found_again_by_their_key() {
        let id = Uuid::new_v4();
        assert_eq!(data_id(&data(id)), Some(id));
        for foreign in [format!("data/{}", id.simple()), format!("data/data/{id}"), "data/".into(), format!("{id}")] {
            assert_eq!(data_id(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_blob_in_quarantine_is_a_blob() {
        let blob = blob(&Digest::sha256(b"x"));
        assert!(stands_for_a_blob(blob.as_str()) && stands_for_a_blob(quarantined(&blob).as_str()));
        assert!(!stands_for_a_blob("repositories/blobs/_tags/1"));
    }

    #[test]
    fn foreign_keys_stand_for_nothing() {
        let hex = "a".repeat(64);
        for key in [
            "x".to_owned(),
            format!("blobs/sha256/bb/{hex}"),
            format!("blobs/sha256/aa/{hex}.tmp"),
            format!("blobs/sha256/aa/{hex}/x"),
            "packages/pmrg4/7.json".to_owned(),
            "packages/pmrg4".to_owned(),
            "releases/redis/07".to_owned(),
            "releases/redis/+7".to_owned(),
            "releases/7".to_owned(),
            "repositories/a/_tags/b/c".to_owned(),
            format!("repositories/a/_referrers/sha256/{hex}/sha256"),
            "repositories/a/_other/x".to_owned(),
        ] {
            assert_eq!(Place::of(&key), None, "{key}");
        }
    }
}
