//! What a manifest or index refers to, for the one who gets an image piece by piece.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde_json::Value;
use snafu::Snafu;

pub use super::graph::DEEPEST;
use super::graph::{GraphError, check_kind, descriptor, is_elsewhere, parse, subject};
use super::media;
use super::platform::Platform;
use crate::digest::sha256;
use crate::model::Descriptor;

/// What is one step away from a manifest or index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outline {
    /// An index refers to manifests and other indexes.
    Index {
        /// Those.
        children: Vec<Descriptor>,
        /// Digest of the manifest or index about which it says something.
        subject: Option<String>,
    },
    /// A manifest refers to a config and layers; layers that are left where their `urls` say are not among them.
    Manifest {
        /// The config.
        config: Descriptor,
        /// The layers, base first.
        layers: Vec<Descriptor>,
        /// Digest of the manifest or index about which it says something.
        subject: Option<String>,
    },
}

/// Why a document says nothing about an image.
#[derive(Debug, Snafu)]
#[snafu(display("{reason}"))]
pub struct OutlineError {
    reason: String,
}

impl Outline {
    /// Reads a manifest or index, which must be what its descriptor says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(target: &Descriptor, bytes: &[u8]) -> Result<Self, OutlineError> {
        read(target, bytes).map_err(|error| OutlineError { reason: error.to_string() })
    }

    /// Digest of the manifest or index about which this one says something, as signatures and SBOMs do (`subject` of version 1.1
    /// of the image specification).
    #[must_use]
    pub fn subject(self) -> Option<String> {
        match self {
            Self::Manifest { subject, .. } | Self::Index { subject, .. } => subject,
        }
    }
}

fn read(target: &Descriptor, bytes: &[u8]) -> Result<Outline, GraphError<std::io::Error>> {
    if media::is_index(&target.media_type) {
        check_kind(target, bytes, &["config", "layers"])?;
        let index: ImageIndex = parse(target, bytes)?;
        let children = index.manifests().iter().map(descriptor).collect::<Result<_, _>>()?;
        return Ok(Outline::Index { children, subject: subject(index.subject().as_ref()) });
    }
    if !media::is_manifest(&target.media_type) {
        let media_type = target.media_type.escape_debug();
        let reason =
            format!("it has media type \"{media_type}\", must be an OCI or Docker (schema 2) manifest or index");
        return Err(GraphError::Broken { reason });
    }
    check_kind(target, bytes, &["manifests"])?;
    let manifest: ImageManifest = parse(target, bytes)?;
    let here = manifest.layers().iter().filter(|layer| !is_elsewhere(layer));
    let layers = here.map(descriptor).collect::<Result<_, _>>()?;
    let subject = subject(manifest.subject().as_ref());
    Ok(Outline::Manifest { config: descriptor(manifest.config())?, layers, subject })
}

/// The media types of documents that [`Outline::read`] takes, for an `Accept` header.
pub const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    media::MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The type of a manifest or index: what it says itself, else what came with it.
#[must_use]
pub fn media_type(bytes: &[u8], said: &str) -> String {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    document.get("mediaType").and_then(Value::as_str).unwrap_or(said).to_owned()
}

/// What is taken of an index when only some platforms are wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// All that it refers to is wanted: it stays as it is.
    Whole,
    /// One manifest is wanted: it alone is the image, under its own digest.
    One(Descriptor),
    /// Several are wanted: this new index, the old one without the others, is the image.
    Index {
        /// What refers to it.
        target: Descriptor,
        /// The document.
        bytes: Vec<u8>,
    },
    /// It has none that is wanted.
    None {
        /// What it has.
        available: Vec<String>,
    },
}

/// Selects the manifests of an index that a wanted platform covers. Attestations are left out, unless all is wanted.
///
/// # Errors
/// An index that can't be read.
pub fn select(target: &Descriptor, bytes: &[u8], wanted: &[Platform]) -> Result<Selection, OutlineError> {
    let broken = |error: GraphError<std::io::Error>| OutlineError { reason: error.to_string() };
    let index: ImageIndex = parse(target, bytes).map_err(broken)?;
    let platforms: Vec<Option<Platform>> = index
        .manifests()
        .iter()
        .map(|child| {
            let platform = child.platform().as_ref()?;
            let architecture = platform.architecture().to_string();
            Some(Platform::new(&platform.os().to_string(), &architecture, platform.variant().as_deref()))
        })
        .collect();
    let is_wanted = |platform: &Option<Platform>| {
        platform.as_ref().is_some_and(|platform| wanted.iter().any(|wanted| wanted.covers(platform)))
    };
    let kept: Vec<bool> = platforms.iter().map(is_wanted).collect();
    if kept.iter().all(|kept| *kept) && !kept.is_empty() {
        return Ok(Selection::Whole);
    }
    let mut chosen = index.manifests().iter().zip(&kept).filter(|(_, kept)| **kept).map(|(child, _)| child);
    match (chosen.next(), chosen.next()) {
        (None, _) => {
            let images = platforms.iter().flatten().filter(|platform| !platform.is_unknown());
            Ok(Selection::None { available: images.map(ToString::to_string).collect() })
        }
        (Some(one), None) => descriptor(one).map(Selection::One).map_err(broken),
        (Some(_), Some(_)) => {
            let mut document: Value = parse(target, bytes).map_err(broken)?;
            if let Some(Value::Array(manifests)) = document.get_mut("manifests") {
                let mut kept = kept.into_iter();
                manifests.retain(|_| kept.next().unwrap_or_default());
            }
            let bytes = document.to_string().into_bytes();
            let media_type = target.media_type.clone();
            let target = Descriptor { media_type, digest: sha256(&bytes), size: bytes.len() as u64 };
            Ok(Selection::Index { target, bytes })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";

    fn index(platforms: &[(&str, &str)]) -> (Descriptor, Vec<u8>) {
        let child = |(os, architecture): &(&str, &str)| {
            json!({"mediaType": media::MANIFEST, "digest": sha256(architecture.as_bytes()), "size": 1,
                "platform": {"os": os, "architecture": architecture}})
        };
        let manifests: Vec<_> = platforms.iter().map(child).collect();
        let bytes = json!({"schemaVersion": 2, "zeta": 1, "manifests": manifests}).to_string().into_bytes();
        (Descriptor { media_type: INDEX.to_owned(), digest: sha256(&bytes), size: bytes.len() as u64 }, bytes)
    }

    fn selected(wanted: &[&str]) -> Selection {
        let (target, bytes) =
            index(&[("linux", "amd64"), ("linux", "arm64"), ("linux", "s390x"), ("unknown", "unknown")]);
        let wanted: Vec<_> = wanted.iter().map(|wanted| wanted.parse().unwrap()).collect();
        select(&target, &bytes, &wanted).unwrap()
    }

    #[test]
    fn one_platform_is_its_manifest_and_several_are_a_smaller_index() {
        let Selection::One(one) = selected(&["linux/arm64"]) else { panic!() };
        assert_eq!(one.digest, sha256(b"arm64"));
        let Selection::Index { target, bytes } = selected(&["linux/amd64", "linux/s390x"]) else { panic!() };
        assert_eq!((target.digest, target.size), (sha256(&bytes), bytes.len() as u64));
        let (_, expected) = index(&[("linux", "amd64"), ("linux", "s390x")]);
        assert_eq!(bytes, expected, "everything else stays");
        let Selection::None { available } = selected(&["windows/amd64"]) else { panic!() };
        assert_eq!(available, ["linux/amd64", "linux/arm64", "linux/s390x"]);
    }

    #[test]
    fn an_index_of_which_everything_is_wanted_keeps_its_digest() {
        let (target, bytes) = index(&[("linux", "amd64"), ("linux", "arm64")]);
        let wanted = ["linux/arm64".parse().unwrap(), "linux/amd64".parse().unwrap()];
        assert_eq!(select(&target, &bytes, &wanted).unwrap(), Selection::Whole);
    }

    #[test]
    fn an_index_too_can_say_something_about_an_image() {
        let (_, bytes) = index(&[("linux", "amd64"), ("linux", "arm64")]);
        let mut document: Value = serde_json::from_slice(&bytes).unwrap();
        let read = |document: &Value| {
            let bytes = document.to_string().into_bytes();
            let target = Descriptor { media_type: INDEX.to_owned(), digest: sha256(&bytes), size: bytes.len() as u64 };
            Outline::read(&target, &bytes).unwrap()
        };
        assert_eq!(read(&document).subject(), None);
        document["subject"] = json!({"mediaType": media::MANIFEST, "digest": sha256(b"image"), "size": 5});
        let outline = read(&document);
        assert!(matches!(&outline, Outline::Index { children, .. } if children.len() == 2), "{outline:?}");
        assert_eq!(outline.subject(), Some(sha256(b"image")));
    }

    #[test]
    fn what_a_manifest_refers_to_leaves_out_layers_that_stay_elsewhere() {
        let layer = |media_type: &str, urls: &[&str]| json!({"mediaType": media_type, "digest": sha256(b"l"), "size": 1, "urls": urls});
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let bytes =
            json!({"schemaVersion": 2, "config": {"mediaType": media::CONFIG, "digest": sha256(b"c"), "size": 1},
            "layers": [layer(foreign, &["https://e.test/l"]), layer(foreign, &[]), layer(media::LAYER, &[])]})
            .to_string()
            .into_bytes();
        let target = Descriptor { media_type: media::MANIFEST.to_owned(), digest: sha256(&bytes), size: 0 };
        let Outline::Manifest { config, layers, .. } = Outline::read(&target, &bytes).unwrap() else { panic!() };
        assert_eq!((config.digest, layers.len()), (sha256(b"c"), 2));
        let wrong =
            Descriptor { media_type: "application/vnd.docker.distribution.manifest.v1+json".to_owned(), ..target };
        assert!(Outline::read(&wrong, &bytes).unwrap_err().to_string().contains("schema 2"));
    }
}
