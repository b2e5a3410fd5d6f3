//! `index.json` of an OCI image layout: which names stand for which manifests.

use oci_spec::image::ImageIndex;
use serde_json::Value;

use super::attachment;
use super::graph::{GraphError, descriptor};
use crate::model::Descriptor;
use crate::reference::Reference;

/// What `oci-layout` must say.
const LAYOUT_VERSION: &str = "1.0.0";
/// The name as container tools normalise it; goes before the other, which some tools give only a tag.
const FULL_NAME: &str = "io.containerd.image.name";
/// The name by the OCI image layout specification.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image and the names that a source gives it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// As they are written; none for what only refers to another image.
    pub(crate) names: Vec<String>,
    /// Those of the names that are references.
    references: Vec<Reference>,
    pub(crate) target: Descriptor,
}

impl Named {
    pub(crate) fn new(names: Vec<String>, target: Descriptor) -> Self {
        let references = names.iter().filter_map(|name| Reference::parse(name).ok()).collect();
        Self { names, references, target }
    }

    /// Whether this is the image that a reference means.
    pub(crate) fn is(&self, reference: &Reference) -> bool {
        match &reference.digest {
            Some(digest) => *digest == self.target.digest,
            None => self.references.iter().any(|name| name.same_image(reference)),
        }
    }

    /// To what this belongs, where its name says that it belongs to another manifest.
    pub(crate) fn attached(&self) -> Option<Attached> {
        self.references.iter().find_map(|name| {
            let tag = name.tag.as_ref().filter(|_| name.digest.is_none())?;
            let subject = attachment::subject(tag)?;
            let (repository, tag) = (name.served_repository(), tag.clone());
            Some(Attached { name: name.to_string(), repository, tag, subject })
        })
    }
}

/// Where something is kept that belongs to another manifest.
pub(crate) struct Attached {
    /// Its name, written out.
    pub(crate) name: String,
    /// The repository of both, as the registry serves it.
    pub(crate) repository: String,
    /// Its tag.
    pub(crate) tag: String,
    /// Digest of the other.
    pub(crate) subject: String,
}

/// Reads `index.json`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_index(bytes: &[u8]) -> Result<Vec<Named>, String> {
    let index: ImageIndex =
        serde_json::from_slice(bytes).map_err(|error| format!("it is not an image index: {error}"))?;
    let named = |from: &oci_spec::image::Descriptor| {
        let annotations = from.annotations().as_ref();
        let name = |key| annotations.and_then(|all| all.get(key)).cloned();
        let target = descriptor::<std::io::Error>(from).map_err(|error: GraphError<_>| error.to_string())?;
        Ok(Named::new(name(FULL_NAME).or_else(|| name(REF_NAME)).into_iter().collect(), target))
    };
    index.manifests().iter().map(named).collect()
}

/// Whether `oci-layout` says a version that is read.
pub(crate) fn is_layout(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes)
        .is_ok_and(|layout| layout.get("imageLayoutVersion").and_then(Value::as_str) == Some(LAYOUT_VERSION))
}
