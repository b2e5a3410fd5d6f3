//! Manifests that say something about another one, as lists of referrers show them: signatures, bills of materials,
//! attestations.
//!
//! Each has an entry under its subject, so that a list never reads a manifest. Which manifests of a package say something about
//! another one is read when it is published, and kept in its entry.

use std::collections::{BTreeMap, BTreeSet};

use bundle::model::{Descriptor, Image};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use snafu::ensure;

use super::entry::EntryError;
use super::publish::{PublishError, TooLargeSnafu, json};
use super::snapshot::READS;
use super::{Catalogue, ENTRY_LIMIT};
use crate::digest::Digest;
use crate::images::MANIFEST_LIMIT;
use crate::images::manifest::Manifest;
use crate::storage::{StorageError, keys};

/// Most bytes of an entry under a subject: annotations of a manifest of 4 MiB, escaped as JSON writes them.
pub const REFERRER_LIMIT: u64 = 32 << 20;

/// A manifest as a list of referrers shows it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    /// Media type.
    pub media_type: String,
    /// Digest.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Described {
    /// What a list shows of a manifest of that digest and so many bytes.
    #[must_use]
    pub fn new(manifest: &Manifest, digest: &Digest, size: u64) -> Self {
        Self {
            media_type: manifest.media_type.clone(),
            digest: digest.to_string(),
            size,
            artifact_type: manifest.artifact_type.clone(),
            annotations: manifest.annotations.clone(),
        }
    }
}

/// A manifest of a package that says something about another one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// Repository of both.
    pub repository: String,
    /// Digest of what it says something about.
    pub subject: String,
    /// What lists show of it.
    pub described: Described,
}

impl Catalogue {
    /// The manifests of a bundle that say something about another one. What isn't in the store is passed over: it can't be
    /// published.
    ///
    /// # Errors
    /// A digest that is none, a store that fails, more than an entry can have: said before it is in memory.
    pub(super) async fn referrers_of(&self, images: &[Image]) -> Result<Vec<Referrer>, PublishError> {
        // Names of one image share its manifests.
        let manifests: BTreeSet<(&String, &Descriptor)> = images
            .iter()
            .flat_map(|image| image.manifests.iter().map(|manifest| (&image.repository, manifest)))
            .collect();
        let reads: Vec<_> = manifests
            .into_iter()
            .map(|(repository, manifest)| self.referrer(repository.clone(), manifest.clone()))
            .collect();
        let mut reads = stream::iter(reads).buffered(READS);
        let (mut referrers, mut size) = (Vec::new(), 0);
        while let Some(found) = reads.try_next().await? {
            if let Some(referrer) = found {
                size += json(&referrer)?.len() as u64;
                ensure!(size <= ENTRY_LIMIT, TooLargeSnafu { size, limit: ENTRY_LIMIT });
                referrers.push(referrer);
            }
        }
        Ok(referrers)
    }

    async fn referrer(&self, repository: String, target: Descriptor) -> Result<Option<Referrer>, PublishError> {
        let digest: Digest = target.digest.parse().map_err(|source| EntryError::BadDigest { source })?;
        let bytes = match self.storage().get(&keys::blob(&digest), MANIFEST_LIMIT).await {
            Ok((bytes, _)) => bytes,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(StorageError::TooLarge { limit, .. }) => {
                tracing::warn!(%digest, limit, "a manifest is too large to be read for its subject");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        match Manifest::parse(&bytes, Some(&target.media_type)) {
            Ok(manifest) => Ok(manifest.subject.as_ref().map(|subject| Referrer {
                repository,
                subject: subject.to_string(),
                described: Described::new(&manifest, &digest, target.size),
            })),
            Err(error) => {
                tracing::warn!(%digest, %error, "a manifest of a package is listed under no subject");
                Ok(None)
            }
        }
    }
}
