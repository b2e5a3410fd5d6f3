//! Reading a blob: its pointer, from memory where possible, then its bytes, one call for both together when warm.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::failure::Failure;
use super::inner::Inner;
use super::pointer::Known;
use crate::storage::{ByteRange, Key, Reading, Result, StorageError, Version};

/// How often a body that breaks off is taken up again.
const RESUMPTIONS: u32 = 3;

impl Inner {
    /// Opens a blob.
    pub async fn read_blob(self: &Arc<Self>, key: &Key, range: ByteRange) -> Result<Reading> {
        let name = key.as_str();
        let known = self.pointer(name).await?;
        match self.read_data(name, &known, range).await {
            // The pointer may be another one by now.
            Err(StorageError::NotFound { .. }) => {
                let now = self.read_pointer(name).await?;
                let opened = self.read_data(name, &now, range).await;
                if matches!(&opened, Err(StorageError::NotFound { .. })) {
                    tracing::error!(key = name, data = %now.pointer.data, "the bytes of a blob are gone");
                }
                opened
            }
            other => other,
        }
    }

    async fn read_data(self: &Arc<Self>, key: &str, known: &Known, range: ByteRange) -> Result<Reading> {
        let size = known.pointer.size;
        let range = range.within(size).ok_or_else(|| StorageError::RangeOutside { key: key.to_owned(), size })?;
        if range.is_empty() {
            return Ok(Reading { size, range, body: stream::empty().boxed() });
        }
        let whole = range == (0..size);
        let data = known.pointer.data_key();
        let asked = (!whole).then(|| range.clone());
        let found = match self.bucket.get(&data, asked).await {
            Ok(found) => found,
            Err(Failure::Missing) => {
                self.pointers().remove(&key.to_owned());
                return Err(StorageError::NotFound { key: key.to_owned() });
            }
            Err(failure) => return Err(failure.at(key)),
        };
        let body = DataBody { inner: Arc::clone(self), data, left: range.clone(), body: found.body, resumed: 0 };
        Ok(Reading { size, range, body: body.into_stream().boxed() })
    }

    /// A blob that is small.
    pub async fn get_blob(self: &Arc<Self>, key: &Key, limit: u64) -> Result<(Bytes, Version)> {
        let too_large = || StorageError::TooLarge { key: key.to_string(), limit };
        let known = self.pointer(key.as_str()).await?;
        if known.pointer.size > limit {
            return Err(too_large());
        }
        let mut reading = self.read_blob(key, ByteRange::Whole).await?;
        if reading.size > limit {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(reading.size).unwrap_or_default());
        while let Some(chunk) = reading.body.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok((bytes.into(), known.version))
    }
}

/// Bytes on their way. What breaks off goes on from where it was: the bytes never change.
struct DataBody {
    inner: Arc<Inner>,
    data: String,
    left: Range<u64>,
    body: ByteStream,
    resumed: u32,
}

impl DataBody {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes>> {
        stream::unfold(Some(self), |state| async move {
            let mut state = state?;
            match state.next().await {
                Ok(None) => None,
                Ok(Some(bytes)) => Some((Ok(bytes), Some(state))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.left.is_empty() {
                return Ok(None);
            }
            match self.body.next().await {
                Some(Ok(bytes)) => {
                    let most = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
                    let bytes = bytes.slice(..bytes.len().min(most));
                    self.left.start += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Some(Err(error)) => self.resume(&error.to_string()).await?,
                None => self.resume("it ended early").await?,
            }
        }
    }

    async fn resume(&mut self, why: &str) -> Result<()> {
        if self.resumed == RESUMPTIONS {
            return Err(self.inner.broken_off(&self.data, &why));
        }
        self.resumed += 1;
        tracing::debug!(key = self.data, why, "a body is taken up again");
        let found = self.inner.bucket.get(&self.data, Some(self.left.clone())).await;
        self.body = found.map_err(|failure| failure.at(&self.data))?.body;
        Ok(())
    }
}
