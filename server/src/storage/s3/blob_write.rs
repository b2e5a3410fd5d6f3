//! A blob that is written in one go.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};

use super::inner::Inner;
use super::leftovers::Leftover;
use super::parts::Parts;
use super::staged::FinishedS3Blob;
use crate::digest::{Algorithm, Hasher};
use crate::storage::{BlobWriter, FinishedBlob, Result};

/// A blob being written.
pub(super) struct S3Blob {
    hasher: Hasher,
    size: u64,
    parts: Parts,
    leftover: Leftover,
}

impl S3Blob {
    pub fn new(inner: Arc<Inner>, algorithm: Algorithm) -> Self {
        let parts = Parts::new(Arc::clone(&inner));
        Self { hasher: Hasher::new(algorithm), size: 0, leftover: Leftover::new(inner, parts.data), parts }
    }
}

impl BlobWriter for S3Blob {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            self.hasher.update(&bytes);
            self.size += bytes.len() as u64;
            let written = self.parts.write(bytes).await;
            self.leftover.is_upload(self.parts.upload.as_ref());
            written
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>> {
        async move {
            let staged = self.parts.finish(self.leftover).await?;
            let (digest, size) = (self.hasher.finish(), self.size);
            Ok(Box::new(FinishedS3Blob { session: None, staged, digest, size }) as Box<dyn FinishedBlob>)
        }
        .boxed()
    }
}
