//! Tar archives with images: what `docker save` writes (old and new), and OCI layouts in an archive.
//!
//! Layers are kept as they come; what has no OCI manifest gets one, with the archive's own configs and layers.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Deserialize;
use serde_json::{Value, json};
use snafu::{ResultExt, Snafu};

use super::graph::{Blobs, GraphError, walk};
use super::layout::{Named, read_index};
use super::media;
use super::tar::{Kind, TarStream, normalised};
use crate::model::Descriptor;
use crate::stream::{Limits, Receipt};

/// Where the files of an archive go.
pub(crate) trait Keep {
    /// Why something can't be kept.
    type Error: std::error::Error + 'static;

    /// Takes a file to its end. `offset` is where in the archive it begins.
    fn keep(&mut self, offset: u64, body: &mut dyn Read) -> Result<Receipt, Self::Error>;

    /// Takes a document that the archive does not have.
    fn add(&mut self, document: &[u8]) -> Result<Receipt, Self::Error>;

    /// Gives a small file back.
    fn read_back(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error>;
}

/// Why an archive's images can't be had.
#[derive(Debug, Snafu)]
pub(crate) enum ArchiveError<E: std::error::Error + 'static> {
    /// The archive is damaged or can't be read.
    #[snafu(display("{source}"))]
    Read {
        /// Why.
        source: io::Error,
    },
    /// Where the files go.
    #[snafu(display("{source}"))]
    Kept {
        /// Why.
        source: E,
    },
    /// The archive holds something else than images.
    #[snafu(display("{reason}"))]
    Wrong {
        /// What.
        reason: String,
    },
}

/// The images of an archive and every blob that is there for them.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) images: Vec<Named>,
    /// Bytes by digest.
    pub(crate) sizes: BTreeMap<String, u64>,
}

/// Reads an archive to its end.
pub(crate) fn read<K: Keep>(
    input: &mut dyn Read,
    keep: &mut K,
    limits: &Limits,
) -> Result<Images, ArchiveError<K::Error>> {
    let mut archive = Archive { keep, limits, files: BTreeMap::new(), links: BTreeMap::new(), sizes: BTreeMap::new() };
    let documents = archive.members(input)?;
    let mut images = Vec::new();
    let list = documents.get(MANIFESTS);
    if let Some(index) = documents.get(INDEX) {
        let named = read_index(index).or_else(|reason| WrongSnafu { reason: format!("{INDEX}: {reason}") }.fail())?;
        let mut whole = BTreeMap::new();
        for image in named {
            if list.is_some() && !whole.contains_key(&image.target) {
                whole.insert(image.target.clone(), archive.is_whole(&image)?);
            }
            // Newer `docker save` writes an index that can name platforms whose layers it leaves out.
            if list.is_none() || whole.get(&image.target) == Some(&true) {
                images.push(image);
            }
        }
    }
    for saved in list.map_or(Ok(Vec::new()), |list| saved_images(list))? {
        let names: Vec<String> =
            saved.names.clone().unwrap_or_default().into_iter().filter(|name| !is_named(&images, name)).collect();
        if !names.is_empty() {
            let target = archive.converted(&saved)?;
            images.push(Named::new(names, target));
        }
    }
    if images.is_empty() {
        let reason =
            format!("it has neither {MANIFESTS} nor {INDEX} with named images, so it was not made by docker save");
        return WrongSnafu { reason }.fail();
    }
    Ok(Images { images, sizes: archive.sizes })
}

/// Names of saved images, and layers of one: Docker itself stops at 127.
const MOST_NAMES: usize = 4096;
const MOST_LAYERS: usize = 4096;

const MANIFESTS: &str = "manifest.json";
const INDEX: &str = "index.json";

/// An image in `manifest.json` of `docker save`.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

fn saved_images<E: std::error::Error + 'static>(list: &[u8]) -> Result<Vec<Saved>, ArchiveError<E>> {
    let saved: Vec<Saved> = serde_json::from_slice(list).or_else(|error| {
        WrongSnafu { reason: format!("{MANIFESTS} is not what docker save writes: {error}") }.fail()
    })?;
    let names: usize = saved.iter().map(|image| image.names.as_ref().map_or(1, |names| names.len().max(1))).sum();
    if names > MOST_NAMES || saved.iter().any(|image| image.layers.len() > MOST_LAYERS) {
        let reason =
            format!("{MANIFESTS} has more than {MOST_NAMES} names, or more than {MOST_LAYERS} layers for an image");
        return WrongSnafu { reason }.fail();
    }
    Ok(saved)
}

fn is_named(images: &[Named], name: &str) -> bool {
    crate::reference::Reference::parse(name).is_ok_and(|name| images.iter().any(|image| image.is(&name)))
}

struct File {
    receipt: Receipt,
    magic: Vec<u8>,
}

struct Archive<'a, K> {
    keep: &'a mut K,
    limits: &'a Limits,
    files: BTreeMap<String, File>,
    links: BTreeMap<String, String>,
    sizes: BTreeMap<String, u64>,
}

impl<K: Keep> Archive<'_, K> {
    /// Keeps all files but documents about the archive itself, which it gives back.
    fn members(&mut self, input: &mut dyn Read) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError<K::Error>> {
        let mut tar = TarStream::new(input, self.limits.entry);
        let mut documents = BTreeMap::new();
        let mut members: u64 = 0;
        while let Some(member) = tar.next_member().context(ReadSnafu)? {
            members += 1;
            if members > self.limits.entries {
                return WrongSnafu { reason: format!("it has more than {} members", self.limits.entries) }.fail();
            }
            let (folder, name) = member.path.rsplit_once('/').unwrap_or(("", &member.path));
            let known = self.files.contains_key(&member.path) || documents.contains_key(&member.path);
            if known && member.kind == Kind::File {
                return WrongSnafu { reason: format!("\"{}\" is there twice", member.path.escape_debug()) }.fail();
            }
            match &member.kind {
                Kind::Folder => {}
                Kind::Symlink(target) => {
                    let target = normalised(format!("{folder}/{target}").trim_start_matches('/'));
                    self.links.insert(member.path.clone(), target.context(ReadSnafu)?);
                }
                Kind::Hardlink(target) => {
                    self.links.insert(member.path.clone(), normalised(target).context(ReadSnafu)?);
                }
                Kind::File if matches!(member.path.as_str(), MANIFESTS | INDEX) => {
                    let bytes = self.document(&mut tar, &member.path, member.size)?;
                    documents.insert(member.path, bytes);
                }
                Kind::File if matches!(name, "VERSION" | "json" | "repositories" | "oci-layout") => {}
                Kind::File => {
                    let mut sniffed = Sniffed { input: &mut tar, magic: Vec::new() };
                    let receipt = self.keep.keep(member.offset, &mut sniffed).context(KeptSnafu)?;
                    let magic = sniffed.magic;
                    if receipt.size != member.size {
                        let reason =
                            format!("{} of {} bytes of \"{}\" were kept", receipt.size, member.size, member.path);
                        return WrongSnafu { reason }.fail();
                    }
                    check_blob_name(&member.path, &receipt)?;
                    self.sizes.insert(receipt.digest.clone(), receipt.size);
                    self.files.insert(member.path, File { receipt, magic });
                }
            }
        }
        Ok(documents)
    }

    fn document(&self, body: &mut dyn Read, path: &str, size: u64) -> Result<Vec<u8>, ArchiveError<K::Error>> {
        if size > self.limits.json {
            let reason = format!("{path} has {size} bytes, the limit is {}", self.limits.json);
            return WrongSnafu { reason }.fail();
        }
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).context(ReadSnafu)?;
        Ok(bytes)
    }

    fn is_whole(&mut self, image: &Named) -> Result<bool, ArchiveError<K::Error>> {
        let mut blobs = Kept { sizes: &self.sizes, keep: &mut *self.keep };
        match walk(&mut blobs, &image.target, self.limits.image_manifest) {
            Ok(_) => Ok(true),
            Err(GraphError::Broken { .. }) => Ok(false),
            Err(GraphError::Read { source }) => Err(ArchiveError::Kept { source }),
        }
    }

    /// The OCI manifest of a saved image.
    fn converted(&mut self, saved: &Saved) -> Result<Descriptor, ArchiveError<K::Error>> {
        let limit = self.limits.image_manifest;
        let config = self.file(&saved.config)?.receipt.clone();
        if config.size > limit {
            return WrongSnafu { reason: format!("{} has {} bytes, the limit is {limit}", saved.config, config.size) }
                .fail();
        }
        let document = self.keep.read_back(&config.digest, limit).context(KeptSnafu)?;
        let diff_ids = diff_ids(&document)
            .map_or_else(|| WrongSnafu { reason: format!("{} is no image config", saved.config) }.fail(), Ok)?;
        if diff_ids.len() != saved.layers.len() {
            let reason =
                format!("{} lists {} layers, {MANIFESTS} {}", saved.config, diff_ids.len(), saved.layers.len());
            return WrongSnafu { reason }.fail();
        }
        let mut layers = Vec::new();
        for (path, diff_id) in saved.layers.iter().zip(&diff_ids) {
            let File { receipt, magic } = self.file(path)?;
            let media_type = media::layer(magic);
            if media_type == media::LAYER && receipt.digest != *diff_id {
                let reason = format!("layer {path} has digest {}, its image's config says {diff_id}", receipt.digest);
                return WrongSnafu { reason }.fail();
            }
            layers.push(json!({"mediaType": media_type, "digest": receipt.digest, "size": receipt.size}));
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::MANIFEST,
            "config": {"mediaType": media::CONFIG, "digest": config.digest, "size": config.size},
            "layers": layers,
        });
        let receipt = self.keep.add(manifest.to_string().as_bytes()).context(KeptSnafu)?;
        self.sizes.insert(receipt.digest.clone(), receipt.size);
        Ok(Descriptor { media_type: media::MANIFEST.to_owned(), digest: receipt.digest, size: receipt.size })
    }

    /// A file by its path, through links.
    fn file(&self, path: &str) -> Result<&File, ArchiveError<K::Error>> {
        let mut at = normalised(path).context(ReadSnafu)?;
        for _ in 0..8 {
            match (self.files.get(&at), self.links.get(&at)) {
                (Some(file), _) => return Ok(file),
                (None, Some(target)) => at.clone_from(target),
                (None, None) => break,
            }
        }
        WrongSnafu { reason: format!("\"{}\", which {MANIFESTS} names, is not there", path.escape_debug()) }.fail()
    }
}

/// `blobs/sha256/<hex>` must hold what it says.
fn check_blob_name<E: std::error::Error + 'static>(path: &str, receipt: &Receipt) -> Result<(), ArchiveError<E>> {
    match path.strip_prefix("blobs/sha256/") {
        Some(hex) if receipt.digest.strip_prefix("sha256:") != Some(hex) => {
            WrongSnafu { reason: format!("{path} has digest {}", receipt.digest) }.fail()
        }
        _ => Ok(()),
    }
}

fn diff_ids(config: &[u8]) -> Option<Vec<String>> {
    let config: Value = serde_json::from_slice(config).ok()?;
    let list = config.get("rootfs")?.get("diff_ids")?.as_array()?;
    list.iter().map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Remembers the first bytes.
struct Sniffed<'a> {
    input: &'a mut dyn Read,
    magic: Vec<u8>,
}

impl Read for Sniffed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        let wanted = 4_usize.saturating_sub(self.magic.len()).min(count);
        self.magic.extend_from_slice(out.get(..wanted).unwrap_or_default());
        Ok(count)
    }
}

struct Kept<'a, K> {
    sizes: &'a BTreeMap<String, u64>,
    keep: &'a mut K,
}

impl<K: Keep> Blobs for Kept<'_, K> {
    type Error = K::Error;

    fn size(&self, digest: &str) -> Option<u64> {
        self.sizes.get(digest).copied()
    }

    fn read(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error> {
        self.keep.read_back(digest, limit)
    }
}
