//! A bundle on this machine, read by the server's rules to its last byte.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bundle::digest::sha256_with;
use bundle::model::Bundle;
use bundle::stream::{self, Limits, ReadError, Receipt, Sink};
use snafu::{ResultExt, Snafu};

use crate::progress::Transfer;

/// Why a bundle is not good.
#[derive(Debug, Snafu)]
pub enum CheckError {
    /// It can't be read.
    #[snafu(display("{}: {source}", path.display()))]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is wrong.
    #[snafu(display("{}: {source}", path.display()))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in it, and what would be right.
        source: ReadError<io::Error>,
    },
}

/// Reads a bundle and checks everything in it: structure, metadata, every digest, that nothing is missing.
pub fn check(path: &Path) -> Result<Bundle, CheckError> {
    let open = || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok((file, size, tempfile::tempfile()?))
    };
    let (file, size, spool) = open().context(OpenSnafu { path })?;
    let progress = Transfer::start("Read", size);
    let input = Counted { file, progress: &progress };
    let mut sink = Hashing { spool, end: 0, documents: HashMap::new() };
    let read = stream::read(input, &mut sink, &Limits::default());
    progress.finish();
    read.context(WrongSnafu { path })
}

struct Counted<'a> {
    file: File,
    progress: &'a Transfer,
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(out)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}

/// Hashes everything and keeps, in a file without a name, only what may be read back: small JSON documents.
struct Hashing {
    spool: File,
    end: u64,
    /// Offset and size by digest.
    documents: HashMap<String, (u64, u64)>,
}

impl Sink for Hashing {
    type Error = io::Error;

    fn blob(&mut self, body: &mut dyn Read) -> Result<Receipt, Self::Error> {
        self.spool.seek(SeekFrom::Start(self.end))?;
        let (mut kept, mut keeps) = (0, true);
        let (digest, size) = sha256_with(body, |piece| {
            let begins = kept > 0 || may_begin_object(piece);
            kept += piece.len() as u64;
            keeps &= begins && kept <= Limits::default().image_manifest;
            if keeps { self.spool.write_all(piece) } else { Ok(()) }
        })?;
        if keeps {
            self.documents.insert(digest.clone(), (self.end, size));
            self.end += size;
        }
        Ok(Receipt { digest, size })
    }

    fn read_back(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{digest} is no JSON document that fits"));
        let &(offset, size) = self.documents.get(digest).filter(|(_, size)| *size <= limit).ok_or_else(wrong)?;
        self.spool.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        (&self.spool).take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Whether a JSON object can begin like this.
fn may_begin_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first().is_none_or(|first| *first == b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_kept_with_the_blanks_before_them_and_other_content_is_not() {
        let mut sink = Hashing { spool: tempfile::tempfile().unwrap(), end: 0, documents: HashMap::new() };
        for (body, kept) in [("{}", true), ("\r\n\t {}", true), ("  ", true), ("layer", false), (" [", false)] {
            let taken = sink.blob(&mut body.as_bytes()).unwrap();
            assert_eq!(taken.digest, bundle::digest::sha256(body.as_bytes()));
            let read = sink.read_back(&taken.digest, 100);
            assert_eq!(read.ok(), kept.then(|| body.as_bytes().to_vec()), "{body:?}");
        }
    }
}
