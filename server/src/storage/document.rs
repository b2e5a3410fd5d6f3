//! Small objects that are JSON documents.

use std::fmt::Display;

use bytes::Bytes;
use serde::Serialize;

use super::{Result, StorageError};

/// A value as it is kept under a key, or under one that begins so.
///
/// # Errors
/// A value that JSON has no words for.
pub fn write(key: &(impl Display + ?Sized), value: &impl Serialize) -> Result<Bytes> {
    let written = serde_json::to_vec(value).map(Bytes::from);
    written.map_err(|error| StorageError::from_io(key.to_string(), error.into()))
}
