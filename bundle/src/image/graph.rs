//! Everything that is needed to pull an image: from its manifest or index down to the last layer.

use std::collections::{BTreeSet, HashSet};

use oci_spec::image::{self as oci, ImageIndex, ImageManifest, Platform};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use snafu::Snafu;

use super::media;
use crate::model::Descriptor;
use crate::reference::is_digest;

/// Indexes inside indexes that are followed.
pub const DEEPEST: u32 = 4;

/// Blobs that are there.
pub(crate) trait Blobs {
    /// Why a blob can't be read.
    type Error: std::error::Error + 'static;

    /// Bytes of a blob, if it is there.
    fn size(&self, digest: &str) -> Option<u64>;

    /// A small blob's bytes.
    fn read(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error>;
}

/// Why an image is not whole.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub(crate) enum GraphError<E: std::error::Error + 'static> {
    /// A blob that is there can't be read.
    #[snafu(display("{source}"))]
    Read {
        /// Why.
        source: E,
    },
    /// Something is wrong or missing.
    #[snafu(display("{reason}"))]
    Broken {
        /// What.
        reason: String,
    },
}

/// What is reachable from one manifest or index.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Children before parents.
    pub(crate) manifests: Vec<Descriptor>,
    /// Configs and layers, each once.
    pub(crate) blobs: Vec<Descriptor>,
    /// `linux/amd64`, sorted.
    pub(crate) platforms: BTreeSet<String>,
    /// What the target says it refers to.
    pub(crate) subject: Option<String>,
}

/// Collects what is reachable from `target` and checks that all of it is there, with the right sizes and types.
pub(crate) fn walk<B: Blobs>(blobs: &mut B, target: &Descriptor, limit: u64) -> Result<Graph, GraphError<B::Error>> {
    let mut walker = Walker { blobs, limit, graph: Graph::default(), documents: HashSet::new(), found: HashSet::new() };
    walker.document(target, None, 0)?;
    Ok(walker.graph)
}

struct Walker<'a, B> {
    blobs: &'a mut B,
    limit: u64,
    graph: Graph,
    /// Digests of the manifests and indexes that were walked, and of the configs and layers that were found. One digest can be
    /// both: what is a layer here can be a manifest there.
    documents: HashSet<String>,
    found: HashSet<String>,
}

impl<B: Blobs> Walker<'_, B> {
    fn document(
        &mut self,
        target: &Descriptor,
        platform: Option<&str>,
        depth: u32,
    ) -> Result<(), GraphError<B::Error>> {
        let digest = &target.digest;
        if depth > DEEPEST {
            return broken(format!("index {digest} is nested more than {DEEPEST} levels deep"));
        }
        if self.documents.contains(digest) {
            return Ok(());
        }
        let what = platform.map_or_else(|| "manifest".to_owned(), |platform| format!("the manifest of {platform},"));
        self.is_there(target, &what)?;
        if target.size > self.limit {
            return broken(format!("{what} {digest} has {} bytes, the limit is {}", target.size, self.limit));
        }
        let bytes = self.read(digest)?;
        if media::is_index(&target.media_type) {
            self.index(target, &bytes, depth)?;
        } else if media::is_manifest(&target.media_type) {
            self.manifest(target, &bytes, platform, depth)?;
        } else {
            let media_type = target.media_type.escape_debug();
            return broken(format!(
                "{what} {digest} has media type \"{media_type}\", must be an OCI or Docker (schema 2) manifest or index"
            ));
        }
        self.documents.insert(digest.clone());
        self.graph.manifests.push(target.clone());
        Ok(())
    }

    fn index(&mut self, target: &Descriptor, bytes: &[u8], depth: u32) -> Result<(), GraphError<B::Error>> {
        check_kind(target, bytes, &["config", "layers"])?;
        let index: ImageIndex = parse(target, bytes)?;
        if depth == 0 {
            self.graph.subject = subject(index.subject().as_ref());
        }
        for child in index.manifests() {
            let platform = child.platform().as_ref().map(platform_name);
            self.document(&descriptor(child)?, platform.as_deref(), depth + 1)?;
        }
        Ok(())
    }

    fn manifest(
        &mut self,
        target: &Descriptor,
        bytes: &[u8],
        platform: Option<&str>,
        depth: u32,
    ) -> Result<(), GraphError<B::Error>> {
        check_kind(target, bytes, &["manifests"])?;
        let manifest: ImageManifest = parse(target, bytes)?;
        if depth == 0 {
            self.graph.subject = subject(manifest.subject().as_ref());
        }
        let config = descriptor(manifest.config())?;
        self.blob(&config, platform, "config")?;
        let mut elsewhere = false;
        for layer in manifest.layers() {
            let blob = descriptor(layer)?;
            if is_elsewhere(layer) && self.blobs.size(&blob.digest).is_none() {
                elsewhere = true;
            } else {
                self.blob(&blob, platform, "layer")?;
            }
        }
        // An image with a layer that is somewhere else can't be pulled from here.
        if elsewhere {
            return Ok(());
        }
        let named = match platform {
            Some(named) => Some(named.to_owned()),
            None if media::is_config(&config.media_type) => Some(self.config_platform(&config)?),
            None => None,
        };
        // What belongs to an image but is none (attestations) has the platform unknown/unknown.
        self.graph.platforms.extend(named.filter(|name| !name.starts_with("unknown/")));
        Ok(())
    }

    fn blob(&mut self, blob: &Descriptor, platform: Option<&str>, kind: &str) -> Result<(), GraphError<B::Error>> {
        let of = platform.map(|platform| format!(" of {platform},")).unwrap_or_default();
        self.is_there(blob, &format!("{kind}{of}"))?;
        if self.found.insert(blob.digest.clone()) {
            self.graph.blobs.push(blob.clone());
        }
        Ok(())
    }

    fn is_there(&self, blob: &Descriptor, what: &str) -> Result<(), GraphError<B::Error>> {
        let (digest, said) = (&blob.digest, blob.size);
        match self.blobs.size(digest) {
            None => broken(format!("{what} {digest} is not there")),
            Some(size) if size != said => {
                broken(format!("{what} {digest} has {size} bytes, what refers to it says {said}"))
            }
            Some(_) => Ok(()),
        }
    }

    fn config_platform(&mut self, config: &Descriptor) -> Result<String, GraphError<B::Error>> {
        #[derive(Deserialize)]
        struct Config {
            os: String,
            architecture: String,
            variant: Option<String>,
        }
        if config.size > self.limit {
            return broken(format!("config {} has {} bytes, the limit is {}", config.digest, config.size, self.limit));
        }
        let bytes = self.read(&config.digest)?;
        let Config { os, architecture, variant } = parse(config, &bytes)?;
        Ok([Some(os), Some(architecture), variant]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/"))
    }

    fn read(&mut self, digest: &str) -> Result<Vec<u8>, GraphError<B::Error>> {
        self.blobs.read(digest, self.limit).map_err(|source| GraphError::Read { source })
    }
}

/// Whether a layer may be left where its `urls` say.
pub(crate) fn is_elsewhere(layer: &oci::Descriptor) -> bool {
    let has_urls = layer.urls().as_ref().is_some_and(|urls| !urls.is_empty());
    has_urls && media::is_foreign_layer(layer.media_type().as_ref())
}

/// A document must be what its descriptor says, so that no two readers take it for different things.
pub(crate) fn check_kind<E: std::error::Error + 'static>(
    target: &Descriptor,
    bytes: &[u8],
    foreign: &[&str],
) -> Result<(), GraphError<E>> {
    let document: serde_json::Value = parse(target, bytes)?;
    let digest = &target.digest;
    if let Some(key) = foreign.iter().find(|key| document.get(key).is_some()) {
        return broken(format!("{digest} is a {} but has the key \"{key}\"", target.media_type));
    }
    match document.get("mediaType") {
        Some(said) if said.as_str() != Some(&target.media_type) => {
            broken(format!("{digest} says mediaType {said}, what refers to it \"{}\"", target.media_type))
        }
        _ => Ok(()),
    }
}

pub(crate) fn parse<T: DeserializeOwned, E: std::error::Error + 'static>(
    target: &Descriptor,
    bytes: &[u8],
) -> Result<T, GraphError<E>> {
    serde_json::from_slice(bytes)
        .or_else(|error| broken(format!("{} is not a {}: {error}", target.digest, target.media_type)))
}

/// The parts of a descriptor that count.
pub(crate) fn descriptor<E: std::error::Error + 'static>(from: &oci::Descriptor) -> Result<Descriptor, GraphError<E>> {
    let digest = from.digest().to_string();
    if !is_digest(&digest) {
        return broken(format!("digest \"{digest}\" must be sha256: and 64 lower-case hex digits"));
    }
    Ok(Descriptor { media_type: from.media_type().to_string(), digest, size: from.size() })
}

/// The digest of what a manifest or index says it refers to.
pub(crate) fn subject(said: Option<&oci::Descriptor>) -> Option<String> {
    said.map(|subject| subject.digest().to_string())
}

fn platform_name(platform: &Platform) -> String {
    let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    format!("{}/{}{variant}", platform.os(), platform.architecture())
}

fn broken<T, E: std::error::Error + 'static>(reason: String) -> Result<T, GraphError<E>> {
    Err(GraphError::Broken { reason })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;
    use crate::digest::sha256;

    struct InMemory(HashMap<String, Vec<u8>>);

    impl InMemory {
        fn add(&mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Descriptor {
            let bytes = bytes.into();
            let found = Descriptor { media_type: media_type.into(), digest: sha256(&bytes), size: bytes.len() as u64 };
            self.0.insert(found.digest.clone(), bytes);
            found
        }
    }

    impl Blobs for InMemory {
        type Error = Infallible;

        fn size(&self, digest: &str) -> Option<u64> {
            self.0.get(digest).map(|bytes| bytes.len() as u64)
        }

        fn read(&mut self, digest: &str, _limit: u64) -> Result<Vec<u8>, Infallible> {
            Ok(self.0[digest].clone())
        }
    }

    /// An image whose first layer is not in the bundle.
    fn walked(media_type: &str, urls: &[&str]) -> Result<Graph, GraphError<Infallible>> {
        let mut blobs = InMemory(HashMap::new());
        let config = blobs.add(media::CONFIG, r#"{"os":"windows","architecture":"amd64"}"#);
        let layer = blobs.add(media::LAYER, "layer");
        let absent = json!({"mediaType": media_type, "digest": sha256(b"base"), "size": 4, "urls": urls});
        let manifest = json!({"schemaVersion": 2, "mediaType": media::MANIFEST, "config": as_json(&config),
            "layers": [absent, as_json(&layer)]});
        let target = blobs.add(media::MANIFEST, manifest.to_string());
        walk(&mut blobs, &target, 1 << 20)
    }

    fn as_json(blob: &Descriptor) -> serde_json::Value {
        serde_json::to_value(blob).unwrap()
    }

    #[test]
    fn a_foreign_layer_may_be_left_where_it_is_but_its_platform_is_not_claimed() {
        for media_type in [
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ] {
            let graph = walked(media_type, &["https://e.test/base"]).unwrap();
            assert_eq!((graph.manifests.len(), graph.blobs.len()), (1, 2), "config and the other layer");
            assert!(graph.platforms.is_empty(), "{:?}", graph.platforms);
        }
    }

    #[test]
    fn an_absent_layer_without_urls_or_of_another_kind_is_refused() {
        assert!(walked("application/vnd.oci.image.layer.nondistributable.v1.tar", &[]).is_err());
        assert!(walked(media::LAYER, &["https://e.test/base"]).is_err());
    }
}
