//! Pieces of a repository document, compressed once, that are put together without being compressed again. Pure.
//!
//! Each piece is raw deflate that ends at a byte with nothing left to refer back to (a full flush), so that pieces in any
//! order are one deflate stream; with a header before and a checksum behind, it is one gzip member. The checksum of
//! the whole is combined from those of the pieces.

use std::io;
use std::sync::Arc;

use bundle::universe::{DcosVersion, RepositoryVersion};
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::digest::{Algorithm, Digest, Hasher};

/// One piece of a document.
#[derive(Clone, Debug)]
pub(super) struct Fragment {
    /// Raw deflate, ending in a full flush.
    deflated: Bytes,
    /// Bytes of the text.
    length: u64,
    /// Its checksum, which can be combined with that of what comes before.
    crc: crc32fast::Hasher,
    /// sha256 of the text.
    digest: Digest,
}

impl Fragment {
    /// Compresses a text.
    ///
    /// # Errors
    /// A compressor that fails, which none does on memory.
    pub(super) fn new(text: &[u8]) -> io::Result<Self> {
        let mut compress = Compress::new(Compression::default(), false);
        let mut deflated = Vec::with_capacity(text.len() / 4 + 64);
        let mut rest = text;
        loop {
            deflated.reserve(rest.len() / 4 + 1024);
            let before = compress.total_in();
            let status = compress.compress_vec(rest, &mut deflated, FlushCompress::Full).map_err(io::Error::other)?;
            let taken = usize::try_from(compress.total_in() - before).map_err(io::Error::other)?;
            rest = rest.get(taken..).unwrap_or_default();
            // Room that is left means that nothing waits to be written.
            if rest.is_empty() && deflated.len() < deflated.capacity() {
                break;
            }
            if !matches!(status, Status::Ok) && deflated.len() < deflated.capacity() {
                return Err(io::Error::other("the compressor stopped"));
            }
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(text);
        Ok(Self { deflated: deflated.into(), length: text.len() as u64, crc, digest: Digest::sha256(text) })
    }

    /// Bytes that it takes in memory.
    pub(super) fn weight(&self) -> usize {
        self.deflated.len() + 256
    }

    /// The text.
    fn text(&self) -> io::Result<Bytes> {
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        let mut text = Vec::with_capacity(length + 1);
        let mut inflate = Decompress::new(false);
        inflate.decompress_vec(&self.deflated, &mut text, FlushDecompress::Sync).map_err(io::Error::other)?;
        if text.len() == length { Ok(text.into()) } else { Err(io::Error::other("a piece is damaged")) }
    }
}

/// A package in a document.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    /// Whether its packaging version is 5.0.
    pub(super) is_5: bool,
    /// The lowest DC/OS version that it is for.
    pub(super) needs: Option<DcosVersion>,
    pub(super) fragment: Fragment,
}

impl Shown {
    /// Whether a document of that version has it for a cluster of that version.
    pub(super) fn is_in(&self, version: RepositoryVersion, cluster: Option<&DcosVersion>) -> bool {
        let known = version == RepositoryVersion::V5 || !self.is_5;
        let new_enough = match (&self.needs, cluster) {
            (Some(needs), Some(cluster)) => needs <= cluster,
            _ => true,
        };
        known && new_enough
    }
}

/// What is around the packages.
#[derive(Debug)]
pub(super) struct Frame {
    head: Fragment,
    comma: Fragment,
    tail: Fragment,
}

impl Frame {
    pub(super) fn new() -> io::Result<Self> {
        let [head, comma, tail] = [&br#"{"packages":["#[..], b",", b"]}"].map(Fragment::new);
        Ok(Self { head: head?, comma: comma?, tail: tail? })
    }
}

/// gzip: deflate, no name, no time, no hint, system unknown.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Ends a deflate stream: a last block with nothing in it.
const DEFLATE_END: [u8; 2] = [3, 0];

/// A whole document, ready to be sent in both forms.
#[derive(Debug)]
pub(super) struct Document {
    frame: Frame,
    packages: Vec<Arc<Shown>>,
    /// Bytes of the text.
    pub(super) length: u64,
    /// Bytes of the gzip form.
    pub(super) gzip_length: u64,
    crc: u32,
    /// Of the text, without quotation marks.
    pub(super) tag: String,
}

impl Document {
    /// Puts packages together.
    pub(super) fn new(frame: Frame, packages: Vec<Arc<Shown>>) -> Self {
        let (mut length, mut deflated) = (0, 0);
        let (mut crc, mut hasher) = (crc32fast::Hasher::new(), Hasher::new(Algorithm::Sha256));
        for fragment in fragments(&frame, &packages) {
            length += fragment.length;
            deflated += fragment.deflated.len() as u64;
            crc.combine(&fragment.crc);
            hasher.update(fragment.digest.hex().as_bytes());
        }
        let gzip_length = (GZIP_HEAD.len() + DEFLATE_END.len() + 8) as u64 + deflated;
        let tag = hasher.finish().to_string();
        Self { frame, packages, length, gzip_length, crc: crc.finalize(), tag }
    }

    /// Its gzip form, piece by piece.
    pub(super) fn gzip(self: Arc<Self>) -> impl Iterator<Item = io::Result<Bytes>> + Send + 'static {
        // The length by the format: modulo 2^32.
        let length = u32::try_from(self.length & u64::from(u32::MAX)).unwrap_or_default();
        let mut end = DEFLATE_END.to_vec();
        end.extend_from_slice(&self.crc.to_le_bytes());
        end.extend_from_slice(&length.to_le_bytes());
        let head = std::iter::once(Bytes::from_static(&GZIP_HEAD));
        let pieces = (0..self.pieces()).map(move |index| self.piece(index).deflated.clone());
        head.chain(pieces).chain(std::iter::once(end.into())).map(Ok)
    }

    /// Its text, piece by piece, each unpacked when it is asked for.
    pub(super) fn text(self: Arc<Self>) -> impl Iterator<Item = io::Result<Bytes>> + Send + 'static {
        (0..self.pieces()).map(move |index| self.piece(index).text())
    }

    fn pieces(&self) -> usize {
        self.packages.len().saturating_mul(2).saturating_sub(1) + 2
    }

    /// Head, package, comma, package, …, tail.
    fn piece(&self, index: usize) -> &Fragment {
        let within = index.checked_sub(1).filter(|_| index + 1 < self.pieces());
        match within {
            None if index == 0 => &self.frame.head,
            None => &self.frame.tail,
            Some(within) if within % 2 == 1 => &self.frame.comma,
            Some(within) => self.packages.get(within / 2).map_or(&self.frame.tail, |package| &package.fragment),
        }
    }
}

fn fragments<'a>(frame: &'a Frame, packages: &'a [Arc<Shown>]) -> impl Iterator<Item = &'a Fragment> {
    let body = packages.iter().enumerate().flat_map(|(index, package)| {
        (index > 0).then_some(&frame.comma).into_iter().chain(std::iter::once(&package.fragment))
    });
    std::iter::once(&frame.head).chain(body).chain(std::iter::once(&frame.tail))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Arc<Shown> {
        let fragment = Fragment::new(text.as_bytes()).unwrap();
        Arc::new(Shown { name: String::new(), is_5: false, needs: None, fragment })
    }

    fn document(texts: &[String]) -> Arc<Document> {
        Arc::new(Document::new(Frame::new().unwrap(), texts.iter().map(|text| shown(text)).collect()))
    }

    fn joined(pieces: impl Iterator<Item = io::Result<Bytes>>) -> Vec<u8> {
        pieces.flat_map(|piece| piece.unwrap().to_vec()).collect()
    }

    fn agrees(texts: &[String]) {
        let expected = format!("{{\"packages\":[{}]}}", texts.join(","));
        let document = document(texts);
        let text = joined(Arc::clone(&document).text());
        assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
        assert_eq!(document.length, expected.len() as u64);
        let gzip = joined(Arc::clone(&document).gzip());
        assert_eq!(document.gzip_length, gzip.len() as u64);
        // Reads one member and stops there, as the consumer's reader does.
        let mut member = flate2::read::GzDecoder::new(&gzip[..]);
        let mut unpacked = String::new();
        member.read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, expected);
        assert!(member.into_inner().is_empty(), "nothing is behind the one member");
    }

    #[test]
    fn pieces_make_one_gzip_member_and_the_same_text() {
        agrees(&[]);
        agrees(&["{}".into()]);
        agrees(&["{\"a\":1}".into(), String::new(), "x".repeat(300_000), "é".into()]);
    }

    #[test]
    fn documents_with_the_same_packages_have_the_same_tag() {
        let (one, two) = (["a".to_owned(), "b".to_owned()], ["b".to_owned(), "a".to_owned()]);
        assert_eq!(document(&one).tag, document(&one).tag);
        assert_ne!(document(&one).tag, document(&two).tag);
        assert_ne!(document(&["ab".to_owned()]).tag, document(&one).tag);
    }

    #[test]
    fn packages_are_chosen_by_version_and_cluster() {
        let mut five = (*shown("x")).clone();
        (five.is_5, five.needs) = (true, DcosVersion::parse("1.12"));
        let cluster = |text| DcosVersion::parse(text);
        assert!(five.is_in(RepositoryVersion::V5, None));
        assert!(!five.is_in(RepositoryVersion::V4, None) && !five.is_in(RepositoryVersion::V3, None));
        assert!(five.is_in(RepositoryVersion::V5, cluster("1.12.0").as_ref()));
        assert!(!five.is_in(RepositoryVersion::V5, cluster("1.11.9").as_ref()));
    }

    proptest! {
        #[test]
        fn whatever_the_texts_are_they_come_back(texts in proptest::collection::vec("[ -~é]{0,3000}", 0..6)) {
            agrees(&texts);
        }
    }
}
