//! Manifests that say something about another one: signatures, bills of materials, attestations.
//!
//! Each has an entry under its subject with the descriptor that lists show, so that a list never reads a manifest.

use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::links::ATTEMPTS;
use super::{ImageError, Images};
use crate::catalogue::referrers::{Described, REFERRER_LIMIT};
use crate::digest::Digest;
use crate::names::Repository;
use crate::storage::{Condition, Key, Listing, StorageError, Version, document, keys};

/// Entries that are read at the same time.
const AT_ONCE: usize = 16;
/// Most descriptors on one page, and most bytes of them: clients take no larger manifest.
const PAGE_ENTRIES: usize = 1000;
const PAGE_BYTES: usize = 4_000_000;

/// One page of referrers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Referrers {
    /// What was found.
    pub manifests: Vec<Described>,
    /// The last one that was looked at, if there may be more behind it.
    pub next: Option<Digest>,
}

impl Images {
    /// What says something about `subject`, behind `after`, in the order of the digests; of one artifact type or of all.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
    ) -> Result<Referrers, StorageError> {
        let prefix = keys::referrers(repository, subject);
        let after = after.map(|digest| keys::referrer(repository, subject, digest).to_string());
        let listing = Listing { prefix: &prefix, folders: false, after: after.as_deref(), limit: PAGE_ENTRIES };
        let page = self.storage().list(listing).await?;
        let names = page.items.iter().filter_map(|item| item.name().strip_prefix(&prefix));
        let digests = names.filter_map(|name| name.replacen('/', ":", 1).parse().ok());
        let reads: Vec<_> = digests.map(|digest| self.described(repository, subject, digest).boxed()).collect();
        let mut found = stream::iter(reads).buffered(AT_ONCE);
        let (mut shown, mut bytes, mut last) = (Referrers::default(), 0, None);
        while let Some((digest, described)) = found.try_next().await? {
            let wanted = |d: &Described| artifact_type.is_none_or(|wanted| d.artifact_type.as_deref() == Some(wanted));
            if let Some(described) = described.filter(wanted) {
                bytes += document::write(&keys::referrer(repository, subject, &digest), &described)?.len();
                if bytes > PAGE_BYTES && !shown.manifests.is_empty() {
                    return Ok(Referrers { next: last, ..shown });
                }
                shown.manifests.push(described);
            }
            last = Some(digest);
        }
        shown.next = last.filter(|_| page.more);
        Ok(shown)
    }

    async fn described(
        &self,
        repository: &Repository,
        subject: &Digest,
        digest: Digest,
    ) -> Result<(Digest, Option<Described>), StorageError> {
        let key = keys::referrer(repository, subject, &digest);
        let link = keys::manifest_link(repository, &digest);
        // A removal that was cut short leaves an entry without a manifest, which goes with the next collection.
        let (entry, link) = tokio::join!(self.storage().get(&key, REFERRER_LIMIT), self.storage().size(&link));
        let described = match (entry, link) {
            (Ok((bytes, _)), Ok(_)) => {
                serde_json::from_slice(&bytes).inspect_err(|error| tracing::error!(%key, %error, "damaged")).ok()
            }
            (Err(error), _) | (_, Err(error)) if !error.is_not_found() => return Err(error),
            _ => None,
        };
        Ok((digest, described))
    }

    /// Notes that a manifest says something about `subject`, which needn't be there.
    pub(super) async fn note_referrer(
        &self,
        repository: &Repository,
        subject: &Digest,
        digest: &Digest,
        described: &Described,
    ) -> Result<(), ImageError> {
        let key = keys::referrer(repository, subject, digest);
        let bytes = document::write(&key, described)?;
        let (mut condition, mut lost) = (Condition::Absent, None);
        for _ in 0..ATTEMPTS {
            match self.storage().put(&key, bytes.clone(), condition).await {
                Err(error @ StorageError::ConditionFailed { .. }) => lost = Some(error),
                other => return Ok(other.map(drop)?),
            }
            // The same digest says the same; written again, it is whole whatever was there. What a collection takes for left
            // over at this moment is written anew.
            let there = self.referrer_state(key.clone()).await?;
            condition = there.map_or(Condition::Absent, |(_, version)| Condition::Unchanged(version));
        }
        lost.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The state of an entry that is there.
    pub(super) async fn referrer_state(&self, key: Key) -> Result<Option<(Key, Version)>, StorageError> {
        match self.storage().get(&key, REFERRER_LIMIT).await {
            Ok((_, version)) => Ok(Some((key, version))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
