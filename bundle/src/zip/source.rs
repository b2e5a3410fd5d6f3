//! The input of the reader: buffered, counted, capped.

use std::io::{self, Read};

use snafu::{ResultExt, ensure};

use super::error::{InputSnafu, InvalidSnafu, ZipError};

const BUFFER: usize = 64 * 1024;

pub(super) struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are used up, and that are filled.
    start: usize,
    end: usize,
    /// Bytes used up in all.
    position: u64,
    /// Bytes that the whole input may have.
    limit: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(input: R, limit: u64) -> Self {
        Self { input, buffer: vec![0; BUFFER], start: 0, end: 0, position: 0, limit }
    }

    /// Bytes used up so far: the offset in the file.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// What is buffered, at least one byte unless the input is at its end.
    pub(super) fn fill(&mut self) -> Result<&[u8], ZipError> {
        self.peek(1)
    }

    /// What is buffered, at least `count` bytes unless the input ends before.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], ZipError> {
        if self.end - self.start < count && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < count {
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(free) {
                Ok(0) => break,
                Ok(got) => self.end += got.min(free.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(InputSnafu),
            }
            let seen = self.position + (self.end - self.start) as u64;
            let reason = || format!("the file has more than {} bytes, the limit for a bundle", self.limit);
            ensure!(seen <= self.limit, InvalidSnafu { place: "ZIP file", reason: reason() });
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    /// Marks bytes that [`Self::fill`] or [`Self::peek`] gave as used up.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.position += count as u64;
    }

    /// Exactly `count` bytes, at most 64 KiB.
    pub(super) fn take(&mut self, count: usize, what: &str) -> Result<Vec<u8>, ZipError> {
        let taken = self.peek(count)?.get(..count).map(<[u8]>::to_vec);
        self.consume(count);
        taken.map_or_else(|| truncated(what), Ok)
    }

    /// Whether these four bytes come next. A ZIP file that ends where a record must begin is truncated.
    pub(super) fn is_next(&mut self, signature: [u8; 4]) -> Result<bool, ZipError> {
        match self.peek(4)? {
            next if next.len() < 4 => truncated("ZIP file"),
            next => Ok(next.starts_with(&signature)),
        }
    }
}

/// The input ended inside something.
pub(super) fn truncated<T>(what: &str) -> Result<T, ZipError> {
    InvalidSnafu { place: what, reason: "the file ends here, it is truncated" }.fail()
}
