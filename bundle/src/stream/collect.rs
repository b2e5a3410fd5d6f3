//! Takes the entries of a bundle as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use snafu::OptionExt;

use super::{InvalidSnafu, Limits, MOST_SIGNATURES, ReadError, Receipt, Sink};
use crate::entry::{DOCKER_ARCHIVE, EntryKind, INDEX};
use crate::image::archive::{self, ArchiveError, Keep};
use crate::image::layout::{Named, is_layout, read_index};
use crate::model::File;
use crate::universe::{Metadata, MetadataError};
use crate::zip::{Entry, ZipError, ZipStream};

/// Bytes of `metadata.json`: what is parsed takes many times its size in memory.
pub(super) const METADATA_BYTES: u64 = 4 << 20;
/// Bytes of signatures, each and all together.
pub(super) const SIGNATURE_BYTES: u64 = 1 << 20;
const ALL_SIGNATURES_BYTES: usize = 4 << 20;

/// What was read so far.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) metadata: Option<(Metadata, Vec<u8>)>,
    pub(super) manifest: Option<Vec<u8>>,
    pub(super) index: Option<Vec<u8>>,
    pub(super) signatures: BTreeMap<u32, Vec<u8>>,
    /// By entry path.
    pub(super) files: BTreeMap<String, File>,
    /// Bytes of image blobs by digest.
    pub(super) blobs: BTreeMap<String, u64>,
    /// Digests of the entries under `images/blobs`: each must belong to an image.
    pub(super) layout_blobs: BTreeSet<String>,
    pub(super) layout: bool,
    pub(super) images: Option<Vec<Named>>,
    /// Which entry the images are from.
    pub(super) images_place: &'static str,
}

impl Collected {
    /// Takes the entry that the stream gave last.
    pub(super) fn take<R: Read, S: Sink>(
        &mut self,
        Entry { name, stored_at }: &Entry,
        zip: &mut ZipStream<R>,
        sink: &mut S,
        limits: &Limits,
    ) -> Result<(), ReadError<S::Error>> {
        let reason = "bundles have no such entry, only metadata.json, manifest.json, resources/<sha256>/<file name>, signatures/<n>.json, images/ (an OCI layout) or docker/images.tar";
        let kind =
            EntryKind::of(name).with_context(|| InvalidSnafu { place: name.escape_debug().to_string(), reason })?;
        match kind {
            EntryKind::Metadata => {
                let bytes = small(name, zip, limits.json.min(METADATA_BYTES))?;
                let metadata = Metadata::parse(&bytes).map_err(refused)?;
                self.metadata = Some((metadata, bytes));
            }
            EntryKind::Manifest => self.manifest = Some(small(name, zip, limits.json)?),
            EntryKind::Signature(number) => {
                let bytes = small(name, zip, limits.json.min(SIGNATURE_BYTES))?;
                self.signature(name, number, bytes)?;
            }
            EntryKind::Resource { digest, name: file_name } => {
                sink.begins(*stored_at);
                let Receipt { digest, size } = blob(name, &digest, zip, sink)?;
                self.files.insert(name.to_owned(), File { name: file_name, digest, size });
            }
            EntryKind::Layout => {
                let reason = "it must say imageLayoutVersion 1.0.0";
                let right = is_layout(&small(name, zip, limits.json)?);
                right.then_some(()).context(InvalidSnafu { place: name, reason })?;
                self.layout = true;
            }
            EntryKind::Index => {
                let bytes = small(name, zip, limits.json)?;
                let images = read_index(&bytes).or_else(|reason| InvalidSnafu { place: name, reason }.fail())?;
                self.index = Some(bytes);
                self.images_are(images, INDEX)?;
            }
            EntryKind::Blob(digest) => {
                sink.begins(*stored_at);
                let Receipt { digest, size } = blob(name, &digest, zip, sink)?;
                self.layout_blobs.insert(digest.clone());
                self.blobs.insert(digest, size);
            }
            EntryKind::DockerArchive => self.docker_archive(*stored_at, zip, sink, limits)?,
            EntryKind::Folder => {
                small(name, zip, 0)?;
            }
        }
        Ok(())
    }

    pub(super) fn signature<E: std::error::Error + 'static>(
        &mut self,
        name: &str,
        number: u32,
        bytes: Vec<u8>,
    ) -> Result<(), ReadError<E>> {
        if self.signatures.len() == MOST_SIGNATURES {
            return Err(invalid(name, format!("the bundle has more than {MOST_SIGNATURES} signatures")));
        }
        let all: usize = self.signatures.values().map(Vec::len).sum();
        if all + bytes.len() > ALL_SIGNATURES_BYTES {
            let reason = format!("the bundle's signatures have more than {ALL_SIGNATURES_BYTES} bytes together");
            return Err(invalid(name, reason));
        }
        self.signatures.insert(number, bytes);
        Ok(())
    }

    fn docker_archive<R: Read, S: Sink>(
        &mut self,
        stored_at: Option<u64>,
        zip: &mut ZipStream<R>,
        sink: &mut S,
        limits: &Limits,
    ) -> Result<(), ReadError<S::Error>> {
        let read = archive::read(&mut zip.body(), &mut InSink { sink, stored_at }, limits);
        if let Some(fault) = zip.take_fault() {
            return Err(fault.into());
        }
        let read = read.map_err(|error| match error {
            ArchiveError::Kept { source } => ReadError::Sink { source },
            ArchiveError::Read { source } => invalid(DOCKER_ARCHIVE, source.to_string()),
            ArchiveError::Wrong { reason } => invalid(DOCKER_ARCHIVE, reason),
        })?;
        self.blobs.extend(read.sizes);
        self.images_are(read.images, DOCKER_ARCHIVE)
    }

    pub(super) fn images_are<E: std::error::Error + 'static>(
        &mut self,
        images: Vec<Named>,
        place: &'static str,
    ) -> Result<(), ReadError<E>> {
        let reason = "the bundle has its images twice, in images/ and in docker/images.tar: one of them is enough";
        if self.images.is_some() {
            return InvalidSnafu { place, reason }.fail();
        }
        (self.images, self.images_place) = (Some(images), place);
        Ok(())
    }
}

/// A sink that takes the files of an archive.
struct InSink<'a, S> {
    sink: &'a mut S,
    /// Where the archive begins.
    stored_at: Option<u64>,
}

impl<S: Sink> Keep for InSink<'_, S> {
    type Error = S::Error;

    fn keep(&mut self, offset: u64, body: &mut dyn Read) -> Result<Receipt, Self::Error> {
        self.sink.begins(self.stored_at.map(|start| start + offset));
        self.sink.blob(body)
    }

    fn add(&mut self, mut document: &[u8]) -> Result<Receipt, Self::Error> {
        self.sink.begins(None);
        self.sink.blob(&mut document)
    }

    fn read_back(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error> {
        self.sink.read_back(digest, limit)
    }
}

/// An entry that fits into memory.
fn small<R: Read, E: std::error::Error + 'static>(
    name: &str,
    zip: &mut ZipStream<R>,
    limit: u64,
) -> Result<Vec<u8>, ReadError<E>> {
    let mut bytes = Vec::new();
    let read = zip.body().take(limit + 1).read_to_end(&mut bytes);
    if let Some(fault) = zip.take_fault() {
        return Err(fault.into());
    }
    read.map_err(|source| ReadError::Input { source })?;
    if bytes.len() as u64 > limit {
        return Err(invalid(name, format!("it has more than {limit} bytes, the limit for it")));
    }
    Ok(bytes)
}

/// An entry that goes to the sink, which must find the digest that its name says.
fn blob<R: Read, S: Sink>(
    name: &str,
    digest: &str,
    zip: &mut ZipStream<R>,
    sink: &mut S,
) -> Result<Receipt, ReadError<S::Error>> {
    let mut body = Counted { input: zip.body(), count: 0 };
    let taken = sink.blob(&mut body);
    let count = body.count;
    if let Some(fault) = zip.take_fault() {
        return Err(fault.into());
    }
    let receipt = taken.map_err(|source| ReadError::Sink { source })?;
    zip.end_entry().map_err(ReadError::from)?;
    if receipt.digest != digest {
        return Err(invalid(name, format!("its content has digest {}", receipt.digest)));
    }
    if receipt.size != count {
        return Err(invalid(name, format!("{} of its bytes were kept, {count} were read", receipt.size)));
    }
    Ok(receipt)
}

struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl<E: std::error::Error + 'static> From<ZipError> for ReadError<E> {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Input { source } => Self::Input { source },
            ZipError::Invalid { place, reason } => Self::Invalid { place, reason },
        }
    }
}

pub(super) fn refused<E: std::error::Error + 'static>(error: MetadataError) -> ReadError<E> {
    match error {
        MetadataError::Unsupported { version } => ReadError::Unsupported { version },
        MetadataError::Schema { path, rule } => invalid("metadata.json", format!("{path}: {rule}")),
        MetadataError::Syntax { source } => invalid("metadata.json", source.to_string()),
    }
}

pub(super) fn invalid<E: std::error::Error + 'static>(place: &str, reason: impl Into<String>) -> ReadError<E> {
    ReadError::Invalid { place: place.to_owned(), reason: reason.into() }
}
