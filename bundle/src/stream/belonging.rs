//! What belongs to manifests of a bundle's images and is no part of them: signatures, attestations, SBOMs. Either it says
//! itself what it refers to, or it is kept under a tag beside the image that does.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::{Collected, invalid};
use super::complete::{Budget, InSink, broken};
use super::{Limits, ReadError, Sink};
use crate::entry::INDEX;
use crate::image::graph::{Graph, walk};
use crate::model::{Attachment, Descriptor, Image};

/// Adds to each image what belongs to its manifests, and what belongs to that.
pub(super) fn add<S: Sink>(
    collected: &Collected,
    images: &mut [Image],
    sink: &mut S,
    limits: &Limits,
    budget: &mut Budget,
) -> Result<(), ReadError<S::Error>> {
    let blobs = InSink { sizes: &collected.blobs, sink };
    let mut walks = Walks { blobs, limits, budget, graphs: Vec::new(), by_target: BTreeMap::new() };
    let found = find(collected, images, &mut walks)?;
    let graphs = walks.graphs;
    let mut placed = BTreeSet::new();
    for image in images {
        place(image, &found, &graphs, &mut placed, budget)?;
    }
    match found.keys().find(|subject| !placed.contains(*subject)) {
        Some(Subject { digest, repository: None }) => {
            Err(invalid(INDEX, format!("a manifest refers to {digest}, which belongs to no image of the bundle")))
        }
        Some(Subject { digest, repository: Some(repository) }) => {
            let reason = "which belongs to no image of the bundle in that repository";
            Err(invalid(INDEX, format!("a tag in {repository} is for what belongs to {digest}, {reason}")))
        }
        None => Ok(()),
    }
}

/// What something belongs to.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Subject {
    /// Digest of a manifest or index.
    digest: String,
    /// The repository where a tag says so; `None` where the document does.
    repository: Option<String>,
}

/// Graphs by what they belong to, each under its tag where it has one.
type Found = BTreeMap<Subject, BTreeSet<(Option<String>, usize)>>;

/// What manifests consist of.
struct Walks<'w, 'a, S> {
    blobs: InSink<'w, S>,
    limits: &'w Limits,
    budget: &'w mut Budget,
    graphs: Vec<Graph>,
    by_target: BTreeMap<&'a Descriptor, usize>,
}

impl<'a, S: Sink> Walks<'_, 'a, S> {
    /// Number of a manifest's graph, which is walked once, however often the index lists it.
    fn graph(&mut self, target: &'a Descriptor) -> Result<usize, ReadError<S::Error>> {
        if let Some(known) = self.by_target.get(target) {
            return Ok(*known);
        }
        let place = format!("{INDEX}: {}", target.digest);
        let walked = walk(&mut self.blobs, target, self.limits.image_manifest);
        let graph = walked.map_err(|error| broken(&place, error))?;
        self.budget.take(&place, graph.manifests.len() + graph.blobs.len())?;
        let number = self.graphs.len();
        self.graphs.push(graph);
        self.by_target.insert(target, number);
        Ok(number)
    }
}

/// Finds what is listed and is no image of the metadata, nor a part of one.
fn find<'a, S: Sink>(
    collected: &'a Collected,
    images: &[Image],
    walks: &mut Walks<'_, 'a, S>,
) -> Result<Found, ReadError<S::Error>> {
    let parts: BTreeSet<&str> =
        images.iter().flat_map(|image| &image.manifests).map(|manifest| manifest.digest.as_str()).collect();
    let targets: BTreeSet<&str> = images.iter().map(|image| image.target.digest.as_str()).collect();
    let tags: BTreeSet<(&str, &str)> =
        images.iter().filter_map(|image| Some((image.repository.as_str(), image.tag.as_deref()?))).collect();
    let mut found = Found::new();
    for image in collected.images.as_deref().unwrap_or_default() {
        let digest = image.target.digest.as_str();
        let attached = image.attached().filter(|at| !tags.contains(&(at.repository.as_str(), at.tag.as_str())));
        if let Some(at) = attached {
            let graph = walks.graph(&image.target)?;
            let there = found.entry(Subject { digest: at.subject, repository: Some(at.repository) }).or_default();
            let tag = Some(at.tag);
            if there.iter().any(|(known, other)| *known == tag && *other != graph) {
                return Err(invalid(INDEX, format!("it lists several manifests under the name {}", at.name)));
            }
            there.insert((tag, graph));
        } else if targets.contains(digest) {
            // Another name of an image.
        } else if let Some(name) = image.names.first() {
            return Err(invalid(INDEX, format!("the metadata does not name the image {name}")));
        } else if !parts.contains(digest) {
            let graph = walks.graph(&image.target)?;
            let reason = "it has no name (annotation org.opencontainers.image.ref.name) and refers to no image";
            let subject = walks.graphs.get(graph).and_then(|graph| graph.subject.clone());
            let subject = subject.ok_or_else(|| invalid(&format!("{INDEX}: {digest}"), reason))?;
            found.entry(Subject { digest: subject, repository: None }).or_default().insert((None, graph));
        }
    }
    Ok(found)
}

/// Adds to an image what belongs to its manifests, and behind that what belongs to it; notes which subjects it had.
fn place<E: std::error::Error + 'static>(
    image: &mut Image,
    found: &Found,
    graphs: &[Graph],
    placed: &mut BTreeSet<Subject>,
    budget: &mut Budget,
) -> Result<(), ReadError<E>> {
    let mut known: BTreeSet<String> = image.manifests.iter().map(|manifest| manifest.digest.clone()).collect();
    let mut blobs: BTreeSet<Descriptor> = image.blobs.iter().cloned().collect();
    let mut waiting: Vec<String> = known.iter().cloned().collect();
    while let Some(digest) = waiting.pop() {
        for repository in [None, Some(image.repository.clone())] {
            let subject = Subject { digest: digest.clone(), repository };
            let Some(belonging) = found.get(&subject) else { continue };
            placed.insert(subject);
            for (tag, graph) in belonging {
                let Some(graph) = graphs.get(*graph) else { continue };
                let before = image.manifests.len() + image.blobs.len() + image.attachments.len();
                for manifest in graph.manifests.iter().filter(|manifest| known.insert(manifest.digest.clone())) {
                    image.manifests.push(manifest.clone());
                    waiting.push(manifest.digest.clone());
                }
                image.blobs.extend(graph.blobs.iter().filter(|blob| blobs.insert((*blob).clone())).cloned());
                // Children come before parents.
                let target = tag.as_ref().zip(graph.manifests.last());
                let attachment = target.map(|(tag, target)| Attachment { tag: tag.clone(), target: target.clone() });
                image.attachments.extend(attachment);
                let after = image.manifests.len() + image.blobs.len() + image.attachments.len();
                budget.take(INDEX, after - before)?;
            }
        }
    }
    image.attachments.sort();
    Ok(())
}
