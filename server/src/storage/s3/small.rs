//! Small objects: read, written with a condition, renewed, removed in the state that was seen. Pointers are small objects too.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::calls::{Found, Precondition};
use super::envelope::{self, Nonce, Stored};
use super::failure::{Failure, damaged};
use super::inner::Inner;
use crate::storage::health::Trouble;
use crate::storage::{Condition, Result, StorageError, Version};

/// How often a renewal or removal is tried again because somebody else wrote at the same time.
const TURNS: u32 = 8;

/// How long an object may be taken for there that another instance removes.
const LATELY: Duration = Duration::from_secs(5);

const FOREIGN: &str = "the object isn't of the form that this store writes";

/// A small object as it was read.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub content: Bytes,
    pub version: Version,
}

/// How a conditional write ended.
pub(super) enum Outcome {
    Written(Version),
    /// Somebody else's object is there, or nothing where something was to be.
    Lost(Option<Object>),
}

/// What is under a key.
enum There {
    Nothing,
    Live(Nonce, Object),
    Gone(Version),
}

impl Inner {
    async fn there(&self, key: &str, limit: u64) -> Result<There> {
        let Found { etag, size, body } = match self.bucket.get(key, None).await {
            Ok(found) => found,
            Err(Failure::Missing) => return Ok(There::Nothing),
            Err(failure) => return Err(failure.at(key)),
        };
        if envelope::content_size(size).is_some_and(|size| size > limit) {
            return Err(StorageError::TooLarge { key: key.to_owned(), limit });
        }
        let bytes = body.collect().await.map_err(|error| self.broken_off(key, &error))?.into_bytes();
        let version = Version::new(etag);
        match Stored::read(bytes) {
            None => Err(damaged(key, FOREIGN)),
            Some(Stored::Live { nonce, content }) => Ok(There::Live(nonce, Object { content, version })),
            Some(Stored::Gone { .. }) => Ok(There::Gone(version)),
        }
    }

    /// An object with at most `limit` bytes; `None` if it isn't there.
    pub async fn fetch(&self, key: &str, limit: u64) -> Result<Option<Object>> {
        match self.there(key, limit).await? {
            There::Live(_, object) => Ok(Some(object)),
            There::Nothing | There::Gone(..) => Ok(None),
        }
    }

    /// At most so many bytes from the beginning of an object; `None` if it isn't there.
    pub async fn fetch_beginning(&self, key: &str, most: u64) -> Result<Option<Bytes>> {
        let body = match self.bucket.get(key, Some(0..most)).await {
            Ok(found) => found.body,
            Err(Failure::Missing) => return Ok(None),
            Err(failure) => return Err(failure.at(key)),
        };
        let bytes = body.collect().await.map_err(|error| self.broken_off(key, &error))?.into_bytes();
        let stored = Stored::read(bytes).ok_or_else(|| damaged(key, FOREIGN))?;
        Ok(stored.into_content())
    }

    /// Bytes of an object's content; `None` if it isn't there.
    pub async fn small_size(&self, key: &str) -> Result<Option<u64>> {
        let size = self.bucket.size(key).await.map_err(|failure| failure.at(key))?;
        Ok(size.and_then(envelope::content_size))
    }

    /// Whether an object is there, or was lately.
    pub async fn was_there(&self, key: &str) -> Result<bool> {
        let seen = self.seen().get(&key.to_owned());
        if seen.is_some_and(|since| since.elapsed() < LATELY) {
            return Ok(true);
        }
        let there = self.small_size(key).await?.is_some();
        if there {
            self.seen().insert(key.to_owned(), Instant::now());
        }
        Ok(there)
    }

    /// Writes an object if the condition holds. A write whose answer was lost is recognised by its nonce.
    pub async fn write(&self, key: &str, content: &[u8], condition: &Condition) -> Result<Outcome> {
        let nonce = Nonce::random();
        let bytes = envelope::live(nonce, content);
        let mut tombstone: Option<Version> = None;
        for _ in 0..TURNS {
            let precondition = match (&tombstone, condition) {
                (Some(version), _) | (None, Condition::Unchanged(version)) => Precondition::Matches(version.as_str()),
                (None, Condition::Absent) => Precondition::Absent,
            };
            let failure = match self.bucket.put(key, bytes.clone(), precondition).await {
                Ok(etag) => return Ok(Outcome::Written(Version::new(etag))),
                Err(failure @ (Failure::Precondition | Failure::Unusable { .. })) => failure,
                Err(failure) => return Err(failure.at(key)),
            };
            // Whether refused or unanswered: what is there now says whether an earlier attempt got through.
            match (self.there(key, u64::MAX).await, failure) {
                (Ok(There::Live(there, object)), _) if there == nonce => return Ok(Outcome::Written(object.version)),
                (Err(error), Failure::Precondition) => return Err(error),
                (Ok(There::Gone(version)), Failure::Precondition) if *condition == Condition::Absent => {
                    tombstone = Some(version);
                }
                // Removed since: the condition holds now.
                (Ok(There::Nothing), Failure::Precondition) if *condition == Condition::Absent => tombstone = None,
                (Ok(There::Live(_, object)), Failure::Precondition) => return Ok(Outcome::Lost(Some(object))),
                (Ok(_), Failure::Precondition) => return Ok(Outcome::Lost(None)),
                (_, failure) => return Err(failure.at(key)),
            }
        }
        Err(Failure::Conflict.at(key))
    }

    /// Writes an object again as it is. False if it isn't there.
    pub async fn renew_small(&self, key: &str) -> Result<bool> {
        for _ in 0..TURNS {
            let Some(object) = self.fetch(key, u64::MAX).await? else { return Ok(false) };
            match self.write(key, &object.content, &Condition::Unchanged(object.version)).await? {
                // Whoever else wrote it made it new.
                Outcome::Written(_) | Outcome::Lost(Some(_)) => return Ok(true),
                Outcome::Lost(None) => {}
            }
        }
        Err(Failure::Conflict.at(key))
    }

    /// Removes an object that is in that state. False if it is in another one.
    pub async fn remove_unchanged(&self, key: &str, version: &Version) -> Result<bool> {
        self.seen().remove(&key.to_owned());
        let removed = if self.conditional_removal {
            self.bucket.delete(key, Precondition::Matches(version.as_str())).await
        } else {
            self.bury(key, version).await
        };
        match removed {
            Ok(()) => Ok(true),
            // Gone counts as removed, whoever did it; so does a removal of ours whose answer was lost.
            Err(Failure::Precondition) => Ok(self.small_size(key).await?.is_none()),
            Err(failure) => Err(failure.at(key)),
        }
    }

    /// Puts a tombstone in the place of an object that is in that state.
    async fn bury(&self, key: &str, version: &Version) -> Result<(), Failure> {
        let bytes = envelope::tombstone(Nonce::random());
        self.bucket.put(key, bytes, Precondition::Matches(version.as_str())).await.map(drop)
    }

    pub async fn remove_small(&self, key: &str) -> Result<()> {
        self.seen().remove(&key.to_owned());
        self.bucket.delete(key, Precondition::Nothing).await.map_err(|failure| failure.at(key))
    }

    /// Moves an object without reading it.
    pub async fn move_small(&self, from: &str, to: &str) -> Result<()> {
        // A tombstone doesn't move.
        let there = self.bucket.size(from).await.map_err(|failure| failure.at(from))?;
        if there.is_none_or(envelope::is_tombstone) {
            return Ok(());
        }
        match self.bucket.copy(from, to).await {
            Ok(()) => self.remove_small(from).await,
            Err(Failure::Missing) => Ok(()),
            Err(failure) => Err(failure.at(from)),
        }
    }

    /// An answer that began and didn't end.
    pub fn broken_off(&self, key: &str, error: &impl std::fmt::Display) -> StorageError {
        let trouble = Trouble::Unreachable;
        let message = format!("{key}: the store's answer broke off: {error}");
        self.bucket.health.failed(trouble, &message);
        StorageError::Unavailable { trouble, message }
    }
}
