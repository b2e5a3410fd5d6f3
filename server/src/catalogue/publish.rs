//! Making a package visible: links, then tags, then the entry.

use bundle::coordinate::Coordinate;
use bundle::model::Bundle;
use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use snafu::{Snafu, ensure};
use tokio_util::sync::CancellationToken;

use super::entry::{Declared, Entry, EntryError, LINK_LIMIT, Publication, Roots, code_of};
use super::needs::link_bytes;
use super::{Catalogue, ENTRY_LIMIT, ReadError};
use crate::names::CoordinateCode;
use crate::storage::keys::{self, Key, Place};
use crate::storage::{Condition, StorageError};

/// How often a link or tag that others write at the same time is tried.
const TAG_ATTEMPTS: usize = 8;
/// Most bytes of a tag or link.
pub(super) const SMALL: u64 = LINK_LIMIT;

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
    /// The entry would be too large to be read again.
    #[snafu(display(
        "metadata.json, manifest.json and the signatures have {size} bytes together as the registry keeps them, the limit is {limit}"
    ))]
    TooLarge {
        /// Bytes of the entry.
        size: u64,
        /// Most bytes.
        limit: u64,
    },
    /// Somebody withdrew or replaced the declaration.
    #[snafu(display("the declaration was withdrawn or replaced"))]
    Cancelled,
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

impl Catalogue {
    /// Publishes a bundle whose blobs are in the store and pinned, unless `cancelled` is set when its turn comes. What an
    /// earlier publication of the same declaration had is left for the next [`Catalogue::sweep`].
    ///
    /// # Errors
    /// Another declaration of the same coordinate, or a store that fails; the caller sweeps then, which puts links and
    /// tags back.
    pub async fn publish(
        &self,
        bundle: Bundle,
        number: Number,
        declaration: Declared,
        cancelled: &CancellationToken,
    ) -> Result<Entry, PublishError> {
        let mut turn = self.inner.turn.lock().await;
        ensure!(!cancelled.is_cancelled(), CancelledSnafu);
        let code = code_of(&bundle.name, &bundle.version)?;
        let release_version = self.release_version(number, &bundle.name, &code).await?;
        let mut replaced = None;
        for key in self.keys(&keys::entries(&code)).await? {
            let (there, version) = match self.read(&key).await {
                Err(error) if error.is_damage() => {
                    self.quarantine(&key).await?;
                    continue;
                }
                other => other?,
            };
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
                replaced = Some((there.roots()?, version));
            }
        }
        let now = Timestamp::now();
        let order = u64::try_from(now.as_microsecond()).unwrap_or_default().max(turn.order + 1);
        let publication = Publication { release_version, declaration, added_at: now.to_string(), order };
        let entry = Entry::new(bundle, publication)?;
        let (roots, bytes) = (entry.roots()?, json(&entry)?);
        let size = bytes.len() as u64;
        ensure!(size <= ENTRY_LIMIT, TooLargeSnafu { size, limit: ENTRY_LIMIT });
        // Taken back by the next sweep, should it end before the entry is there.
        turn.gone.push(roots.clone());
        self.write_links(&roots).await?;
        let (replaced, condition) = match replaced {
            Some((replaced, version)) => (Some(replaced), Condition::Unchanged(version)),
            None => (None, Condition::Absent),
        };
        self.storage().put(&roots.entry, bytes, condition).await?;
        turn.gone.pop();
        turn.gone.extend(replaced);
        turn.order = order;
        if let Err(error) = self.release(&code).await {
            tracing::warn!(%error, "what was damaged of a package stays in quarantine, although it was published again");
        }
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
            self.put_link(&place.key(), link_bytes(Some(link))?).await?;
        }
        for place in &roots.blob_links {
            self.put_link(&place.key(), link_bytes(None)?).await?;
        }
        for (repository, tag, target) in &roots.tags {
            self.settle(&keys::tag(repository, tag), json(target)?).await?;
        }
        Ok(())
    }

    async fn put_link(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        match self.storage().put(key, bytes.clone(), Condition::Absent).await {
            // The same digest in the same repository: another package has that image too. What is there may be damaged.
            Err(StorageError::ConditionFailed { .. }) => self.settle(key, bytes).await,
            other => other.map(drop),
        }
    }

    /// Makes a link or tag hold this, whatever is there.
    pub(super) async fn settle(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        for attempt in 1..=TAG_ATTEMPTS {
            let condition = match self.storage().get(key, SMALL).await {
                Ok((there, _)) if there == bytes => return Ok(()),
                Ok((_, version)) => Condition::Unchanged(version),
                Err(StorageError::NotFound { .. }) => Condition::Absent,
                Err(StorageError::TooLarge { .. }) => {
                    self.storage().delete(key).await?;
                    Condition::Absent
                }
                Err(error) => return Err(error),
            };
            match self.storage().put(key, bytes.clone(), condition).await {
                Err(StorageError::ConditionFailed { .. }) if attempt < TAG_ATTEMPTS => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Something small as the store keeps it.
pub(super) fn json(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(value).map(Bytes::from)
}
