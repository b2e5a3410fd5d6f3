//! The content digest: the same content is the same package, however it was zipped.

use std::io::{self, Read};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::File;

/// `sha256:<hex>` of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// `sha256:<hex>` and number of everything that is read to the end.
pub(crate) fn sha256_of(input: &mut dyn Read) -> io::Result<(String, u64)> {
    sha256_with(input, |_| Ok(()))
}

/// The same, and each piece is `taken` on its way.
///
/// # Errors
/// What the input says, or the one who takes the pieces.
pub fn sha256_with(input: &mut dyn Read, mut taken: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok((format!("sha256:{}", hex(&hasher.finalize())), size)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        taken(piece)?;
        hasher.update(piece);
        size += count as u64;
    }
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[derive(Serialize)]
struct Content<'a> {
    files: Vec<FileContent<'a>>,
    images: Vec<ImageContent<'a>>,
    metadata: String,
}

#[derive(Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct FileContent<'a> {
    name: &'a str,
    sha256: &'a str,
}

#[derive(Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct ImageContent<'a> {
    reference: &'a str,
    digest: &'a str,
}

/// The RFC 8785 form of `{"files":[{"name","sha256"}…],"images":[{"digest","reference"}…],"metadata":"sha256:…"}`,
/// lists sorted by name and reference, each item once.
///
/// Its sha256 is the content digest, and it is what signatures of a package sign. `images` are reference and digest of the
/// manifest or index.
pub(crate) fn content_document<'a>(
    metadata: &[u8],
    files: impl IntoIterator<Item = &'a File>,
    images: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    let bare = |digest: &'_ str| -> usize { digest.find(':').map_or(0, |colon| colon + 1) };
    let mut files: Vec<_> = files
        .into_iter()
        .map(|file| FileContent { name: &file.name, sha256: file.digest.get(bare(&file.digest)..).unwrap_or_default() })
        .collect();
    files.sort();
    files.dedup();
    let mut images: Vec<_> = images.into_iter().map(|(reference, digest)| ImageContent { reference, digest }).collect();
    images.sort();
    images.dedup();
    let content = Content { files, images, metadata: sha256(metadata) };
    // Strings and lists alone always have a canonical form.
    serde_jcs::to_vec(&content).unwrap_or_default()
}
