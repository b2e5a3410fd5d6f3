//! A bundle whose parts came by themselves: what is small in memory, files and blobs somewhere behind their digests.
//!
//! The same rules and the same code as for a bundle that streams; only the ZIP file is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::collect::{Collected, METADATA_BYTES, SIGNATURE_BYTES, invalid, refused};
use super::{Limits, ReadError, Sink, complete};
use crate::coordinate::Coordinate;
use crate::entry::{BLOBS, INDEX, MANIFEST, METADATA};
use crate::image::layout::read_index;
use crate::model::{Bundle, File};
use crate::reference::is_sha256_hex;
use crate::universe::{Metadata, is_file_name};

/// The parts of one bundle.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parts {
    /// `metadata.json`.
    pub metadata: Vec<u8>,
    /// `manifest.json`.
    pub manifest: Option<Vec<u8>>,
    /// `signatures/<n>.json`, by n.
    pub signatures: Vec<Vec<u8>>,
    /// The files.
    pub files: Vec<File>,
    /// `images/index.json`.
    pub index: Option<Vec<u8>>,
    /// Digest and bytes of everything under `images/blobs`.
    pub blobs: Vec<(String, u64)>,
}

/// What parts are without a look at a file or a blob.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outline {
    /// Name and version, by the metadata.
    pub coordinate: Coordinate,
    /// The content digest that the bundle has if its blobs are right.
    pub content_digest: String,
}

impl Parts {
    /// Checks everything that can be told without a file or a blob: names, digests, sizes, the caps, the metadata and the
    /// index.
    ///
    /// # Errors
    /// [`ReadError::Invalid`] and [`ReadError::Unsupported`], in the words that a bundle with these parts gets.
    pub fn outline(&self, limits: &Limits) -> Result<Outline, ReadError<Infallible>> {
        let collected = self.collected(limits)?;
        let content_digest = complete::promised_digest(&collected)?;
        let coordinate = collected.metadata.map(|(metadata, _)| metadata.coordinate);
        let coordinate = coordinate.ok_or_else(|| invalid(METADATA, "it is missing, every bundle has one"))?;
        Ok(Outline { coordinate, content_digest })
    }

    /// Checks the whole bundle. The sink has every file and blob; that they have the digests and sizes that they are said to
    /// have is the caller's to know.
    ///
    /// # Errors
    /// [`ReadError`], in the words that a bundle with these parts gets.
    pub fn complete<S: Sink>(&self, sink: &mut S, limits: &Limits) -> Result<Bundle, ReadError<S::Error>> {
        complete::complete(self.collected(limits)?, sink, limits)
    }

    fn collected<E: std::error::Error + 'static>(&self, limits: &Limits) -> Result<Collected, ReadError<E>> {
        self.check_caps(limits)?;
        let mut collected = Collected { layout: true, ..Collected::default() };
        let metadata = Metadata::parse(&self.metadata).map_err(refused)?;
        collected.metadata = Some((metadata, self.metadata.clone()));
        collected.manifest.clone_from(&self.manifest);
        for (number, signature) in (0..).zip(&self.signatures) {
            collected.signature(&format!("signatures/{number}.json"), number, signature.clone())?;
        }
        for file in &self.files {
            let path = file_path(file)?;
            if collected.files.insert(path.clone(), file.clone()).is_some() {
                return Err(invalid(&path, "it is listed twice"));
            }
        }
        for (digest, size) in &self.blobs {
            let place = format!("{BLOBS}{}", hex_of(digest, BLOBS)?);
            if collected.blobs.insert(digest.clone(), *size).is_some() {
                return Err(invalid(&place, "it is listed twice"));
            }
        }
        collected.layout_blobs = collected.blobs.keys().cloned().collect::<BTreeSet<_>>();
        one_size_each(&collected)?;
        if let Some(index) = &self.index {
            let images = read_index(index).map_err(|reason| invalid(INDEX, reason))?;
            collected.images_are(images, INDEX)?;
            collected.index = Some(index.clone());
        }
        Ok(collected)
    }

    fn check_caps<E: std::error::Error + 'static>(&self, limits: &Limits) -> Result<(), ReadError<E>> {
        let json = |bytes: &Vec<u8>| bytes.len() as u64;
        let mut entries = vec![(METADATA.to_owned(), json(&self.metadata), limits.json.min(METADATA_BYTES))];
        entries.extend(self.manifest.iter().map(|bytes| (MANIFEST.to_owned(), json(bytes), limits.json)));
        entries.extend(self.index.iter().map(|bytes| (INDEX.to_owned(), json(bytes), limits.json)));
        let signature =
            |(number, bytes)| (format!("signatures/{number}.json"), json(bytes), limits.json.min(SIGNATURE_BYTES));
        entries.extend(self.signatures.iter().enumerate().map(signature));
        entries.extend(self.files.iter().map(|file| (file.name.clone(), file.size, limits.entry)));
        entries.extend(self.blobs.iter().map(|(digest, size)| (digest.clone(), *size, limits.entry)));
        if entries.len() as u64 > limits.entries {
            return Err(invalid("the bundle", format!("it has more than {} entries, the limit", limits.entries)));
        }
        let mut total = 0_u64;
        for (place, size, limit) in entries {
            if size > limit {
                return Err(invalid(&place, format!("it has more than {limit} bytes, the limit for it")));
            }
            total = total.saturating_add(size);
        }
        if total > limits.total {
            return Err(invalid("the bundle", format!("it has more than {} bytes, the limit", limits.total)));
        }
        Ok(())
    }
}

fn file_path<E: std::error::Error + 'static>(file: &File) -> Result<String, ReadError<E>> {
    let hex = hex_of(&file.digest, "resources/")?;
    if !is_file_name(&file.name) {
        let place = format!("resources/{hex}/{}", file.name.escape_debug());
        let reason = "a file name has 1 to 128 of A-Z a-z 0-9 . _ - and no dot first";
        return Err(invalid(&place, reason));
    }
    Ok(file.path())
}

fn hex_of<'a, E: std::error::Error + 'static>(digest: &'a str, place: &str) -> Result<&'a str, ReadError<E>> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| is_sha256_hex(hex));
    hex.ok_or_else(|| {
        let shown: String = digest.chars().take(80).collect();
        invalid(
            place,
            format!("\"{}\" is no digest: sha256:<64 lower-case hex digits> is needed", shown.escape_debug()),
        )
    })
}

/// The same bytes can be a file, a file of another name and a blob, but they have one size.
fn one_size_each<E: std::error::Error + 'static>(collected: &Collected) -> Result<(), ReadError<E>> {
    let mut sizes: BTreeMap<&str, u64> =
        collected.blobs.iter().map(|(digest, size)| (digest.as_str(), *size)).collect();
    for (path, file) in &collected.files {
        let size = *sizes.entry(&file.digest).or_insert(file.size);
        if size != file.size {
            return Err(invalid(
                path,
                format!("it has {} bytes here and {size} elsewhere, one of them is wrong", file.size),
            ));
        }
    }
    Ok(())
}
