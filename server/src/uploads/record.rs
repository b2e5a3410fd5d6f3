//! What an upload consists of, checked. Pure.

use std::collections::BTreeMap;

use api::PackageContent;
use bundle::coordinate::Coordinate;
use bundle::model::File;
use bundle::stream::{Limits, Parts, ReadError};
use snafu::{ResultExt, Snafu, ensure};

use super::UploadId;
use crate::catalogue::entry::code_of;
use crate::digest::{Digest, InvalidDigest};
use crate::names::shorten;

/// Why a content is refused. Every message names the field and what would be right.
#[derive(Debug, Snafu)]
pub enum InvalidContent {
    /// The package is one that can't be published, whatever its blobs are.
    #[snafu(display("{source}"))]
    Parts {
        /// Why.
        source: Box<ReadError<std::convert::Infallible>>,
    },
    /// It is said to be another package than it is.
    #[snafu(display("{field}: is {said:?}, but what is sent has {found:?}"))]
    Disagrees {
        /// The field.
        field: &'static str,
        /// What it says.
        said: String,
        /// What would be right.
        found: String,
    },
    /// A digest is none.
    #[snafu(display("{source}"))]
    NoDigest {
        /// Why.
        source: InvalidDigest,
    },
    /// The name and version can't be a key.
    #[snafu(display("name, version: {source}"))]
    Name {
        /// Why.
        source: crate::catalogue::entry::EntryError,
    },
}

/// An upload's content that was found right as far as that can be told without a blob.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Id of the upload.
    pub id: UploadId,
    /// Name and version.
    pub coordinate: Coordinate,
    /// Content digest.
    pub digest: String,
    /// The parts, for the reader of bundles.
    pub parts: Parts,
    /// Every file and blob, each digest once, with its bytes.
    pub blobs: BTreeMap<Digest, u64>,
}

impl Record {
    /// Checks a content.
    ///
    /// # Errors
    /// [`InvalidContent`], which names the field.
    pub fn check(content: PackageContent, limits: &Limits) -> Result<Self, InvalidContent> {
        let PackageContent { name, version, digest, metadata, manifest, signatures, files, index, blobs } = content;
        let files = files.into_iter().map(|file| File { name: file.name, digest: file.digest, size: file.size });
        let parts = Parts {
            metadata: metadata.into_bytes(),
            manifest: manifest.map(String::into_bytes),
            signatures: signatures.into_iter().map(String::into_bytes).collect(),
            files: files.collect(),
            index: index.map(String::into_bytes),
            blobs: blobs.into_iter().map(|blob| (blob.digest, blob.size)).collect(),
        };
        let outline = parts.outline(limits).map_err(Box::new).context(PartsSnafu)?;
        let Coordinate { name: found_name, version: found_version } = &outline.coordinate;
        let fields = [
            ("name", &name, found_name),
            ("version", &version, found_version),
            ("digest", &digest, &outline.content_digest),
        ];
        for (field, said, found) in fields {
            ensure!(said == found, DisagreesSnafu { field, said: shorten(said), found });
        }
        code_of(&name, &version).context(NameSnafu)?;
        Ok(Self {
            id: UploadId::of(&name, &version, &digest),
            blobs: roots_of(&parts).context(NoDigestSnafu)?,
            coordinate: outline.coordinate,
            digest,
            parts,
        })
    }

    /// Bytes of everything that is not sent along, each digest once.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blobs.values().fold(0, |sum: u64, size| sum.saturating_add(*size))
    }
}

/// Every file and blob of the parts with its bytes: what no collector may take while they are uploaded.
///
/// # Errors
/// A digest that isn't one.
pub fn roots_of(parts: &Parts) -> Result<BTreeMap<Digest, u64>, InvalidDigest> {
    let files = parts.files.iter().map(|file| (&file.digest, file.size));
    let blobs = parts.blobs.iter().map(|(digest, size)| (digest, *size));
    files.chain(blobs).map(|(digest, size)| Ok((digest.parse()?, size))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::ContentFile;

    fn content() -> PackageContent {
        let hex = Digest::sha256(b"x").hex().to_owned();
        let metadata = format!(
            r#"{{"packagingVersion":"4.0","name":"tiny","version":"1.0","maintainer":"m","description":"d","tags":[],
            "resource":{{"assets":{{"uris":{{"a":"resources/{hex}/a.txt"}}}}}}}}"#
        );
        let canonical = format!(
            r#"{{"files":[{{"name":"a.txt","sha256":"{hex}"}}],"images":[],"metadata":"{}"}}"#,
            Digest::sha256(metadata.as_bytes())
        );
        PackageContent {
            name: "tiny".into(),
            version: "1.0".into(),
            digest: Digest::sha256(canonical.as_bytes()).to_string(),
            metadata,
            manifest: Some(r#"{"built-by":"test"}"#.into()),
            files: vec![ContentFile { name: "a.txt".into(), digest: format!("sha256:{hex}"), size: 1 }],
            ..PackageContent::default()
        }
    }

    fn refused(change: impl Fn(&mut PackageContent)) -> String {
        let mut content = content();
        change(&mut content);
        Record::check(content, &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn a_right_content_becomes_a_record() {
        let record = Record::check(content(), &Limits::default()).unwrap();
        assert_eq!(record.blobs, [(Digest::sha256(b"x"), 1)].into());
        assert_eq!((record.size(), record.coordinate.name.as_str()), (1, "tiny"));
    }

    #[test]
    fn what_is_said_must_be_what_is_sent() {
        assert!(refused(|content| content.name = "other".into()).starts_with("name: "));
        assert!(refused(|content| content.version = "2".into()).starts_with("version: "));
        assert!(refused(|content| content.digest = format!("sha256:{}", "0".repeat(64))).starts_with("digest: "));
        assert!(refused(|content| content.files[0].digest = "sha256:x".into()).contains("64 lower-case"));
        assert!(refused(|content| content.metadata = "{}".into()).contains("metadata.json"));
    }
}
