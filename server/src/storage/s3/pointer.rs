//! Pointers: what is under a blob's digest. The bytes are elsewhere, so that nothing is copied when a blob becomes visible.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::failure::damaged;
use super::inner::Inner;
use super::small::Object;
use crate::storage::{Result, StorageError, Version, keys};

/// How long a pointer is believed without being read again. Its content never changes, but it may be removed, or quarantined,
/// by another instance.
const BELIEVED: Duration = Duration::from_mins(5);

/// Where the bytes of a blob are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Pointer {
    pub data: Uuid,
    pub size: u64,
}

impl Pointer {
    pub fn data_key(&self) -> String {
        keys::data(self.data)
    }

    pub fn content(&self) -> Vec<u8> {
        format!(r#"{{"data":"{}","size":{}}}"#, self.data, self.size).into_bytes()
    }

    fn read(key: &str, object: &Object) -> Result<Self> {
        serde_json::from_slice(&object.content).map_err(|error| damaged(key, &format!("no pointer: {error}")))
    }
}

/// A pointer that was read.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub pointer: Pointer,
    pub version: Version,
    since: Instant,
}

impl Known {
    pub fn new(pointer: Pointer, version: Version) -> Self {
        Self { pointer, version, since: Instant::now() }
    }
}

impl Inner {
    /// The pointer that is there now.
    pub async fn read_pointer(&self, key: &str) -> Result<Known> {
        let Some(object) = self.fetch(key, u64::MAX).await? else {
            self.pointers().remove(&key.to_owned());
            return Err(StorageError::NotFound { key: key.to_owned() });
        };
        let known = Known::new(Pointer::read(key, &object)?, object.version);
        self.pointers().insert(key.to_owned(), known.clone());
        Ok(known)
    }

    /// The pointer that was there lately.
    pub async fn pointer(&self, key: &str) -> Result<Known> {
        let remembered = self.pointers().get(&key.to_owned());
        match remembered {
            Some(known) if known.since.elapsed() < BELIEVED => Ok(known),
            _ => self.read_pointer(key).await,
        }
    }

    /// Removes a pointer in whatever state, and its bytes.
    pub async fn remove_blob(&self, key: &str) -> Result<()> {
        let there = match self.read_pointer(key).await {
            Ok(known) => Some(known.pointer),
            Err(StorageError::NotFound { .. }) => return Ok(()),
            // What can't be read can be removed all the same.
            Err(StorageError::Io { .. }) => None,
            Err(error) => return Err(error),
        };
        self.pointers().remove(&key.to_owned());
        self.remove_small(key).await?;
        match there {
            Some(pointer) => self.remove_small(&pointer.data_key()).await,
            None => Ok(()),
        }
    }

    /// Removes a pointer that is in that state, and its bytes.
    pub async fn remove_blob_unchanged(&self, key: &str, version: &Version) -> Result<bool> {
        let there = match self.read_pointer(key).await {
            Ok(known) if known.version != *version => return Ok(false),
            Ok(known) => known.pointer,
            Err(StorageError::NotFound { .. }) => return Ok(true),
            Err(error) => return Err(error),
        };
        self.pointers().remove(&key.to_owned());
        let removed = self.remove_unchanged(key, version).await?;
        if removed {
            // Without the pointer nobody finds them: an error only leaves them for the next clearing of leftovers.
            self.remove_small(&there.data_key()).await?;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_reads_back_as_it_was_written() {
        let pointer = Pointer { data: Uuid::new_v4(), size: u64::MAX };
        let object = Object { content: pointer.content().into(), version: Version::new("v") };
        assert_eq!(Pointer::read("k", &object).unwrap(), pointer);
        let foreign = Object { content: "{}".into(), version: Version::new("v") };
        assert!(Pointer::read("blobs/x", &foreign).unwrap_err().to_string().contains("blobs/x"));
    }
}
