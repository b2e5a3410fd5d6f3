//! Writing a bundle: the same content gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::entry::{BLOBS, INDEX, LAYOUT, MANIFEST, METADATA};
use crate::manifest::Manifest;
use crate::model::Descriptor;
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
    /// Every manifest, config and layer of those.
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

/// Writes a bundle and gives the output back. `open` is asked for each part once, in the order of the entries.
///
/// # Errors
/// What the output or a part says; a part whose size or digest is not what the contents say.
pub fn write<W: Write + Seek>(
    output: W,
    contents: &Contents<'_>,
    open: &mut dyn FnMut(Part<'_>) -> io::Result<Box<dyn Read>>,
) -> io::Result<W> {
    let mut zip = ZipWriter::new(output);
    zip.deflated(METADATA, contents.metadata)?;
    zip.deflated(MANIFEST, &serde_json::to_vec(contents.manifest)?)?;
    for file in &contents.manifest.resources {
        let mut body = Hashed::new(open(Part::File(&file.path))?);
        zip.stored(&file.path, file.size, &mut body)?;
        body.check(&file.path, &format!("sha256:{}", file.sha256))?;
    }
    if !contents.images.is_empty() {
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        zip.stored(LAYOUT, layout.len() as u64, &mut layout.as_bytes())?;
        let index = index(contents.images);
        zip.stored(INDEX, index.len() as u64, &mut index.as_bytes())?;
        let sizes: BTreeMap<_, _> = contents.blobs.iter().map(|blob| (blob.digest.as_str(), blob.size)).collect();
        for (digest, size) in sizes {
            let mut body = Hashed::new(open(Part::Blob(digest))?);
            zip.stored(&format!("{BLOBS}{}", digest.trim_start_matches("sha256:")), size, &mut body)?;
            body.check("image blob", digest)?;
        }
    }
    zip.finish()
}

/// `images/index.json` for these targets by reference.
#[must_use]
pub fn index(images: &BTreeMap<String, Descriptor>) -> String {
    let named = |(reference, target): (&String, &Descriptor)| {
        json!({
            "mediaType": target.media_type,
            "digest": target.digest,
            "size": target.size,
            "annotations": {"org.opencontainers.image.ref.name": reference},
        })
    };
    let manifests: Vec<_> = images.iter().map(named).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    })
    .to_string()
}

struct Hashed {
    input: Box<dyn Read>,
    hasher: Sha256,
}

impl Hashed {
    fn new(input: Box<dyn Read>) -> Self {
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

impl Read for Hashed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.hasher.update(out.get(..count).unwrap_or_default());
        Ok(count)
    }
}
