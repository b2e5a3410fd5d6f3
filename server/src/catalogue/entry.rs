//! What the store says of one package: `packages/<coordinate code>/<releaseVersion>.json`.
//!
//! Written once, last of all that belongs to a package; it holds everything that the catalogue, the links and the tags
//! of the package are made from.

use bundle::coordinate::Coordinate;
use bundle::model::{Bundle, File, Image};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};

use crate::digest::{Digest, InvalidDigest};
use crate::names::{CoordinateCode, InvalidName, Repository, Tag};
use crate::storage::keys::{self, Key, Place};

/// A package as the store keeps it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Form of this document; 1.
    pub format: u32,
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Number that orders the versions of one name.
    pub release_version: u64,
    /// `3.0`, `4.0` or `5.0`.
    pub packaging_version: String,
    /// When it was published (RFC 3339).
    pub added_at: String,
    /// Grows from one publication to the next; a tag belongs to the package with the highest.
    pub order: u64,
    /// Bytes of the content, each digest once.
    pub size: u64,
    /// Content digest.
    pub digest: String,
    /// Who wants it in the catalogue.
    pub declaration: Declared,
    /// `metadata.json`, byte for byte.
    pub metadata: String,
    /// `manifest.json`, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Signature bundles, byte for byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

/// The declaration behind a package.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Declared {
    /// Its id.
    pub id: String,
    /// Hash of its source, by which the same declaration is recognised after a restart.
    pub source: String,
    /// `<namespace>/<name>` of the declaring object.
    pub by: String,
}

/// Why an entry can't be made or used.
#[derive(Debug, Snafu)]
pub enum EntryError {
    /// Something that the store keeps as text isn't text.
    #[snafu(display("{what} is not UTF-8"))]
    NotText {
        /// Which part.
        what: &'static str,
    },
    /// A digest is none.
    #[snafu(display("{source}"))]
    BadDigest {
        /// Why.
        source: InvalidDigest,
    },
    /// A name is none.
    #[snafu(display("{source}"))]
    BadName {
        /// Why.
        source: InvalidName,
    },
}

/// What is said of a publication besides its content.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Number that orders the versions of one name.
    pub release_version: u64,
    /// Who wants it.
    pub declaration: Declared,
    /// Now (RFC 3339).
    pub added_at: String,
    /// Above that of every earlier publication.
    pub order: u64,
}

/// Everything in the store that one package needs.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Key of the entry.
    pub entry: Key,
    /// Release version.
    pub release_version: u64,
    /// The declaration.
    pub declaration: Declared,
    /// Order of the publication.
    pub order: u64,
    /// Links of manifests, with what they hold.
    pub manifests: Vec<(Place, Link)>,
    /// Links of blobs.
    pub blob_links: Vec<Place>,
    /// Tags with what they point at.
    pub tags: Vec<(Repository, Tag, TagTarget)>,
    /// Blobs: manifests, image blobs, files.
    pub blobs: Vec<Digest>,
}

/// Most bytes of a link or a tag: what a manifest of 4 MiB refers to fits in.
pub const LINK_LIMIT: u64 = 4 << 20;

/// What a manifest's link holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Set where a client pushed the manifest, whether a package has it too or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Pushed>,
}

/// What a manifest that was pushed needs, so that nobody has to read it again to know.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// Digests of the blobs and child manifests that it can't be pulled without.
    pub references: Vec<String>,
    /// Digest of the manifest that it says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// What a blob's link holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobLink {
    /// Whether a client pushed or mounted the blob, whether a package has it too or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pushed: bool,
}

/// What a tag points at.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagTarget {
    /// Digest of a manifest or index in the same repository.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// Whether a client put it there; what a package publishes is not moved with the right to create alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pushed: bool,
}

impl Roots {
    /// Its links and tags.
    pub fn links_and_tags(&self) -> impl Iterator<Item = Place> + '_ {
        let manifests = self.manifests.iter().map(|(place, _)| place.clone());
        let tags = self.tags.iter().map(|(repository, tag, _)| Place::Tag(repository.clone(), tag.clone()));
        manifests.chain(self.blob_links.iter().cloned()).chain(tags)
    }
}

impl Entry {
    /// The entry of a bundle that was read to its end.
    ///
    /// # Errors
    /// Content that can't be kept as text.
    pub fn new(bundle: Bundle, publication: Publication) -> Result<Self, EntryError> {
        let text = |what, bytes| String::from_utf8(bytes).map_err(|_| NotTextSnafu { what }.build());
        Ok(Self {
            format: 1,
            name: bundle.name,
            version: bundle.version,
            release_version: publication.release_version,
            packaging_version: bundle.packaging_version,
            added_at: publication.added_at,
            order: publication.order,
            size: bundle.size,
            digest: bundle.content_digest,
            declaration: publication.declaration,
            metadata: text("metadata.json", bundle.metadata)?,
            manifest: bundle.manifest.map(|bytes| text("manifest.json", bytes)).transpose()?,
            signatures: bundle
                .signatures
                .into_iter()
                .map(|bytes| text("a signature", bytes))
                .collect::<Result<_, _>>()?,
            files: bundle.files,
            images: bundle.images,
        })
    }

    /// Name and version as the code that keys and addresses have.
    ///
    /// # Errors
    /// A code that is too long for a key.
    pub fn code(&self) -> Result<CoordinateCode, EntryError> {
        code_of(&self.name, &self.version)
    }

    /// What the package needs in the store.
    ///
    /// # Errors
    /// A digest or name that isn't one.
    pub fn roots(&self) -> Result<Roots, EntryError> {
        let mut roots = Roots {
            entry: keys::entry(&self.code()?, self.release_version),
            release_version: self.release_version,
            declaration: self.declaration.clone(),
            order: self.order,
            manifests: Vec::new(),
            blob_links: Vec::new(),
            tags: Vec::new(),
            blobs: Vec::new(),
        };
        for file in &self.files {
            roots.blobs.push(parse_digest(&file.digest)?);
        }
        for image in &self.images {
            let repository: Repository = image.repository.parse().context(BadNameSnafu)?;
            for manifest in &image.manifests {
                let digest = parse_digest(&manifest.digest)?;
                let link = Link { media_type: manifest.media_type.clone(), size: manifest.size, pushed: None };
                let place = Place::ManifestLink(repository.clone(), digest.clone());
                roots.manifests.push((place, link));
                roots.blobs.push(digest);
            }
            for blob in &image.blobs {
                let digest = parse_digest(&blob.digest)?;
                roots.blob_links.push(Place::BlobLink(repository.clone(), digest.clone()));
                roots.blobs.push(digest);
            }
            if let Some(tag) = &image.tag {
                let target = TagTarget {
                    digest: image.target.digest.clone(),
                    media_type: image.target.media_type.clone(),
                    size: image.target.size,
                    pushed: false,
                };
                roots.tags.push((repository, tag.parse().context(BadNameSnafu)?, target));
            }
        }
        Ok(roots)
    }
}

/// The code of a name and a version.
///
/// # Errors
/// A code that is too long for a key.
pub fn code_of(name: &str, version: &str) -> Result<CoordinateCode, EntryError> {
    let coordinate = Coordinate { name: name.to_owned(), version: version.to_owned() };
    coordinate.code().parse().context(BadNameSnafu)
}

fn parse_digest(text: &str) -> Result<Digest, EntryError> {
    text.parse().context(BadDigestSnafu)
}
