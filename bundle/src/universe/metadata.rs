//! `metadata.json`: what a bundle says of its package.

use std::collections::BTreeMap;

use snafu::{ResultExt, Snafu};

use super::addresses::file_addresses;
use super::schema::{self, Form, PACKAGING_VERSIONS, Violation};
use crate::coordinate::Coordinate;
use crate::json::{Json, JsonError};

/// Metadata that satisfies the schema and what the consumer of the repository needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// `3.0`, `4.0` or `5.0`.
    pub packaging_version: String,
    /// Name and version.
    pub coordinate: Coordinate,
    /// Every file address in the metadata (`uris`, `images`, CLI `url`) but empty ones, in the order in which they are fetched.
    pub addresses: Vec<String>,
    /// Image references by alias.
    pub images: BTreeMap<String, String>,
    /// The whole document, keys in their order, numbers as written.
    pub document: Json,
}

/// Why bytes are no metadata.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum MetadataError {
    /// Not JSON.
    #[snafu(display("metadata.json: {source}"))]
    Syntax {
        /// What the parser says, with the line.
        source: JsonError,
    },
    /// JSON that breaks a rule.
    #[snafu(display("metadata.json: {path}: {rule}"))]
    Schema {
        /// JSON path.
        path: String,
        /// The rule that is broken.
        rule: String,
    },
    /// Another packaging version.
    #[snafu(display("metadata.json: packagingVersion is \"{version}\", must be \"3.0\", \"4.0\" or \"5.0\""))]
    Unsupported {
        /// What the metadata has.
        version: String,
    },
}

impl Metadata {
    /// Parses and validates.
    ///
    /// # Errors
    /// [`MetadataError`], naming the place and the rule.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let document = Json::parse(bytes).context(SyntaxSnafu)?;
        let packaging_version = match document.get("packagingVersion") {
            Some(Json::String(version)) if PACKAGING_VERSIONS.contains(&version.as_str()) => version.clone(),
            Some(Json::String(version)) => return UnsupportedSnafu { version }.fail(),
            Some(_) => return SchemaSnafu { path: "$.packagingVersion", rule: "must be a string" }.fail(),
            None => String::new(),
        };
        schema::check(&document, &packaging_version, Form::Metadata)
            .or_else(|Violation { path, rule }| SchemaSnafu { path, rule }.fail())?;
        let text = |key| document.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        Ok(Self {
            packaging_version,
            coordinate: Coordinate { name: text("name"), version: text("version") },
            addresses: file_addresses(&document).into_iter().map(str::to_owned).collect(),
            images: image_references(&document),
            document,
        })
    }
}

/// Image references of a package by alias.
#[must_use]
pub fn image_references(document: &Json) -> BTreeMap<String, String> {
    let docker = document.at(&["resource", "assets", "container", "docker"]).map_or(&[][..], Json::entries);
    let reference = |(alias, value): &(String, Json)| Some((alias.clone(), value.as_str()?.to_owned()));
    docker.iter().filter_map(reference).collect()
}
