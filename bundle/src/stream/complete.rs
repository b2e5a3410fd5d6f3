//! Whether what was read is a whole package.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::{Collected, invalid};
use super::{Limits, ReadError, Sink};
use crate::digest::content_digest;
use crate::entry::{BLOBS, INDEX, LAYOUT, MANIFEST, METADATA};
use crate::image::graph::{Blobs, Graph, GraphError, walk};
use crate::image::layout::Named;
use crate::manifest::Manifest;
use crate::model::{Bundle, Descriptor, Image};
use crate::reference::Reference;
use crate::universe::Metadata;

/// Checks that everything the metadata names is there, and nothing else.
pub(super) fn complete<S: Sink>(
    collected: Collected,
    sink: &mut S,
    limits: &Limits,
) -> Result<Bundle, ReadError<S::Error>> {
    let images = images(&collected, sink, limits)?;
    let Collected { metadata, manifest, signatures, files, .. } = collected;
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
    Ok(Bundle {
        content_digest: content_digest(&metadata, &files, &images),
        size,
        metadata,
        manifest,
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
    let (metadata, _) = collected.metadata.as_ref().ok_or_else(no_metadata)?;
    let named = collected.images.as_deref().unwrap_or_default();
    let has_layout_entries = collected.images_place == INDEX || !collected.layout_blobs.is_empty();
    if has_layout_entries && !(collected.layout && collected.images_place == INDEX) {
        let missing = if collected.layout { INDEX } else { LAYOUT };
        return Err(invalid(missing, "it is missing, images/ must be an OCI layout"));
    }
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
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
        used.insert(target.digest.clone());
        let same = found.iter().find(|image: &&Image| image.target == target);
        if let Some(same) = same {
            let Image { manifests, blobs, platforms, .. } = same.clone();
            let (alias, tag) = (alias.clone(), reference.published_tag().map(str::to_owned));
            let repository = reference.served_repository();
            found.push(Image {
                alias,
                reference: written.clone(),
                repository,
                tag,
                target,
                manifests,
                blobs,
                platforms,
            });
            continue;
        }
        let mut blobs = InSink { sizes: &collected.blobs, sink };
        let graph = walk(&mut blobs, &target, limits.image_manifest).map_err(|error| broken(&place, error))?;
        found.push(Image {
            alias: alias.clone(),
            reference: written.clone(),
            repository: reference.served_repository(),
            tag: reference.published_tag().map(str::to_owned),
            target,
            manifests: graph.manifests,
            blobs: graph.blobs,
            platforms: graph.platforms.into_iter().collect(),
        });
    }
    if collected.images_place == INDEX {
        let mut referrers = Vec::new();
        for image in named.iter().filter(|image| !used.contains(&image.target.digest)) {
            referrers.push(referrer(image, &found, collected, sink, limits)?);
        }
        add_referrers(&mut found, &referrers.into_iter().flatten().collect::<Vec<_>>())?;
        all_used(collected, &found)?;
    }
    found.sort_by(|a, b| a.alias.cmp(&b.alias));
    Ok(found)
}

/// What belongs to another image's manifest; `None` for a part of an image that the index lists once more.
fn referrer<S: Sink>(
    image: &Named,
    found: &[Image],
    collected: &Collected,
    sink: &mut S,
    limits: &Limits,
) -> Result<Option<Graph>, ReadError<S::Error>> {
    if let Some(name) = image.names.first() {
        return Err(invalid(INDEX, format!("the metadata does not name the image {name}")));
    }
    let digest = &image.target.digest;
    if found.iter().any(|image| image.manifests.iter().any(|manifest| manifest.digest == *digest)) {
        return Ok(None);
    }
    let place = format!("{INDEX}: {digest}");
    let mut blobs = InSink { sizes: &collected.blobs, sink };
    let graph = walk(&mut blobs, &image.target, limits.image_manifest).map_err(|error| broken(&place, error))?;
    if graph.subject.is_none() {
        let reason = "it has no name (annotation org.opencontainers.image.ref.name) and refers to no image";
        return Err(invalid(&place, reason));
    }
    Ok(Some(graph))
}

/// Adds each referrer to the images that it refers to, referrers of referrers behind those.
fn add_referrers<E: std::error::Error + 'static>(
    images: &mut [Image],
    referrers: &[Graph],
) -> Result<(), ReadError<E>> {
    let mut by_subject: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, graph) in referrers.iter().enumerate() {
        by_subject.entry(graph.subject.as_deref().unwrap_or_default()).or_default().push(index);
    }
    let mut placed = BTreeSet::new();
    for image in images {
        let mut known: BTreeSet<String> = image.manifests.iter().map(|manifest| manifest.digest.clone()).collect();
        let mut blobs: BTreeSet<Descriptor> = image.blobs.iter().cloned().collect();
        let mut subjects: Vec<String> = known.iter().cloned().collect();
        while let Some(subject) = subjects.pop() {
            for index in by_subject.get(subject.as_str()).into_iter().flatten() {
                placed.insert(*index);
                let Some(graph) = referrers.get(*index) else { continue };
                for manifest in graph.manifests.iter().filter(|manifest| known.insert(manifest.digest.clone())) {
                    image.manifests.push(manifest.clone());
                    subjects.push(manifest.digest.clone());
                }
                image.blobs.extend(graph.blobs.iter().filter(|blob| blobs.insert((*blob).clone())).cloned());
            }
        }
    }
    match referrers.iter().enumerate().find(|(index, _)| !placed.contains(index)) {
        Some((_, graph)) => {
            let subject = graph.subject.as_deref().unwrap_or_default();
            let reason = format!("a manifest refers to {subject}, which belongs to no image of the bundle");
            Err(invalid(INDEX, reason))
        }
        None => Ok(()),
    }
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

fn broken<E: std::error::Error + 'static>(place: &str, error: GraphError<E>) -> ReadError<E> {
    match error {
        GraphError::Read { source } => ReadError::Sink { source },
        GraphError::Broken { reason } => invalid(place, reason),
    }
}

struct InSink<'a, S> {
    sizes: &'a BTreeMap<String, u64>,
    sink: &'a mut S,
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
