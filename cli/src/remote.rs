//! A file or blob of a package in a registry, read as if it were here.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::connection::{Api, CallError};
use crate::coordinate::Coordinate;
use crate::http::{PATIENT_ATTEMPTS, repeat};
use crate::progress::Transfer;

/// Bytes of a package's part. Reading blocks, and goes on where a connection was lost.
pub struct RemotePart<'a> {
    handle: Handle,
    api: &'a Api,
    package: &'a Coordinate,
    digest: String,
    size: u64,
    position: u64,
    answer: Option<reqwest::Response>,
    chunk: Bytes,
    progress: &'a Transfer,
}

impl<'a> RemotePart<'a> {
    /// Starts at the first of `size` bytes.
    pub fn new(
        handle: Handle,
        api: &'a Api,
        package: &'a Coordinate,
        digest: &str,
        size: u64,
        progress: &'a Transfer,
    ) -> Self {
        let digest = digest.to_owned();
        Self { handle, api, package, digest, size, position: 0, answer: None, chunk: Bytes::new(), progress }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let mut answer = match self.answer.take() {
            Some(answer) => answer,
            None => self.api.part(&self.package.name, &self.package.version, &self.digest, self.position).await?,
        };
        let chunk = answer.chunk().await.map_err(|source| CallError::Transport {
            base: self.api.base().to_string(),
            source: source.without_url(),
        })?;
        self.answer = Some(answer);
        Ok(chunk)
    }
}

impl Read for RemotePart<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && self.position < self.size {
            let handle = self.handle.clone();
            let next = handle.block_on(repeat(PATIENT_ATTEMPTS, async || self.next().await));
            // Too few bytes: the one who reads compares digest and size.
            self.chunk = next.map_err(io::Error::other)?.unwrap_or_default();
        }
        let count = self.chunk.len().min(out.len());
        let taken = self.chunk.split_to(count);
        if let Some(out) = out.get_mut(..count) {
            out.copy_from_slice(&taken);
        }
        self.position += count as u64;
        self.progress.advance(count as u64);
        Ok(count)
    }
}
