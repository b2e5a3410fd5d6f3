//! A bundle in a file: read once to its end and checked, then any part of it from where it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use crate::digest::sha256_with;
use crate::model::Bundle;
use crate::stream::{self, Limits, ReadError, Receipt, Sink};

/// A bundle that was found right, and where its files and image blobs are.
#[derive(Debug)]
pub struct BundleFile {
    bundle: Bundle,
    parts: Parts,
}

impl BundleFile {
    /// Reads the whole file and checks everything in it. What is packed in it, or made from an image archive, is put into
    /// `unpacked`, an empty file; a bundle that this project wrote needs none of it. `advance` is told of bytes that were read.
    ///
    /// # Errors
    /// As [`stream::read`].
    pub fn read(
        file: File,
        unpacked: File,
        limits: &Limits,
        advance: &mut dyn FnMut(u64),
    ) -> Result<Self, ReadError<io::Error>> {
        let whole = Shared::new(file);
        let mut parts =
            Parts { file: whole.clone(), unpacked: Shared::new(unpacked), places: BTreeMap::new(), next: None, end: 0 };
        let input = Counted { input: whole.read(0, u64::MAX), advance };
        let bundle = stream::read(input, &mut parts, limits)?;
        Ok(Self { bundle, parts })
    }

    /// What is in it.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// A file or image blob from its byte `from` on. The one who reads it compares its digest: the file may have changed.
    #[must_use]
    pub fn part(&self, digest: &str, from: u64) -> Option<BlobReader> {
        let place = self.parts.places.get(digest)?;
        let file = if place.unpacked { &self.parts.unpacked } else { &self.parts.file };
        Some(file.read(place.offset + from.min(place.size), place.offset + place.size))
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    unpacked: bool,
    offset: u64,
    size: u64,
}

#[derive(Debug)]
struct Parts {
    file: Shared,
    unpacked: Shared,
    places: BTreeMap<String, Place>,
    /// Where the next blob is in the file.
    next: Option<u64>,
    /// Bytes in `unpacked`.
    end: u64,
}

impl Sink for Parts {
    type Error = io::Error;

    fn begins(&mut self, at: Option<u64>) {
        self.next = at;
    }

    fn blob(&mut self, body: &mut dyn Read) -> Result<Receipt, Self::Error> {
        let (unpacked, offset) = match self.next.take() {
            Some(offset) => (false, offset),
            None => (true, self.end),
        };
        let mut end = offset;
        let (digest, size) = sha256_with(body, |piece| {
            if unpacked {
                self.unpacked.write(end, piece)?;
            }
            end += piece.len() as u64;
            Ok(())
        })?;
        if unpacked {
            self.end = end;
        }
        self.places.entry(digest.clone()).or_insert(Place { unpacked, offset, size });
        Ok(Receipt { digest, size })
    }

    fn read_back(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{digest} has more than {limit} bytes"));
        let &Place { unpacked, offset, size } =
            self.places.get(digest).filter(|place| place.size <= limit).ok_or_else(wrong)?;
        let mut bytes = Vec::new();
        let file = if unpacked { &self.unpacked } else { &self.file };
        file.read(offset, offset + size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A file that is read at several places at once.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<File>>);

impl Shared {
    fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    fn read(&self, position: u64, end: u64) -> BlobReader {
        BlobReader { file: self.clone(), position, end }
    }

    fn with<T>(&self, act: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        let mut file = self.0.lock().map_err(|_| io::Error::other("another reader of the bundle failed"))?;
        act(&mut file)
    }

    fn write(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|file| {
            file.seek(SeekFrom::Start(position))?;
            file.write_all(bytes)
        })
    }
}

/// Bytes of a bundle from one place to another, read from where they are. A clone goes on from the same place by itself.
#[derive(Clone, Debug)]
pub struct BlobReader {
    file: Shared,
    position: u64,
    end: u64,
}

impl Read for BlobReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let position = self.position;
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = left.min(out.len());
        let count = self.file.with(|file| {
            file.seek(SeekFrom::Start(position))?;
            file.read(out.get_mut(..length).unwrap_or_default())
        })?;
        self.position += count as u64;
        Ok(count)
    }
}

struct Counted<'a, R> {
    input: R,
    advance: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        (self.advance)(count as u64);
        Ok(count)
    }
}
