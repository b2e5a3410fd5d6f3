//! Reading a file as a stream.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Result, StorageError};

/// Bytes that one step of a read takes from the file.
const CHUNK: u64 = 256 * 1024;

/// A file and how many bytes are still to be read from where it stands.
pub(super) struct FileRest {
    pub(super) key: String,
    pub(super) file: File,
    pub(super) left: u64,
}

impl FileRest {
    /// Takes the next chunk; nothing where nothing is left.
    pub(super) fn read_chunk(mut self) -> Result<(Bytes, Self)> {
        let want = self.left.min(CHUNK);
        // Filling the spare room of a vector needs no zeroing first.
        let mut chunk = Vec::with_capacity(usize::try_from(want).unwrap_or_default());
        let taken = (&mut self.file).take(want).read_to_end(&mut chunk);
        let read = taken.map_err(|error| StorageError::from_io(&self.key, error))?;
        if (read as u64) < want {
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was");
            return Err(StorageError::Io { key: self.key, source });
        }
        self.left -= want;
        Ok((chunk.into(), self))
    }
}

type NextChunk = JoinHandle<Result<(Bytes, FileRest)>>;

enum Chunks {
    Ready(Bytes, FileRest),
    Reading(NextChunk),
    End,
}

/// Reads one chunk ahead of the taker, so that disk and line work at the same time.
pub(super) fn chunks(first: (Bytes, FileRest)) -> impl Stream<Item = Result<Bytes>> {
    stream::unfold(Chunks::Ready(first.0, first.1), |state| async move {
        let read = match state {
            Chunks::End => return None,
            Chunks::Ready(bytes, rest) => Ok((bytes, rest)),
            Chunks::Reading(handle) => handle.await.unwrap_or_else(|stopped| {
                let source = io::Error::other(stopped);
                Err(StorageError::Io { key: "a blob".to_owned(), source })
            }),
        };
        match read {
            Ok((bytes, rest)) => {
                let next = if rest.left == 0 {
                    Chunks::End
                } else {
                    Chunks::Reading(spawn_blocking(move || rest.read_chunk()))
                };
                Some((Ok(bytes), next))
            }
            Err(error) => Some((Err(error), Chunks::End)),
        }
    })
    .filter(|chunk| std::future::ready(!matches!(chunk, Ok(bytes) if bytes.is_empty())))
}
