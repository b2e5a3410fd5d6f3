//! Making a package visible: links, then tags, then the entry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::PackageSource;
use bundle::model::Bundle;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use snafu::{Snafu, ensure};
use tokio_util::sync::CancellationToken;

use super::conflict::{Standing, standing};
use super::entry::{Declared, Entry, EntryError, Publication, Roots};
use super::links::Held;
use super::numbers::Number;
use super::snapshot::{Freshness, Listed, READS};
use super::sweep::SETTLED;
use super::{Catalogue, ENTRY_LIMIT, ReadError, Turn};
use crate::digest::Digest;
use crate::names::CoordinateCode;
use crate::storage::keys::{self, Place};
use crate::storage::{Condition, StorageError, Version};

/// How often an entry is written that somebody else writes at the same time.
const ATTEMPTS: usize = 8;

/// What somebody wants to publish a bundle as.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The number that it is to get.
    pub number: Number,
    /// How it came in.
    pub source: PackageSource,
    /// Who wants it.
    pub declaration: Declared,
}

/// Why a package was not published.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
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
    /// Other content is there under that name and version.
    #[snafu(display(
        "{name} {version} is in the catalogue with other content ({digest}): {advice}, or give this package another version"
    ))]
    Conflict {
        /// Name of the package.
        name: String,
        /// Version of the package.
        version: String,
        /// Content digest of what is there.
        digest: String,
        /// What to do about it.
        advice: String,
    },
    /// A blob that was there isn't any more.
    #[snafu(display("{digest} is not in the store any more; it is fetched again"))]
    Lacking {
        /// The blob.
        digest: Digest,
    },
    /// Others claimed every number first.
    #[snafu(display("others were always quicker to claim a release version of {name}; it is tried again"))]
    NumbersTaken {
        /// Name of the package.
        name: String,
    },
    /// Others wrote the entry each time.
    #[snafu(display("others were always quicker to write {name} {version}; it is tried again"))]
    Outrun {
        /// Name of the package.
        name: String,
        /// Version of the package.
        version: String,
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
        intent: Intent,
        cancelled: &CancellationToken,
    ) -> Result<Entry, PublishError> {
        let referrers = self.referrers_of(&bundle.images).await?;
        let mut turn = self.inner.turn.lock().await;
        let now = Timestamp::now();
        // Clocks of several instances differ: above everything that is there, whatever the clock says.
        let highest = self.look(Freshness::Recent).await?.packages.iter().map(|package| package.order).max();
        let above = highest.unwrap_or_default().max(turn.order).saturating_add(1);
        let order = u64::try_from(now.as_microsecond()).unwrap_or_default().max(above);
        let Intent { number, source, declaration } = intent;
        let publication =
            Publication { release_version: u64::MAX, source, declaration, added_at: now.to_string(), order };
        let mut entry = Entry { referrers, ..Entry::new(bundle, publication)? };
        // With the longest number there is: nothing is written for what could not be read again.
        let size = json(&entry)?.len() as u64;
        ensure!(size <= ENTRY_LIMIT, TooLargeSnafu { size, limit: ENTRY_LIMIT });
        for _ in 0..ATTEMPTS {
            ensure!(!cancelled.is_cancelled(), CancelledSnafu);
            match self.attempt(&mut turn, &mut entry, number).await {
                // Another instance wrote the entry since it was looked at.
                Err(PublishError::Store { source: StorageError::ConditionFailed { .. } }) => {}
                other => return other.map(|()| entry),
            }
        }
        OutrunSnafu { name: entry.name, version: entry.version }.fail()
    }

    async fn attempt(&self, turn: &mut Turn, entry: &mut Entry, number: Number) -> Result<(), PublishError> {
        let began = Instant::now();
        let code = entry.code()?;
        let there = self.standing(&code).await?;
        if let Some((there, _)) = &there {
            let same = standing(there, entry, self.options().on_conflict)? == Standing::Same;
            let numbered = matches!(number, Number::From(_)) || number == Number::Exactly(there.release_version);
            if same && numbered && !self.has_later(there).await? {
                self.renew_blobs(&there.roots()?).await?;
                self.write_links(&there.roots()?).await?;
                self.note_whole(&keys::entry(&code));
                *entry = there.clone();
                return Ok(());
            }
        }
        entry.release_version = match (number, &there) {
            // A package that is published again keeps its number.
            (Number::From(from), Some((there, _))) if there.release_version >= from || there.digest == entry.digest => {
                there.release_version
            }
            _ => self.number(number, &entry.name, &code).await?,
        };
        let (roots, bytes) = (entry.roots()?, json(entry)?);
        // Taken back by the next sweep, should it end before the entry is there.
        turn.gone.push(roots.clone());
        self.renew_blobs(&roots).await?;
        self.write_links(&roots).await?;
        if began.elapsed() > self.window() {
            // So slow that somebody may have taken for left over what was made new in the beginning.
            return Err(StorageError::ConditionFailed { key: roots.entry.to_string() }.into());
        }
        let condition = there.as_ref().map_or(Condition::Absent, |(_, version)| Condition::Unchanged(version.clone()));
        let state = self.storage().put(&roots.entry, bytes, condition).await?;
        self.note_written(&roots.entry, state, entry).await;
        self.note_whole(&roots.entry);
        turn.gone.pop();
        turn.gone.extend(there.map(|(there, _)| there.roots()).transpose()?);
        turn.order = entry.order;
        if let Err(error) = self.release(&code).await {
            tracing::warn!(%error, "what was damaged of a package stays in quarantine, although it was published again");
        }
        Ok(())
    }

    /// Whether the declaration of a package has published another one since.
    async fn has_later(&self, package: &Entry) -> Result<bool, StorageError> {
        let snapshot = self.look(Freshness::Recent).await?;
        let same = |other: &&Arc<Listed>| other.declaration.id == package.declaration.id;
        Ok(snapshot.packages.iter().filter(same).any(|other| other.order > package.order))
    }

    /// The entry of a coordinate. One that is damaged goes to the quarantine.
    async fn standing(&self, code: &CoordinateCode) -> Result<Option<(Entry, Version)>, PublishError> {
        let key = keys::entry(code);
        match self.read(&key).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) if error.is_damage() => {
                self.quarantine(&key).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A number for a coordinate, above that of every other version of the name where the caller leaves it open.
    async fn number(&self, number: Number, name: &str, code: &CoordinateCode) -> Result<u64, PublishError> {
        let mut highest = None;
        let own = keys::entry(code);
        for package in &self.look(Freshness::Recent).await?.packages {
            if package.name == name && package.key != own {
                highest = highest.max(Some(package.release_version));
            }
        }
        let name = name.parse().map_err(|source| EntryError::BadName { source })?;
        self.claim(number, &name, code, highest).await
    }

    /// How long a publication may take between making new what it counts on and writing its entry.
    fn window(&self) -> Duration {
        SETTLED.min(self.options().grace_period) / 2
    }

    /// Makes new what the package counts on, so that no collector takes it before the entry is there.
    async fn renew_blobs(&self, roots: &Roots) -> Result<(), PublishError> {
        let blobs: BTreeSet<Digest> = roots.blobs.iter().cloned().collect();
        let renew = |digest: Digest| async move {
            let renewed = self.storage().renew(&keys::blob(&digest)).await;
            (digest, renewed)
        };
        let mut renewals = stream::iter(blobs).map(renew).buffer_unordered(READS);
        while let Some((digest, renewed)) = renewals.next().await {
            ensure!(renewed?, LackingSnafu { digest });
        }
        Ok(())
    }

    /// Writes the links and entries of referrers, then the tags.
    async fn write_links(&self, roots: &Roots) -> Result<(), StorageError> {
        let (tags, links): (Vec<_>, Vec<_>) =
            roots.held.iter().cloned().partition(|(place, _)| matches!(place, Place::Tag(..)));
        for part in [links, tags] {
            let write = |(place, held): (Place, Held)| async move { self.settle(&place, &held).await };
            let mut writes = stream::iter(part).map(write).buffer_unordered(READS);
            while writes.try_next().await?.is_some() {}
        }
        Ok(())
    }
}

/// Something small as the store keeps it.
pub(super) fn json(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(value).map(Bytes::from)
}
