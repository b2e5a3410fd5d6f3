//! What the store keeps of uploads.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use api::PackageContent;
use bundle::stream::Limits;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::error::UploadError;
use super::record::Record;
use super::status::Status;
use super::{UploadId, error};
use crate::digest::Digest;
use crate::storage::keys::{self, Key, UploadPart};
use crate::storage::{Condition, Item, Storage, StorageError, Version, document, for_each_item};

/// Most bytes of a content as it is sent.
pub const CONTENT_LIMIT: usize = 64 << 20;
/// Most bytes of a content as it is kept: written anew, it may be somewhat longer.
const KEPT_LIMIT: u64 = 2 * CONTENT_LIMIT as u64;
/// Most bytes of a status.
const STATUS_LIMIT: u64 = 1 << 20;
/// Contents that are kept in memory.
const KEPT: usize = 8;
/// Objects that are looked at at the same time.
const LOOKS: usize = 16;

/// Uploads in a store.
pub(super) struct Store {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) limits: Limits,
    /// Written once, so what was read stays right. The oldest first.
    kept: Mutex<VecDeque<(String, Arc<Record>)>>,
}

impl Store {
    pub(super) fn new(storage: Arc<dyn Storage>, limits: Limits) -> Self {
        Self { storage, limits, kept: Mutex::default() }
    }

    /// Where an upload is; `None` if there is no such upload.
    pub(super) async fn status(&self, id: &UploadId) -> Result<Option<(Status, Version)>, UploadError> {
        let key = keys::upload_status(id);
        match self.storage.get(&key, STATUS_LIMIT).await {
            Ok((bytes, version)) => Ok(Some((parsed(&key, &bytes)?, version))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(StorageError::TooLarge { key, limit }) => {
                error::DamagedSnafu { key, message: format!("it has more than {limit} bytes") }.fail()
            }
            Err(StorageError::Io { key, source }) if source.kind() == io::ErrorKind::InvalidData => {
                error::DamagedSnafu { key, message: source.to_string() }.fail()
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a status under a condition. An answer that got lost is no failure: what is there is looked at.
    pub(super) async fn put_status(
        &self,
        id: &UploadId,
        status: &Status,
        condition: Condition,
    ) -> Result<Version, StorageError> {
        let key = keys::upload_status(id);
        let bytes = document::write(&key, status)?;
        match self.storage.put(&key, bytes.clone(), condition).await {
            Err(error @ StorageError::ConditionFailed { .. }) => match self.storage.get(&key, STATUS_LIMIT).await {
                Ok((there, version)) if there == bytes => Ok(version),
                _ => Err(error),
            },
            other => other,
        }
    }

    /// Checks a content and puts it into the form in which it is kept, away from the threads that answer requests.
    ///
    /// # Errors
    /// A content that can't be published.
    pub(super) async fn prepare(&self, content: PackageContent) -> Result<Prepared, UploadError> {
        let limits = self.limits;
        let prepared = tokio::task::spawn_blocking(move || Prepared::new(content, &limits)).await;
        prepared.map_err(|error| error::stopped(keys::PACKAGE_UPLOADS, error))?
    }

    /// Keeps a content; returns what it is, and the digits of its digest.
    pub(super) async fn put_content(&self, prepared: Prepared) -> Result<(Record, String), StorageError> {
        let Prepared { record, document, hex } = prepared;
        let key = keys::upload_content(&record.id, &hex);
        match self.storage.put(&key, document.clone(), Condition::Absent).await {
            // It may be about to be removed as an old one: made new, it stays.
            Err(StorageError::ConditionFailed { .. }) if self.storage.renew(&key).await? => {}
            Err(StorageError::ConditionFailed { .. }) => {
                self.storage.put(&key, document, Condition::Absent).await?;
            }
            other => drop(other?),
        }
        Ok((record, hex))
    }

    /// What an upload consists of.
    pub(super) async fn record(&self, id: &UploadId, hex: &str) -> Result<Arc<Record>, UploadError> {
        let key = keys::upload_content(id, hex);
        if let Some(record) = self.find(key.as_str()) {
            return Ok(record);
        }
        let (bytes, _) = self.storage.get(&key, KEPT_LIMIT).await?;
        let (of, limits) = (key.clone(), self.limits);
        let check = move || Ok::<_, UploadError>(Record::check(parsed(&of, &bytes)?, &limits)?);
        let checked = tokio::task::spawn_blocking(check).await;
        let record = Arc::new(checked.map_err(|error| error::stopped(key.as_str(), error))??);
        self.keep(key.to_string(), Arc::clone(&record));
        Ok(record)
    }

    fn find(&self, key: &str) -> Option<Arc<Record>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == key).map(|(_, record)| Arc::clone(record))
    }

    fn keep(&self, key: String, record: Arc<Record>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != key);
        kept.push_back((key, record));
        while kept.len() > KEPT {
            kept.pop_front();
        }
    }

    /// Every object of every upload, as listings show them.
    pub(super) async fn parts(&self) -> Result<Vec<(UploadPart, Item)>, StorageError> {
        let mut found = Vec::new();
        for_each_item(self.storage.as_ref(), keys::PACKAGE_UPLOADS, |item| {
            found.extend(keys::upload_part(item.name()).map(|part| (part, item)));
            std::future::ready(Ok::<_, StorageError>(()))
        })
        .await?;
        Ok(found)
    }

    /// Where every upload is. One whose status is damaged is named in the log and left out: nobody can go on with it.
    ///
    /// # Errors
    /// A store that fails. What it doesn't say may be anything, so that an answer without it would be wrong.
    pub(super) async fn statuses(&self) -> Result<Vec<(UploadId, Status)>, StorageError> {
        let ids = self.parts().await?.into_iter().filter_map(|(part, _)| match part {
            UploadPart::Status(id) => Some(id),
            UploadPart::Content(..) => None,
        });
        let read = async |id: UploadId| match self.status(&id).await {
            Ok(found) => Ok(found.map(|(status, _)| (id, status))),
            Err(UploadError::Store { source }) => Err(source),
            Err(error) => {
                tracing::error!(upload.id = %id, %error, "an upload is left out");
                Ok(None)
            }
        };
        let reads = stream::iter(ids).map(read).buffer_unordered(LOOKS);
        reads.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }

    /// Bytes of a blob that the store has; `None` if it hasn't.
    pub(super) async fn size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        match self.storage.size(&keys::blob(digest)).await {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Self::size`], and the blob's age starts again: no collector takes what is there.
    async fn renewed_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        if self.storage.renew(&keys::blob(digest)).await? { self.size(digest).await } else { Ok(None) }
    }

    /// What the store lacks of an upload, with the bytes that arrived of each. `renew`: what is there must stay.
    pub(super) async fn missing(&self, record: &Record, renew: bool) -> Result<Vec<Missing>, UploadError> {
        let look = async |(digest, size): (&Digest, &u64)| {
            let there = if renew { self.renewed_size(digest).await? } else { self.size(digest).await? };
            match there {
                Some(there) if there == *size => Ok(None),
                Some(there) => error::WrongSizeSnafu { digest: digest.clone(), said: *size, there }.fail(),
                None => {
                    let offset = self.arrived(&record.id, digest).await?;
                    Ok(Some(Missing { digest: digest.clone(), size: *size, offset }))
                }
            }
        };
        let looks = stream::iter(&record.blobs).map(look).buffered(LOOKS);
        looks.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }

    /// Bytes that arrived of a blob that isn't whole.
    pub(super) async fn arrived(&self, id: &UploadId, digest: &Digest) -> Result<u64, StorageError> {
        match self.storage.view_session(id.session(digest)).await {
            Ok(view) => Ok(view.size),
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Forgets an upload whose status is in that state: the status first, so that nobody goes on with half of it, then what
    /// arrived in pieces and what it consists of. False if the status is in another state.
    pub(super) async fn remove(&self, id: &UploadId, status: &Status, version: &Version) -> Result<bool, UploadError> {
        let record = self.record(id, &status.content).await;
        let mut contents = Vec::new();
        crate::storage::for_each_item(self.storage.as_ref(), &keys::upload(id), |item| {
            if let Item::Object { key, version, .. } = item
                && let Some(UploadPart::Content(id, hex)) = keys::upload_part(&key)
            {
                contents.push((keys::upload_content(&id, &hex), version));
            }
            std::future::ready(Ok::<_, StorageError>(()))
        })
        .await?;
        if !self.storage.delete_unchanged(&keys::upload_status(id), version).await? {
            return Ok(false);
        }
        if let Ok(record) = record {
            self.drop_sessions(&record).await?;
        }
        for (key, version) in contents {
            // Announced again meanwhile, it is another one.
            self.storage.delete_unchanged(&key, &version).await?;
        }
        Ok(true)
    }

    /// Forgets what arrived in pieces.
    pub(super) async fn drop_sessions(&self, record: &Record) -> Result<(), StorageError> {
        for digest in record.blobs.keys() {
            self.storage.drop_session(record.id.session(digest)).await?;
        }
        Ok(())
    }
}

/// A content that was found right.
pub(super) struct Prepared {
    pub(super) record: Record,
    /// As it is kept.
    document: Bytes,
    /// Digits of the document's digest.
    hex: String,
}

impl Prepared {
    fn new(content: PackageContent, limits: &Limits) -> Result<Self, UploadError> {
        let document = document::write(keys::PACKAGE_UPLOADS, &content)?;
        let record = Record::check(content, limits)?;
        let hex = Digest::sha256(&document).hex().to_owned();
        Ok(Self { record, document, hex })
    }
}

/// A blob that the store lacks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Missing {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Bytes that arrived.
    pub(super) offset: u64,
}

fn parsed<T: serde::de::DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<T, UploadError> {
    let read = serde_json::from_slice(bytes);
    read.map_err(|error| error::DamagedSnafu { key: key.to_string(), message: error.to_string() }.build())
}
