//! Whether what was read is a whole package.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::{Collected, invalid};
use super::{Limits, ReadError, Sink, belonging};
use crate::digest::{content_document, sha256};
use crate::entry::{BLOBS, INDEX, LAYOUT, MANIFEST, METADATA};
use crate::image::graph::{Blobs, GraphError, walk};
use crate::manifest::Manifest;
use crate::model::{Bundle, Descriptor, Image};
use crate::reference::Reference;
use crate::universe::Metadata;
use crate::write;

/// Manifests, configs and layers of all images and referrers together; what several images share counts for each.
const MOST_DESCRIPTORS: usize = 200_000;

/// How many descriptors a bundle may still have, so that a small bundle can't take much memory.
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn take<E: std::error::Error + 'static>(
        &mut self,
        place: &str,
        count: usize,
    ) -> Result<(), ReadError<E>> {
        let reason = || format!("with it, the bundle's images have more than {MOST_DESCRIPTORS} manifests and blobs");
        self.left = self.left.checked_sub(count).ok_or_else(|| invalid(place, reason()))?;
        Ok(())
    }
}

/// Checks that everything the metadata names is there, and nothing else.
pub(super) fn complete<S: Sink>(
    collected: Collected,
    sink: &mut S,
    limits: &Limits,
) -> Result<Bundle, ReadError<S::Error>> {
    let images = images(&collected, sink, limits)?;
    let Collected { metadata, manifest, index, signatures, files, .. } = collected;
    let (parsed, metadata) = metadata.ok_or_else(no_metadata)?;
    for address in parsed.addresses.iter().filter(|address| address.starts_with("resources/")) {
        if !files.contains_key(address) {
            return Err(invalid(METADATA, format!("it names {address}, which is not in the bundle")));
        }
    }
    let named: BTreeSet<&String> = parsed.addresses.iter().collect();
    if let Some(path) = files.keys().find(|path| !named.contains(path)) {
        return Err(invalid(path, "the metadata does not name it"));
    }
    match &manifest {
        Some(bytes) => Manifest::check(bytes, &files, &images).map_err(|reason| invalid(MANIFEST, reason))?,
        None if files.is_empty() => {}
        None => return Err(invalid(MANIFEST, "it is missing, a bundle with files has one")),
    }
    let files: Vec<_> = files.into_values().collect();
    let Metadata { packaging_version, coordinate, .. } = parsed;
    let content = images.iter().flat_map(|image| image.manifests.iter().chain(&image.blobs));
    let sizes = content.map(|blob| (&blob.digest, blob.size)).chain(files.iter().map(|file| (&file.digest, file.size)));
    let size = sizes.collect::<BTreeMap<_, _>>().into_values().sum();
    let targets: BTreeMap<_, _> = images.iter().map(|image| (image.reference.clone(), image.target.clone())).collect();
    let made = || write::index(&targets).into_bytes();
    let index = index.or_else(|| (!targets.is_empty()).then(made));
    Ok(Bundle {
        content_digest: sha256(&content_document(&metadata, &files, images.iter().map(Image::content))),
        size,
        metadata,
        manifest,
        index,
        signatures: signatures.into_values().collect(),
        packaging_version,
        name: coordinate.name,
        version: coordinate.version,
        files,
        images,
    })
}

fn no_metadata<E: std::error::Error + 'static>() -> ReadError<E> {
    invalid(METADATA, "it is missing, every bundle has one")
}

fn images<S: Sink>(collected: &Collected, sink: &mut S, limits: &Limits) -> Result<Vec<Image>, ReadError<S::Error>> {
    let targets = targets(collected)?;
    let mut found: Vec<Image> = Vec::new();
    let mut budget = Budget { left: MOST_DESCRIPTORS };
    for Found { alias, written, reference, target } in targets {
        let place = format!("image {written}");
        let same = found.iter().find(|image| image.target == target);
        let (manifests, blobs, platforms) = if let Some(same) = same {
            budget.take(&place, same.manifests.len() + same.blobs.len())?;
            (same.manifests.clone(), same.blobs.clone(), same.platforms.clone())
        } else {
            let mut blobs = InSink { sizes: &collected.blobs, sink };
            let graph = walk(&mut blobs, &target, limits.image_manifest).map_err(|error| broken(&place, error))?;
            budget.take(&place, graph.manifests.len() + graph.blobs.len())?;
            (graph.manifests, graph.blobs, graph.platforms.into_iter().collect())
        };
        found.push(Image {
            alias: alias.to_owned(),
            reference: written.to_owned(),
            repository: reference.served_repository(),
            tag: reference.published_tag().map(str::to_owned),
            target,
            manifests,
            blobs,
            platforms,
            attachments: Vec::new(),
        });
    }
    if collected.images_place == INDEX {
        belonging::add(collected, &mut found, sink, limits, &mut budget)?;
        all_used(collected, &found)?;
    }
    found.sort_by(|a, b| a.alias.cmp(&b.alias));
    Ok(found)
}

/// What the bundle has for one image of the metadata.
struct Found<'a> {
    alias: &'a str,
    /// The reference as the metadata has it.
    written: &'a str,
    reference: Reference,
    target: Descriptor,
}

/// Finds the one target of every image that the metadata names.
fn targets<E: std::error::Error + 'static>(collected: &Collected) -> Result<Vec<Found<'_>>, ReadError<E>> {
    let (metadata, _) = collected.metadata.as_ref().ok_or_else(no_metadata)?;
    let named = collected.images.as_deref().unwrap_or_default();
    let has_layout_entries = collected.images_place == INDEX || !collected.layout_blobs.is_empty();
    if has_layout_entries && !(collected.layout && collected.images_place == INDEX) {
        let missing = if collected.layout { INDEX } else { LAYOUT };
        return Err(invalid(missing, "it is missing, images/ must be an OCI layout"));
    }
    let mut found = Vec::with_capacity(metadata.images.len());
    for (alias, written) in &metadata.images {
        let place = format!("image {written}");
        let reference = Reference::parse(written).map_err(|error| invalid(METADATA, error.to_string()))?;
        let targets: BTreeSet<&Descriptor> =
            named.iter().filter(|image| image.is(&reference)).map(|image| &image.target).collect();
        let target = match targets.iter().collect::<Vec<_>>().as_slice() {
            [target] => (**target).clone(),
            [] => return Err(invalid(&place, "the metadata names it, but it is not in the bundle")),
            _ => return Err(invalid(&place, "the bundle has several images of this name")),
        };
        found.push(Found { alias, written, reference, target });
    }
    Ok(found)
}

/// The content digest of what was collected, found without reading a blob: it is right if [`complete`] finds the rest right.
pub(super) fn promised_digest<E: std::error::Error + 'static>(collected: &Collected) -> Result<String, ReadError<E>> {
    let (_, metadata) = collected.metadata.as_ref().ok_or_else(no_metadata)?;
    let images: Vec<_> =
        targets(collected)?.into_iter().map(|image| (image.written.to_owned(), image.target.digest)).collect();
    let images = images.iter().map(|(reference, digest)| (reference.as_str(), digest.as_str()));
    Ok(sha256(&content_document(metadata, collected.files.values(), images)))
}

fn all_used<E: std::error::Error + 'static>(collected: &Collected, images: &[Image]) -> Result<(), ReadError<E>> {
    let all = images.iter().flat_map(|image| image.manifests.iter().chain(&image.blobs));
    let used: BTreeSet<&str> = all.map(|blob| blob.digest.as_str()).collect();
    match collected.layout_blobs.iter().find(|digest| !used.contains(digest.as_str())) {
        Some(digest) => {
            let place = format!("{BLOBS}{}", digest.trim_start_matches("sha256:"));
            Err(invalid(&place, "it belongs to no image that the metadata names"))
        }
        None => Ok(()),
    }
}

pub(super) fn broken<E: std::error::Error + 'static>(place: &str, error: GraphError<E>) -> ReadError<E> {
    match error {
        GraphError::Read { source } => ReadError::Sink { source },
        GraphError::Broken { reason } => invalid(place, reason),
    }
}

/// The blobs of a bundle.
pub(super) struct InSink<'a, S> {
    pub(super) sizes: &'a BTreeMap<String, u64>,
    pub(super) sink: &'a mut S,
}

impl<S: Sink> Blobs for InSink<'_, S> {
    type Error = S::Error;

    fn size(&self, digest: &str) -> Option<u64> {
        self.sizes.get(digest).copied()
    }

    fn read(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error> {
        self.sink.read_back(digest, limit)
    }
}
