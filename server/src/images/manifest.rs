//! Manifests that clients push, as far as a registry has to understand them. Pure.
//!
//! Fields that aren't named here are the client's own and stay as they are; nothing but the bytes is ever served.

use std::collections::BTreeMap;

use serde::Deserialize;
use snafu::{OptionExt, Snafu, ensure};

use crate::digest::Digest;

/// OCI image, also the one form of artifacts in version 1.1 of the image specification.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker image, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's list of images for several platforms.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Artifacts as drafts of version 1.1 had them; clients of that time still push them.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// Layers that may not be passed on, so that a registry needn't have them.
const FOREIGN: [&str; 4] = [
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
];

/// Why a document is no manifest.
#[derive(Debug, Snafu)]
pub enum InvalidManifest {
    /// A field is wrong.
    #[snafu(display("{path}: {message}"))]
    Field {
        /// Where, as a path into the document: `layers[2].digest`.
        path: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// It isn't said what it is, or it is something that this registry doesn't take.
    #[snafu(display(
        "the media type {media_type:?} is none that this registry takes; set Content-Type to {OCI_MANIFEST}, {OCI_INDEX}, {DOCKER_MANIFEST} or {DOCKER_LIST}"
    ))]
    MediaType {
        /// What was said.
        media_type: String,
    },
    /// Header and document don't agree.
    #[snafu(display("mediaType: the document says {document:?}, Content-Type says {header:?}; both must be the same"))]
    Disagree {
        /// `mediaType` of the document.
        document: String,
        /// `Content-Type` without its parameters.
        header: String,
    },
}

/// What a registry needs to know of a manifest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// Blobs that it can't be pulled without, each once.
    pub blobs: Vec<Digest>,
    /// Manifests that it can't be pulled without, each once.
    pub children: Vec<Digest>,
    /// The manifest that it says something about.
    pub subject: Option<Digest>,
    /// What a list of referrers says it is.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    Image,
    Index,
    Artifact,
}

fn form(media_type: &str) -> Option<Form> {
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST => Some(Form::Image),
        OCI_INDEX | DOCKER_LIST => Some(Form::Index),
        OCI_ARTIFACT => Some(Form::Artifact),
        _ => None,
    }
}

/// Lists are `null` where a program in Go has none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    blobs: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    #[serde(rename = "size")]
    _size: u64,
}

impl Descriptor {
    fn digest(&self, path: &str) -> Result<Digest, InvalidManifest> {
        let wrong = |error: crate::digest::InvalidDigest| field(format!("{path}.digest"), error.to_string());
        self.digest.parse().map_err(wrong)
    }
}

impl Manifest {
    /// Reads a document. `content_type` is the header's value, parameters and all.
    ///
    /// # Errors
    /// A document that is no manifest, and where.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, InvalidManifest> {
        let document = read(bytes)?;
        let media_type = media_type(&document, content_type)?;
        let form = form(&media_type).with_context(|| MediaTypeSnafu { media_type: media_type.clone() })?;
        check_form(&document, form)?;
        let mut manifest = Self {
            media_type,
            blobs: Vec::new(),
            children: Vec::new(),
            subject: document.subject.as_ref().map(|subject| subject.digest("subject")).transpose()?,
            artifact_type: artifact_type(&document, form),
            annotations: document.annotations.unwrap_or_default(),
        };
        if let Some(config) = &document.config {
            manifest.needs(config, config.digest("config")?);
        }
        for (name, list) in [("layers", document.layers), ("blobs", document.blobs), ("manifests", document.manifests)]
        {
            for (index, descriptor) in list.into_iter().flatten().enumerate() {
                manifest.needs(&descriptor, descriptor.digest(&format!("{name}[{index}]"))?);
            }
        }
        for list in [&mut manifest.blobs, &mut manifest.children] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(manifest)
    }

    /// Everything that it can't be pulled without.
    pub fn references(&self) -> impl Iterator<Item = &Digest> {
        self.blobs.iter().chain(&self.children)
    }

    fn needs(&mut self, descriptor: &Descriptor, digest: Digest) {
        if FOREIGN.contains(&descriptor.media_type.as_str()) {
            return;
        }
        // Build caches are indexes whose entries are layers.
        let list = if form(&descriptor.media_type).is_some() { &mut self.children } else { &mut self.blobs };
        list.push(digest);
    }
}

fn read(bytes: &[u8]) -> Result<Document, InvalidManifest> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let document: Document = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| field(error.path().to_string(), error.into_inner().to_string()))?;
    reader.end().map_err(|error| field(".", error.to_string()))?;
    Ok(document)
}

fn media_type(document: &Document, content_type: Option<&str>) -> Result<String, InvalidManifest> {
    let header = content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match (document.media_type.as_deref().filter(|text| !text.is_empty()), header.filter(|text| !text.is_empty())) {
        (Some(document), Some(header)) => {
            ensure!(document == header, DisagreeSnafu { document, header });
            Ok(header)
        }
        (Some(document), None) => Ok(document.to_owned()),
        (None, header) => Ok(header.unwrap_or_default()),
    }
}

/// One document must not be two things, depending on who reads it.
fn check_form(document: &Document, form: Form) -> Result<(), InvalidManifest> {
    if form != Form::Artifact && document.schema_version != Some(2) {
        return Err(field("schemaVersion", "must be 2"));
    }
    let lists = [
        ("config", document.config.is_some(), form == Form::Image),
        ("layers", document.layers.is_some(), form == Form::Image),
        ("manifests", document.manifests.is_some(), form == Form::Index),
    ];
    for (name, is_there, belongs) in lists {
        if is_there && !belongs {
            return Err(field(name, "does not belong into a document of this media type"));
        }
    }
    if form == Form::Image && document.config.is_none() {
        return Err(field("config", "is missing"));
    }
    Ok(())
}

/// An image without an artifact type is known by the type of its config; an index has none then.
fn artifact_type(document: &Document, form: Form) -> Option<String> {
    let own = document.artifact_type.clone().filter(|text| !text.is_empty());
    own.or_else(|| document.config.as_ref().filter(|_| form == Form::Image).map(|config| config.media_type.clone()))
}

fn field(path: impl Into<String>, message: impl Into<String>) -> InvalidManifest {
    InvalidManifest::Field { path: path.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn descriptor(media_type: &str, content: &str) -> Value {
        json!({ "mediaType": media_type, "digest": digest(content).to_string(), "size": content.len() })
    }

    fn digest(content: &str) -> Digest {
        Digest::sha256(content.as_bytes())
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", "config"),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", "layer")],
        })
    }

    fn parse(document: &Value, content_type: &str) -> Result<Manifest, String> {
        Manifest::parse(document.to_string().as_bytes(), Some(content_type)).map_err(|error| error.to_string())
    }

    fn sorted(contents: &[&str]) -> Vec<Digest> {
        let mut all: Vec<_> = contents.iter().map(|content| digest(content)).collect();
        all.sort();
        all
    }

    #[test]
    fn an_image_needs_its_config_and_its_layers_each_once() {
        let mut document = image();
        let layer = document["layers"][0].clone();
        document["layers"].as_array_mut().unwrap().push(layer);
        let manifest = parse(&document, &format!("{OCI_MANIFEST}; charset=utf-8")).unwrap();
        assert_eq!(manifest.blobs, sorted(&["config", "layer"]));
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    }

    #[test]
    fn layers_that_may_not_be_passed_on_are_not_needed() {
        for foreign in FOREIGN {
            let mut document = image();
            document["layers"] = json!([descriptor(foreign, "foreign")]);
            assert_eq!(parse(&document, OCI_MANIFEST).unwrap().blobs, [digest("config")], "{foreign}");
        }
    }

    #[test]
    fn an_index_needs_its_manifests_and_a_build_cache_its_layers() {
        let entries = [descriptor(DOCKER_MANIFEST, "a"), descriptor("application/vnd.test.layer", "b")];
        let document = json!({ "schemaVersion": 2, "manifests": entries });
        let manifest = parse(&document, OCI_INDEX).unwrap();
        assert_eq!((manifest.children, manifest.blobs), (vec![digest("a")], vec![digest("b")]));
        assert_eq!(manifest.artifact_type, None);
    }

    #[test]
    fn lists_that_a_program_left_out_or_wrote_as_null_are_empty() {
        let mut document = image();
        document["layers"] = Value::Null;
        assert_eq!(parse(&document, OCI_MANIFEST).unwrap().blobs, [digest("config")]);
        assert!(parse(&json!({ "schemaVersion": 2, "manifests": null }), DOCKER_LIST).unwrap().children.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place_in_the_document() {
        let wrong = |change: fn(&mut Value)| {
            let mut document = image();
            change(&mut document);
            parse(&document, OCI_MANIFEST).unwrap_err()
        };
        assert!(wrong(|d| d["layers"][0]["digest"] = json!("md5:1")).starts_with("layers[0].digest: "));
        assert!(wrong(|d| d["layers"][0]["size"] = json!(-1)).starts_with("layers[0].size: "));
        assert!(wrong(|d| drop(d["config"].as_object_mut().unwrap().remove("mediaType"))).starts_with("config: "));
        assert!(wrong(|d| d["annotations"] = json!({ "a": 1 })).starts_with("annotations.a: "));
        assert!(
            wrong(|d| d["subject"] = json!({ "mediaType": "a", "digest": "x", "size": 1 })).contains("subject.digest")
        );
        assert_eq!(wrong(|d| d["schemaVersion"] = json!(1)), "schemaVersion: must be 2");
        assert_eq!(wrong(|d| d["config"] = Value::Null), "config: is missing");
    }

    #[test]
    fn a_document_is_one_thing_whoever_reads_it() {
        let mut document = image();
        document["manifests"] = json!([]);
        assert!(parse(&document, OCI_MANIFEST).unwrap_err().starts_with("manifests: "));
        assert!(parse(&image(), OCI_INDEX).unwrap_err().starts_with("mediaType: "));
        let twice = image().to_string().replacen('{', r#"{"mediaType":"x","#, 1);
        assert!(Manifest::parse(twice.as_bytes(), Some(OCI_MANIFEST)).is_err());
    }

    #[test]
    fn without_a_header_the_document_says_what_it_is() {
        let bytes = image().to_string();
        assert_eq!(Manifest::parse(bytes.as_bytes(), None).unwrap().media_type, OCI_MANIFEST);
        for foreign in ["text/plain", "application/vnd.docker.distribution.manifest.v1+prettyjws"] {
            let error = parse(&json!({ "schemaVersion": 1 }), foreign).unwrap_err();
            assert!(error.contains(foreign) && error.contains(OCI_INDEX), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, text in "[\\[{\",:a-z0-9]{0,60}") {
            let _ = Manifest::parse(&bytes, Some(OCI_MANIFEST));
            let _ = Manifest::parse(text.as_bytes(), Some(OCI_INDEX));
        }
    }
}
