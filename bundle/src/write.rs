//! Writing a bundle: the same content gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::entry::{BLOBS, INDEX, LAYOUT, MANIFEST, METADATA};
use crate::manifest::Manifest;
use crate::model::{Descriptor, File};
use crate::universe::entry_path;
use crate::zip::ZipWriter;

/// Everything that goes into a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// `metadata.json`, byte for byte.
    pub metadata: &'a [u8],
    /// `manifest.json`.
    pub manifest: &'a Manifest,
    /// Target of each image by its reference, as the metadata has it.
    pub images: &'a BTreeMap<String, Descriptor>,
    /// Manifests that refer to those of the images: signatures, attestations, SBOMs.
    pub referrers: &'a BTreeSet<Descriptor>,
    /// What is kept under tags beside the images, by its name: see [`crate::image::attachment`].
    pub attachments: &'a BTreeMap<String, Descriptor>,
    /// Every manifest, config and layer of the images and of what belongs to them.
    pub blobs: &'a BTreeSet<Descriptor>,
}

/// A part of a bundle that is read while the bundle is written.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// A file of the manifest, by its entry path.
    File(&'a str),
    /// An image blob, by its digest.
    Blob(&'a str),
}

/// The entries of a bundle as they are, to be written again.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    /// `metadata.json`, byte for byte.
    pub metadata: &'a [u8],
    /// `manifest.json`, byte for byte.
    pub manifest: Option<&'a [u8]>,
    /// `signatures/<n>.json`, byte for byte, from 0 on.
    pub signatures: &'a [Vec<u8>],
    /// Files; each path once.
    pub files: &'a [File],
    /// `images/index.json`, byte for byte.
    pub index: Option<&'a [u8]>,
    /// Bytes of each image blob by digest.
    pub blobs: &'a BTreeMap<String, u64>,
}

/// Writes a bundle and gives the output back. `open` is asked for each part once, in the order of the entries.
///
/// # Errors
/// What the output or a part says; a part whose size or digest is not what the contents say.
pub fn write<W: Write + Seek>(
    output: W,
    contents: &Contents<'_>,
    open: &mut dyn FnMut(Part<'_>) -> io::Result<Box<dyn Read>>,
) -> io::Result<W> {
    let listed = &contents.manifest.resources;
    let files: Vec<_> = listed.iter().filter_map(|file| file_of(&file.path, file.size)).collect();
    let index = layout_index(contents.images.iter().chain(contents.attachments), contents.referrers);
    let blobs = contents.blobs.iter().map(|blob| (blob.digest.clone(), blob.size)).collect();
    let entries = Entries {
        metadata: contents.metadata,
        manifest: Some(&serde_json::to_vec(contents.manifest)?),
        signatures: &[],
        files: &files,
        index: (!contents.images.is_empty()).then_some(index.as_bytes()),
        blobs: &blobs,
    };
    write_entries(output, &entries, open)
}

/// Writes a bundle whose documents are there already: the entries of a bundle that [`write()`] made give the same bytes again.
///
/// # Errors
/// As [`write()`].
pub fn write_entries<'r, W: Write + Seek>(
    output: W,
    entries: &Entries<'_>,
    open: &mut dyn FnMut(Part<'_>) -> io::Result<Box<dyn Read + 'r>>,
) -> io::Result<W> {
    let mut zip = ZipWriter::new(output);
    zip.deflated(METADATA, entries.metadata)?;
    if let Some(manifest) = entries.manifest {
        zip.deflated(MANIFEST, manifest)?;
    }
    let paths: BTreeMap<String, &File> = entries.files.iter().map(|file| (file.path(), file)).collect();
    for (path, file) in &paths {
        let mut body = Hashed::new(open(Part::File(path))?);
        zip.stored(path, file.size, &mut body)?;
        body.check(path, &file.digest)?;
    }
    if let Some(index) = entries.index {
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        zip.stored(LAYOUT, layout.len() as u64, &mut layout.as_bytes())?;
        zip.stored(INDEX, index.len() as u64, &mut &*index)?;
        for (digest, size) in entries.blobs {
            let mut body = Hashed::new(open(Part::Blob(digest))?);
            zip.stored(&format!("{BLOBS}{}", digest.trim_start_matches("sha256:")), *size, &mut body)?;
            body.check("image blob", digest)?;
        }
    }
    // Signing puts them behind everything else.
    for (number, signature) in entries.signatures.iter().enumerate() {
        zip.stored(&format!("signatures/{number}.json"), signature.len() as u64, &mut signature.as_slice())?;
    }
    zip.finish()
}

fn file_of(path: &str, size: u64) -> Option<File> {
    let (hex, name) = entry_path(path)?;
    Some(File { name: name.to_owned(), digest: format!("sha256:{hex}"), size })
}

/// `images/index.json` for these targets by reference.
#[must_use]
pub fn index(images: &BTreeMap<String, Descriptor>) -> String {
    layout_index(images.iter(), &BTreeSet::new())
}

/// What has names, then what refers to it, by nothing but its descriptor.
fn layout_index<'a>(
    named: impl Iterator<Item = (&'a String, &'a Descriptor)>,
    referrers: &BTreeSet<Descriptor>,
) -> String {
    let with_name = |(reference, target): (&String, &Descriptor)| {
        json!({
            "mediaType": target.media_type,
            "digest": target.digest,
            "size": target.size,
            "annotations": {"org.opencontainers.image.ref.name": reference},
        })
    };
    let unnamed = |target: &Descriptor| json!(target);
    let manifests: Vec<_> = named.map(with_name).chain(referrers.iter().map(unnamed)).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    })
    .to_string()
}

struct Hashed<'r> {
    input: Box<dyn Read + 'r>,
    hasher: Sha256,
}

impl<'r> Hashed<'r> {
    fn new(input: Box<dyn Read + 'r>) -> Self {
        Self { input, hasher: Sha256::new() }
    }

    fn check(self, what: &str, digest: &str) -> io::Result<()> {
        let found = format!("sha256:{}", hex(&self.hasher.finalize()));
        if found == digest {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("{what}: expected digest {digest}, found {found}")))
    }
}

impl Read for Hashed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.hasher.update(out.get(..count).unwrap_or_default());
        Ok(count)
    }
}
