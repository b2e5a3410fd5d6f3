//! What links and tags hold, and writing them so that what a package and a push say of one are both kept.

use bytes::Bytes;

use super::Catalogue;
use super::entry::{BlobLink, LINK_LIMIT, Link, TagTarget};
use super::publish::json;
use super::referrers::{Described, REFERRER_LIMIT};
use crate::storage::keys::{Key, Place};
use crate::storage::{Condition, StorageError};

/// How often a link or tag that others write at the same time is tried.
const ATTEMPTS: usize = 16;

/// What a link or tag holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Held {
    /// That of a manifest.
    Manifest(Link),
    /// That of a blob.
    Blob(BlobLink),
    /// A tag.
    Tag(TagTarget),
    /// That of a manifest under what it says something about.
    Referrer(Described),
}

/// Most bytes of what is at a place.
#[must_use]
pub fn limit(place: &Place) -> u64 {
    match place {
        Place::Referrer(..) => REFERRER_LIMIT,
        _ => LINK_LIMIT,
    }
}

impl Held {
    /// As the store keeps it.
    ///
    /// # Errors
    /// Something that can't be put into words.
    pub fn bytes(&self) -> Result<Bytes, serde_json::Error> {
        match self {
            Self::Manifest(link) => json(link),
            Self::Blob(link) => json(link),
            Self::Tag(target) => json(target),
            Self::Referrer(described) => json(described),
        }
    }

    /// As the store keeps it under a key.
    pub(super) fn document(&self, key: &Key) -> Result<Bytes, StorageError> {
        self.bytes().map_err(|error| StorageError::from_io(key.as_str(), error.into()))
    }

    /// What is at a place; nothing where that is damaged, or where nothing of this kind can be.
    #[must_use]
    pub fn at(place: &Place, bytes: &[u8]) -> Option<Self> {
        let read = match place {
            Place::ManifestLink(..) => serde_json::from_slice(bytes).map(Self::Manifest),
            Place::BlobLink(..) => serde_json::from_slice(bytes).map(Self::Blob),
            Place::Tag(..) => serde_json::from_slice(bytes).map(Self::Tag),
            Place::Referrer(..) => serde_json::from_slice(bytes).map(Self::Referrer),
            Place::Blob(_) | Place::Entry(_) | Place::Release(..) => return None,
        };
        read.ok()
    }

    /// What a package's link or tag becomes where this is there: what was pushed stays pushed. A tag that points elsewhere
    /// is the package's from then on.
    #[must_use]
    pub fn over(&self, there: Option<&Self>) -> Self {
        match (self, there) {
            (Self::Manifest(link), Some(Self::Manifest(there))) => {
                Self::Manifest(Link { pushed: there.pushed.clone().or_else(|| link.pushed.clone()), ..link.clone() })
            }
            (Self::Blob(link), Some(Self::Blob(there))) => Self::Blob(BlobLink { pushed: there.pushed || link.pushed }),
            (Self::Tag(target), Some(Self::Tag(there))) if there.digest == target.digest => {
                Self::Tag(TagTarget { pushed: there.pushed || target.pushed, ..target.clone() })
            }
            _ => self.clone(),
        }
    }
}

impl Catalogue {
    /// Makes a link or tag hold this, whatever is there, and makes it new where it does: its age begins again, and who is
    /// about to remove it sees that it is wanted.
    ///
    /// # Errors
    /// A store that fails, or others who write it all the time.
    pub(super) async fn settle(&self, place: &Place, held: &Held) -> Result<(), StorageError> {
        let key = &place.key();
        let storage = self.storage();
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match storage.put(key, held.document(key)?, Condition::Absent).await {
                Err(error @ StorageError::ConditionFailed { .. }) => last = Some(error),
                other => return other.map(drop),
            }
            let (bytes, condition) = match storage.get(key, limit(place)).await {
                Ok((there, version)) => {
                    let wanted = held.over(Held::at(place, &there).as_ref()).document(key)?;
                    if wanted == there {
                        if storage.renew(key).await? {
                            return Ok(());
                        }
                        continue;
                    }
                    (wanted, Condition::Unchanged(version))
                }
                Err(StorageError::NotFound { .. }) => continue,
                Err(StorageError::TooLarge { .. }) => {
                    storage.delete(key).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match storage.put(key, bytes, condition).await {
                Err(error @ StorageError::ConditionFailed { .. }) => last = Some(error),
                other => return other.map(drop),
            }
        }
        Err(last.unwrap_or_else(|| StorageError::ConditionFailed { key: key.to_string() }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Pushed;
    use super::*;
    use crate::digest::Digest;

    fn link(pushed: Option<Pushed>) -> Held {
        Held::Manifest(Link { media_type: "m".into(), size: 1, pushed })
    }

    fn tag(digest: &str, pushed: bool) -> Held {
        Held::Tag(TagTarget { digest: digest.into(), media_type: "m".into(), size: 1, pushed })
    }

    fn place(held: &Held) -> Place {
        let (repository, digest) = ("a/b".parse().unwrap(), Digest::sha256(b"x"));
        match held {
            Held::Manifest(_) => Place::ManifestLink(repository, digest),
            Held::Blob(_) => Place::BlobLink(repository, digest),
            Held::Tag(_) => Place::Tag(repository, "5".parse().unwrap()),
            Held::Referrer(_) => Place::Referrer(repository, digest.clone(), digest),
        }
    }

    fn over(wanted: &Held, there: &Held) -> Held {
        wanted.over(Held::at(&place(wanted), &there.bytes().unwrap()).as_ref())
    }

    #[test]
    fn what_was_pushed_stays_pushed_when_a_package_has_it_too() {
        let pushed = Pushed { references: vec!["sha256:x".into()], subject: None };
        assert_eq!(over(&link(None), &link(Some(pushed.clone()))), link(Some(pushed)));
        let blob = |pushed| Held::Blob(BlobLink { pushed });
        assert_eq!(over(&blob(false), &blob(true)), blob(true));
        assert_eq!(over(&tag("a", false), &tag("a", true)), tag("a", true));
    }

    #[test]
    fn a_package_takes_over_a_tag_that_points_elsewhere() {
        assert_eq!(over(&tag("a", false), &tag("b", true)), tag("a", false));
    }

    #[test]
    fn what_is_damaged_is_written_anew() {
        for held in [link(None), Held::Blob(BlobLink::default()), tag("a", false)] {
            assert_eq!(held.over(Held::at(&place(&held), b"x").as_ref()), held);
        }
    }

    #[test]
    fn links_of_packages_are_what_they_always_were() {
        assert_eq!(link(None).bytes().unwrap(), r#"{"mediaType":"m","size":1}"#);
        assert_eq!(Held::Blob(BlobLink::default()).bytes().unwrap(), "{}");
        assert_eq!(tag("a", false).bytes().unwrap(), r#"{"digest":"a","mediaType":"m","size":1}"#);
    }
}
