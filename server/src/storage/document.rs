//! Small objects that are JSON documents.

use bytes::Bytes;
use serde::Serialize;

use super::{Key, Result, StorageError};

/// A value as it is kept under a key.
///
/// # Errors
/// A value that JSON has no words for.
pub fn write(key: &Key, value: &impl Serialize) -> Result<Bytes> {
    let written = serde_json::to_vec(value).map(Bytes::from);
    written.map_err(|error| StorageError::from_io(key.as_str(), error.into()))
}
