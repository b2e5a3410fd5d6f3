//! Where a bundle's content goes while it streams: blobs of the store, pinned, named by no package yet.

use std::io::{self, Read};
use std::sync::Arc;

use bundle::stream::{Receipt, Sink};
use bytes::{Bytes, BytesMut};
use snafu::Snafu;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::catalogue::pins::PinSet;
use crate::digest::{Algorithm, InvalidDigest};
use crate::storage::{Storage, StorageError, keys};

/// Bytes that go to the store at once.
const CHUNK: usize = 1 << 20;

/// Why the sink can't go on.
#[derive(Debug, Snafu)]
pub enum SinkError {
    /// The store failed.
    #[snafu(display("{source}"), context(false))]
    Store {
        /// Why.
        source: StorageError,
    },
    /// What is packed into the bundle (an archive with layers) could not be read further. A transfer that breaks is told
    /// by the reader of the bundle instead.
    #[snafu(display("the bundle's content can't be read: {source}"), context(false))]
    Input {
        /// Why.
        source: io::Error,
    },
    /// Asked for something that can't have been taken.
    #[snafu(display("{source}"), context(false))]
    Digest {
        /// Why.
        source: InvalidDigest,
    },
}

/// Takes a bundle's blobs into the store. Used by a thread that may block.
pub struct StoreSink {
    /// The store.
    pub storage: Arc<dyn Storage>,
    /// The runtime that the store works on.
    pub runtime: Handle,
    /// Keeps what was taken from being swept.
    pub pins: PinSet,
}

impl Sink for StoreSink {
    type Error = SinkError;

    fn blob(&mut self, body: &mut dyn Read) -> Result<Receipt, SinkError> {
        let mut writer = self.runtime.block_on(self.storage.write_blob(Algorithm::Sha256))?;
        loop {
            // A vector's spare room is filled without zeroing it first.
            let mut chunk = Vec::new();
            if body.take(CHUNK as u64).read_to_end(&mut chunk)? == 0 {
                break;
            }
            self.runtime.block_on(writer.write(chunk.into()))?;
        }
        let finished = self.runtime.block_on(writer.finish())?;
        let receipt = Receipt { digest: finished.digest().to_string(), size: finished.size() };
        // Pinned first: from here on no sweep removes it.
        self.runtime.block_on(self.pins.pin(finished.digest().clone()));
        self.runtime.block_on(finished.commit())?;
        Ok(receipt)
    }

    fn read_back(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, SinkError> {
        let key = keys::blob(&digest.parse()?);
        let (bytes, _) = self.runtime.block_on(self.storage.get(&key, limit))?;
        Ok(bytes.into())
    }
}

/// The receiving end of a fetch as something to read from.
pub struct ChannelReader {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
    /// Set by the sender before it closes the channel at the file's end.
    complete: Arc<std::sync::atomic::AtomicBool>,
}

impl ChannelReader {
    /// Reads what comes through a channel; ends with an error unless `complete` is set when the channel closes.
    #[must_use]
    pub fn new(receiver: mpsc::Receiver<Bytes>, complete: Arc<std::sync::atomic::AtomicBool>) -> Self {
        Self { receiver, current: Bytes::new(), complete }
    }
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(bytes) => self.current = bytes,
                None if self.complete.load(std::sync::atomic::Ordering::Acquire) => return Ok(0),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the transfer broke off")),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// Collects small pieces of a transfer into larger ones, so that the reading thread is woken seldom.
#[derive(Debug, Default)]
pub struct Gather {
    bytes: BytesMut,
}

impl Gather {
    const ENOUGH: usize = 256 << 10;

    /// Adds a piece; returns what is to be passed on once there is enough.
    pub fn add(&mut self, piece: Bytes) -> Option<Bytes> {
        if self.bytes.is_empty() && piece.len() >= Self::ENOUGH {
            return Some(piece);
        }
        self.bytes.extend_from_slice(&piece);
        (self.bytes.len() >= Self::ENOUGH).then(|| self.bytes.split().freeze())
    }

    /// What is left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.bytes.freeze()
    }
}
