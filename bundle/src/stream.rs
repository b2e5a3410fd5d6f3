//! Reading a bundle front to back as it arrives, nothing of it whole in memory.

mod belonging;
mod collect;
mod complete;
mod parts;

use std::io::{self, Read};

use snafu::Snafu;

use crate::model::Bundle;
use crate::zip::{ZipLimits, ZipStream};
pub use parts::{Outline, Parts};

/// Where the content goes while the bundle streams.
///
/// The reader decides nothing about visibility: what a sink took must stay invisible until [`read`] has returned `Ok`.
pub trait Sink {
    /// Why a sink can't go on.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Told before each [`Self::blob`]: at which byte of the input the blob begins, where it is there as it is; for those who
    /// can come back to it.
    fn begins(&mut self, at: Option<u64>) {
        let _ = at;
    }

    /// Takes one blob to its end and says what it got. The sink computes the digest (once); the reader compares.
    ///
    /// # Errors
    /// Storage that fails, or `body` that fails to be read (pass its error on).
    fn blob(&mut self, body: &mut dyn Read) -> Result<Receipt, Self::Error>;

    /// Reads back a blob that it took before (manifests and configs), at most `limit` bytes.
    ///
    /// # Errors
    /// Storage that fails, a blob that isn't there or is larger.
    fn read_back(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error>;
}

/// What a sink got.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// Signatures that a bundle may have.
pub const MOST_SIGNATURES: usize = 16;

/// Caps, counted while reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of the whole file, and of everything in it unpacked.
    pub total: u64,
    /// Bytes of one entry, unpacked.
    pub entry: u64,
    /// Entries.
    pub entries: u64,
    /// Unpacked bytes for each packed one, of a deflated entry above 1 MiB.
    pub ratio: u64,
    /// Bytes of `manifest.json` or an image index; of `metadata.json`, but never more than 4 MiB.
    pub json: u64,
    /// Bytes of an image manifest.
    pub image_manifest: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        Self { total: 64 * GIB, entry: 32 * GIB, entries: 65_536, ratio: 200, json: 8 * MIB, image_manifest: 4 * MIB }
    }
}

/// Why a bundle was not read to its end or found wrong.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum ReadError<E: std::error::Error + 'static> {
    /// The input failed; the bundle may be right.
    #[snafu(display("the bundle could not be read: {source}"))]
    Input {
        /// What the input says.
        source: io::Error,
    },
    /// The sink failed; the bundle may be right.
    #[snafu(display("{source}"))]
    Sink {
        /// What the sink says.
        source: E,
    },
    /// The bundle is wrong.
    #[snafu(display("{place}: {reason}"))]
    Invalid {
        /// Where: an entry, a JSON path in it, a part of the ZIP file.
        place: String,
        /// What is wrong there, and what would be right.
        reason: String,
    },
    /// The bundle's packaging version is not one that this program reads.
    #[snafu(display("metadata.json: packagingVersion is \"{version}\", must be \"3.0\", \"4.0\" or \"5.0\""))]
    Unsupported {
        /// What the metadata has.
        version: String,
    },
}

/// Reads a whole bundle as it arrives, gives every file and image blob to the sink, and checks everything: the ZIP structure
/// against its central directory, digests, the metadata, that all files and images that the metadata names are there.
///
/// # Errors
/// [`ReadError`]. Nothing of what the sink took may be kept visible then.
pub fn read<R: Read, S: Sink>(input: R, sink: &mut S, limits: &Limits) -> Result<Bundle, ReadError<S::Error>> {
    let Limits { total, entry, entries, ratio, .. } = *limits;
    let mut zip = ZipStream::new(input, ZipLimits { total, entry, entries, ratio });
    let mut collected = collect::Collected::default();
    while let Some(entry) = zip.next_entry()? {
        collected.take(&entry, &mut zip, sink, limits)?;
    }
    zip.finish()?;
    complete::complete(collected, sink, limits)
}
