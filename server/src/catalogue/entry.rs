//! What the store says of one package: `packages/<coordinate code>.json`.
//!
//! Written last of all that belongs to a package; it holds everything that the catalogue, the links and the tags of the
//! package are made from.

use std::ops::Not;

use api::PackageSource;
use bundle::coordinate::Coordinate;
use bundle::model::{Bundle, File, Image};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};

use super::links::Held;
use super::referrers::Referrer;
use crate::digest::{Digest, InvalidDigest};
use crate::names::{CoordinateCode, InvalidName, PackageName, Repository};
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
    /// How it came in.
    #[serde(default = "from_url")]
    pub source: PackageSource,
    /// Who wants it in the catalogue.
    pub declaration: Declared,
    /// `metadata.json`, byte for byte.
    pub metadata: String,
    /// `manifest.json`, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// `images/index.json`, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Signature bundles, byte for byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Manifests of the images that say something about another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Referrer>,
}

fn from_url() -> PackageSource {
    PackageSource::Url
}

fn includes<T: PartialEq>(all: &[T], some: &[T]) -> bool {
    some.iter().all(|one| all.contains(one))
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
    /// How it came in.
    pub source: PackageSource,
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
    /// Claim of its number.
    pub release: Place,
    /// Release version.
    pub release_version: u64,
    /// The declaration.
    pub declaration: Declared,
    /// Order of the publication.
    pub order: u64,
    /// Links of manifests and blobs, entries of referrers, then tags, with what they hold.
    pub held: Vec<(Place, Held)>,
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
    /// Set where somebody pushed the manifest, whether or not a package has it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Pushed>,
}

/// What is said of a manifest that was pushed.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// Digests of the configuration, layers and manifests that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Digest of the manifest that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// What a blob's link holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct BlobLink {
    /// Somebody pushed it, whether or not a package has it too.
    #[serde(default, skip_serializing_if = "Not::not")]
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
    /// Whether a push set it; otherwise it is a package's.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub pushed: bool,
}

impl Roots {
    /// Its links, its entries of referrers, its tags, and the claim of its number.
    pub fn links_and_tags(&self) -> impl Iterator<Item = Place> + '_ {
        self.held.iter().map(|(place, _)| place.clone()).chain([self.release.clone()])
    }
}

impl Entry {
    /// Whether it has every signature of another entry of the same content, and everything that one brings about images.
    #[must_use]
    pub fn says_as_much_as(&self, other: &Self) -> bool {
        let has = |image: &Image| {
            let mut own = self.images.iter().filter(|own| own.alias == image.alias && own.target == image.target);
            own.any(|own| includes(&own.manifests, &image.manifests) && includes(&own.attachments, &image.attachments))
        };
        includes(&self.signatures, &other.signatures) && other.images.iter().all(has)
    }

    /// The entry of a bundle that was read to its end, without its referrers: a bundle doesn't say which those are.
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
            source: publication.source,
            declaration: publication.declaration,
            metadata: text("metadata.json", bundle.metadata)?,
            manifest: bundle.manifest.map(|bytes| text("manifest.json", bytes)).transpose()?,
            index: bundle.index.map(|bytes| text("images/index.json", bytes)).transpose()?,
            signatures: bundle
                .signatures
                .into_iter()
                .map(|bytes| text("a signature", bytes))
                .collect::<Result<_, _>>()?,
            files: bundle.files,
            images: bundle.images,
            referrers: Vec::new(),
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
        let name: PackageName = self.name.parse().context(BadNameSnafu)?;
        let mut roots = Roots {
            entry: keys::entry(&self.code()?),
            release: Place::Release(name, self.release_version),
            release_version: self.release_version,
            declaration: self.declaration.clone(),
            order: self.order,
            held: Vec::new(),
            blobs: Vec::new(),
        };
        for file in &self.files {
            roots.blobs.push(parse_digest(&file.digest)?);
        }
        let mut tags = Vec::new();
        for image in &self.images {
            let repository: Repository = image.repository.parse().context(BadNameSnafu)?;
            for manifest in &image.manifests {
                let digest = parse_digest(&manifest.digest)?;
                let link = Link { media_type: manifest.media_type.clone(), size: manifest.size, pushed: None };
                let place = Place::ManifestLink(repository.clone(), digest.clone());
                roots.held.push((place, Held::Manifest(link)));
                roots.blobs.push(digest);
            }
            for blob in &image.blobs {
                let digest = parse_digest(&blob.digest)?;
                roots.held.push((Place::BlobLink(repository.clone(), digest.clone()), Held::Blob(BlobLink::default())));
                roots.blobs.push(digest);
            }
            let attachments = image.attachments.iter().map(|attachment| (&attachment.tag, &attachment.target));
            for (tag, target) in image.tag.iter().map(|tag| (tag, &image.target)).chain(attachments) {
                let held = TagTarget {
                    digest: target.digest.clone(),
                    media_type: target.media_type.clone(),
                    size: target.size,
                    pushed: false,
                };
                let place = Place::Tag(repository.clone(), tag.parse().context(BadNameSnafu)?);
                tags.push((place, Held::Tag(held)));
            }
        }
        for referrer in &self.referrers {
            let (subject, digest) = (parse_digest(&referrer.subject)?, parse_digest(&referrer.described.digest)?);
            let place = Place::Referrer(referrer.repository.parse().context(BadNameSnafu)?, subject, digest);
            roots.held.push((place, Held::Referrer(referrer.described.clone())));
        }
        roots.held.extend(tags);
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

#[cfg(test)]
impl Entry {
    /// Version 1 of a package with nothing in it, for tests.
    pub(crate) fn bare(name: &str) -> Self {
        Self {
            format: 1,
            name: name.into(),
            version: "1".into(),
            release_version: 1,
            packaging_version: "4.0".into(),
            added_at: String::new(),
            order: 1,
            size: 0,
            digest: String::new(),
            source: PackageSource::Upload,
            declaration: Declared { id: "upload-1".into(), source: String::new(), by: String::new() },
            metadata: String::new(),
            manifest: None,
            index: None,
            signatures: vec![],
            files: vec![],
            images: vec![],
            referrers: vec![],
        }
    }
}
