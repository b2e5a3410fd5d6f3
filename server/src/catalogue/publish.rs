//! Making a package visible: links, then tags, then the entry.

use bundle::coordinate::Coordinate;
use bundle::model::Bundle;
use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use snafu::Snafu;

use super::entry::{Declared, Entry, EntryError, Publication, Roots, TagTarget, code_of};
use super::{Catalogue, ReadError};
use crate::names::CoordinateCode;
use crate::storage::keys::{self, Key, Place};
use crate::storage::{Condition, StorageError};

/// How often a tag that others write at the same time is tried.
const TAG_ATTEMPTS: usize = 8;
/// Most bytes of a tag or link.
pub(super) const SMALL: u64 = 64 << 10;

/// The release version that a package is to get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Number {
    /// This one.
    Exactly(u64),
    /// This one, raised until it is above that of every other version of the name.
    From(u64),
}

/// Why a package was not published.
#[derive(Debug, Snafu)]
pub enum PublishError {
    /// Another declaration has that name and version.
    #[snafu(display(
        "{name} {version} is declared by {by} already ({content}); one declaration of a name and version can be in the catalogue: delete that one or change this one's source"
    ))]
    AlreadyDeclared {
        /// Name of the package.
        name: String,
        /// Version of the package.
        version: String,
        /// The other's `<namespace>/<name>`.
        by: String,
        /// Whether its content is the same, in words.
        content: &'static str,
    },
    /// What is there under that name and version can't be read.
    #[snafu(display("{source}"), context(false))]
    Read {
        /// Why.
        source: ReadError,
    },
    /// The bundle can't be kept.
    #[snafu(display("{source}"), context(false))]
    Entry {
        /// Why.
        source: EntryError,
    },
    /// The store failed.
    #[snafu(display("{source}"), context(false))]
    Store {
        /// Why.
        source: StorageError,
    },
    /// An entry or link could not be put into words.
    #[snafu(display("an entry could not be written as JSON: {source}"), context(false))]
    Json {
        /// Why.
        source: serde_json::Error,
    },
}

impl PublishError {
    /// Whether there was no room.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Store { source: StorageError::StorageFull { .. } })
    }
}

impl Catalogue {
    /// Publishes a bundle whose blobs are in the store and pinned. What an earlier publication of the same declaration
    /// had is left for the next [`Catalogue::sweep`].
    ///
    /// # Errors
    /// Another declaration of the same coordinate, or a store that fails; the caller sweeps then.
    pub async fn publish(&self, bundle: Bundle, number: Number, declaration: Declared) -> Result<Entry, PublishError> {
        let mut last_order = self.inner.turn.lock().await;
        let code = code_of(&bundle.name, &bundle.version)?;
        let release_version = self.release_version(number, &bundle.name, &code).await?;
        let mut replaced = None;
        for key in self.keys(&keys::entries(&code)).await? {
            let (there, version) = self.read(&key).await?;
            if there.declaration.id != declaration.id {
                let same = there.digest == bundle.content_digest;
                return AlreadyDeclaredSnafu {
                    name: bundle.name,
                    version: bundle.version,
                    by: there.declaration.by,
                    content: if same { "with the same content" } else { "with other content" },
                }
                .fail();
            }
            if there.release_version == release_version {
                replaced = Some(version);
            }
        }
        let now = Timestamp::now();
        let order = u64::try_from(now.as_microsecond()).unwrap_or_default().max(*last_order + 1);
        let publication = Publication { release_version, declaration, added_at: now.to_string(), order };
        let entry = Entry::new(bundle, publication)?;
        let roots = entry.roots()?;
        self.write_links(&roots).await?;
        for (repository, tag, target) in &roots.tags {
            self.point_tag(&keys::tag(repository, tag), target).await?;
        }
        let condition = replaced.map_or(Condition::Absent, Condition::Unchanged);
        self.storage().put(&roots.entry, json(&entry)?, condition).await?;
        *last_order = order;
        Ok(entry)
    }

    /// The number to publish under. Its own coordinate doesn't count: that entry is about to be replaced, or refuses.
    async fn release_version(&self, number: Number, name: &str, own: &CoordinateCode) -> Result<u64, StorageError> {
        let from = match number {
            Number::Exactly(number) => return Ok(number),
            Number::From(from) => from,
        };
        let mut above = from;
        for key in self.keys(keys::PACKAGES).await? {
            let Some(Place::Entry(code, there)) = Place::of(key.as_str()) else { continue };
            let same_name = Coordinate::from_code(code.as_str()).is_ok_and(|coordinate| coordinate.name == name);
            if same_name && code != *own {
                above = above.max(there.saturating_add(1));
            }
        }
        Ok(above)
    }

    async fn write_links(&self, roots: &Roots) -> Result<(), PublishError> {
        for (place, link) in &roots.manifests {
            self.put_link(&place.key(), json(link)?).await?;
        }
        for place in &roots.blob_links {
            self.put_link(&place.key(), Bytes::from_static(b"{}")).await?;
        }
        Ok(())
    }

    async fn put_link(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        match self.storage().put(key, bytes, Condition::Absent).await {
            // The same digest in the same repository: another package has that image too.
            Ok(_) | Err(StorageError::ConditionFailed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a tag point at a manifest.
    pub(super) async fn point_tag(&self, key: &Key, target: &TagTarget) -> Result<(), PublishError> {
        let bytes = json(target)?;
        for attempt in 1..=TAG_ATTEMPTS {
            let condition = match self.storage().get(key, SMALL).await {
                Ok((there, _)) if there == bytes => return Ok(()),
                Ok((_, version)) => Condition::Unchanged(version),
                Err(error) if error.is_not_found() => Condition::Absent,
                Err(error) => return Err(error.into()),
            };
            match self.storage().put(key, bytes.clone(), condition).await {
                Err(StorageError::ConditionFailed { .. }) if attempt < TAG_ATTEMPTS => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(value).map(Bytes::from)
}
