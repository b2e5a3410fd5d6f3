//! Bundles made on the spot.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use api::{ContentBlob, ContentFile, PackageContent, PackageSource};
use bundle::manifest::{Manifest, ManifestResource};
use bundle::model::{Bundle, Descriptor, File};
use bundle::stream::{self, Limits, Receipt, Sink};
use bundle::write::{Entries, Part, write_entries};
use serde_json::{Value, json};
use server::catalogue::entry::Declared;
use server::catalogue::{Intent, Number};
use server::digest::Digest;

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// A package with files and images.
#[derive(Clone)]
pub struct Package {
    pub metadata: Value,
    files: BTreeMap<String, Vec<u8>>,
    images: BTreeMap<String, Descriptor>,
    blobs: BTreeMap<Descriptor, Vec<u8>>,
    referrers: Vec<Descriptor>,
}

impl Package {
    pub fn new(name: &str, version: &str) -> Self {
        let metadata = json!({
            "packagingVersion": "4.0", "name": name, "version": version,
            "maintainer": "a@b.test", "description": "d", "tags": [],
        });
        Self { metadata, files: BTreeMap::new(), images: BTreeMap::new(), blobs: BTreeMap::new(), referrers: vec![] }
    }

    /// A package with this metadata.
    pub fn of(metadata: Value) -> Self {
        Self { metadata, files: BTreeMap::new(), images: BTreeMap::new(), blobs: BTreeMap::new(), referrers: vec![] }
    }

    /// Adds a file; returns its entry, for the metadata to name it.
    pub fn entry(&mut self, name: &str, content: &[u8]) -> String {
        let path = format!("resources/{}/{name}", Digest::sha256(content).hex());
        self.files.insert(path.clone(), content.to_vec());
        path
    }

    /// Adds a file as `resource.assets.uris.<alias>`.
    pub fn file(mut self, alias: &str, name: &str, content: &[u8]) -> Self {
        let path = format!("resources/{}/{name}", Digest::sha256(content).hex());
        self.metadata["resource"]["assets"]["uris"][alias] = json!(path);
        self.files.insert(path, content.to_vec());
        self
    }

    /// Adds an image with one layer as `resource.assets.container.docker.<alias>`.
    pub fn image(mut self, alias: &str, reference: &str, layer: &[u8]) -> Self {
        let layer = self.blob(LAYER_TYPE, layer.to_vec());
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        });
        let config = self.blob(CONFIG_TYPE, serde_json::to_vec(&config).unwrap());
        let descriptor = |d: &Descriptor| json!({ "mediaType": d.media_type, "digest": d.digest, "size": d.size });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": descriptor(&config), "layers": [descriptor(&layer)],
        });
        let target = self.blob(MANIFEST_TYPE, serde_json::to_vec(&manifest).unwrap());
        self.metadata["resource"]["assets"]["container"]["docker"][alias] = json!(reference);
        self.images.insert(reference.to_owned(), target);
        self
    }

    /// Adds a manifest that says something about an image, without a name.
    pub fn referrer(mut self, reference: &str, artifact_type: &str, content: &[u8]) -> Self {
        let descriptor = |d: &Descriptor| json!({ "mediaType": d.media_type, "digest": d.digest, "size": d.size });
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}".to_vec());
        let content = self.blob(artifact_type, content.to_vec());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": artifact_type,
            "config": descriptor(&config), "layers": [descriptor(&content)],
            "subject": descriptor(&self.images[reference]), "annotations": { "org.example.note": "of a package" },
        });
        let target = self.blob(MANIFEST_TYPE, serde_json::to_vec(&manifest).unwrap());
        self.referrers.push(target);
        self
    }

    /// Adds a manifest under the tag beside an image that what cosign keeps of it has: `sig`, `att` or `sbom`. Its name.
    pub fn attachment(mut self, reference: &str, kind: &str, content: &[u8]) -> (Self, String) {
        let descriptor = |d: &Descriptor| json!({ "mediaType": d.media_type, "digest": d.digest, "size": d.size });
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}".to_vec());
        let content = self.blob("application/vnd.example.signature", content.to_vec());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": descriptor(&config), "layers": [descriptor(&content)],
        });
        let target = self.blob(MANIFEST_TYPE, serde_json::to_vec(&manifest).unwrap());
        let repository = reference.split(':').next().unwrap();
        let name = format!("{repository}:{}.{kind}", self.manifest_digest(reference).replace(':', "-"));
        self.images.insert(name.clone(), target);
        (self, name)
    }

    /// A manifest that was added, as it is.
    pub fn referrer_bytes(&self, number: usize) -> Vec<u8> {
        self.blobs[&self.referrers[number]].clone()
    }

    fn blob(&mut self, media_type: &str, content: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::sha256(&content).to_string(),
            size: content.len() as u64,
        };
        self.blobs.insert(descriptor.clone(), content);
        descriptor
    }

    /// Leaves a blob out that images need.
    pub fn without(mut self, blob: &[u8]) -> Self {
        self.blobs.retain(|_, content| content != blob);
        self
    }

    /// Digest of the manifest of an image.
    pub fn manifest_digest(&self, reference: &str) -> String {
        self.images[reference].digest.clone()
    }

    /// What an upload of it announces.
    pub fn content(&self) -> PackageContent {
        content_of(&self.bytes())
    }

    /// Everything that an upload of it may have to send, by digest.
    pub fn parts(&self) -> BTreeMap<String, Vec<u8>> {
        let all = self.files.values().chain(self.blobs.values());
        all.map(|content| (Digest::sha256(content).to_string(), content.clone())).collect()
    }

    /// The `.dcos` file.
    pub fn bytes(&self) -> Vec<u8> {
        let resources = self.files.iter().map(|(path, content)| ManifestResource {
            path: path.clone(),
            size: content.len() as u64,
            sha256: Digest::sha256(content).hex().to_owned(),
            source: "test".to_owned(),
        });
        let manifest = Manifest::new("test 1".to_owned(), resources.collect(), vec![]);
        let metadata = serde_json::to_vec(&self.metadata).unwrap();
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let file = |(path, content): (&String, &Vec<u8>)| File {
            name: path.rsplit('/').next().unwrap().to_owned(),
            digest: Digest::sha256(content).to_string(),
            size: content.len() as u64,
        };
        let mut index: Value = serde_json::from_str(&bundle::write::index(&self.images)).unwrap();
        let unnamed = self.referrers.iter().map(|descriptor| serde_json::to_value(descriptor).unwrap());
        index["manifests"].as_array_mut().unwrap().extend(unnamed);
        let index = serde_json::to_vec(&index).unwrap();
        let entries = Entries {
            metadata: &metadata,
            manifest: Some(&manifest),
            signatures: &[],
            files: &self.files.iter().map(file).collect::<Vec<_>>(),
            index: (!self.images.is_empty()).then_some(&index),
            blobs: &self.blobs.keys().map(|blob| (blob.digest.clone(), blob.size)).collect(),
        };
        let mut open = |part: Part<'_>| -> io::Result<Box<dyn Read>> {
            let content = match part {
                Part::File(path) => self.files[path].clone(),
                Part::Blob(digest) => self.blobs.iter().find(|(d, _)| d.digest == digest).unwrap().1.clone(),
            };
            Ok(Box::new(Cursor::new(content)))
        };
        write_entries(Cursor::new(Vec::new()), &entries, &mut open).unwrap().into_inner()
    }
}

/// What an upload of a bundle announces.
pub fn content_of(bundle: &[u8]) -> PackageContent {
    let bundle = stream::read(bundle, &mut Kept::default(), &Limits::default()).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let files = bundle.files.into_iter().map(|f| ContentFile { name: f.name, digest: f.digest, size: f.size });
    let blobs = bundle.images.iter().flat_map(|image| image.manifests.iter().chain(&image.blobs));
    let blobs: BTreeMap<String, u64> = blobs.map(|blob| (blob.digest.clone(), blob.size)).collect();
    PackageContent {
        name: bundle.name,
        version: bundle.version,
        digest: bundle.content_digest,
        metadata: text(bundle.metadata),
        manifest: bundle.manifest.map(text),
        signatures: bundle.signatures.into_iter().map(text).collect(),
        files: files.collect(),
        index: bundle.index.map(text),
        blobs: blobs.into_iter().map(|(digest, size)| ContentBlob { digest, size }).collect(),
    }
}

#[derive(Default)]
struct Kept(BTreeMap<String, Vec<u8>>);

impl Sink for Kept {
    type Error = io::Error;

    fn blob(&mut self, body: &mut dyn Read) -> Result<Receipt, io::Error> {
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes)?;
        let receipt = Receipt { digest: Digest::sha256(&bytes).to_string(), size: bytes.len() as u64 };
        self.0.insert(receipt.digest.clone(), bytes);
        Ok(receipt)
    }

    fn read_back(&mut self, digest: &str, _: u64) -> Result<Vec<u8>, io::Error> {
        Ok(self.0[digest].clone())
    }
}

/// A package with a file and an image that nothing else has.
pub fn package(name: &str, version: &str, image: &str) -> Package {
    Package::new(name, version).file("asset", "asset.tar.gz", format!("asset of {name} {version}").as_bytes()).image(
        "main",
        image,
        format!("layer of {name} {version}").as_bytes(),
    )
}

/// A bundle with neither files nor images, as it is when it was read.
pub fn bare(name: &str, version: &str) -> Bundle {
    Bundle {
        metadata: b"{}".to_vec(),
        manifest: None,
        index: None,
        signatures: vec![],
        packaging_version: "4.0".into(),
        name: name.into(),
        version: version.into(),
        files: vec![],
        images: vec![],
        content_digest: format!("sha256:{version}"),
        size: 0,
    }
}

/// A declaration of that id wants a bundle published, with the lowest number that is free.
pub fn intent(id: &str) -> Intent {
    let declaration = Declared { id: id.into(), source: "s".into(), by: "a/b".into() };
    Intent { number: Number::From(1), source: PackageSource::Url, declaration }
}
