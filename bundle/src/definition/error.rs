//! Why there is no build definition.

use std::io;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};

use super::LocationError;
use crate::json::{Json, JsonError};
use crate::universe::{PACKAGING_VERSIONS, Violation};

/// Why a build definition can't be read or made.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum DefinitionError {
    /// A file can't be read.
    #[snafu(display("{}: {source}", path.display()))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not JSON.
    #[snafu(display("{}: {source}", path.display()))]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Why, with line and column.
        source: JsonError,
    },
    /// A document breaks a rule.
    #[snafu(display("{}: {json_path}: {rule}", path.display()))]
    Schema {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        json_path: String,
        /// What the rule is.
        rule: String,
    },
    /// A packaging version that this operation does not take.
    #[snafu(display("{}: packagingVersion is \"{version}\", must be {allowed}", path.display()))]
    PackagingVersion {
        /// Which file.
        path: PathBuf,
        /// What it has.
        version: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// An address that is neither a URL that is fetched nor a path.
    #[snafu(display("{}: {source}", path.display()))]
    Address {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: LocationError,
    },
    /// A path that JSON can't hold.
    #[snafu(display("{}: the path is not UTF-8", path.display()))]
    NotText {
        /// The path.
        path: PathBuf,
    },
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, DefinitionError> {
    std::fs::read(path).context(FileSnafu { path })
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Json, DefinitionError> {
    Json::parse(bytes).context(SyntaxSnafu { path })
}

pub(super) fn broken<T>(path: &Path, violation: Violation) -> Result<T, DefinitionError> {
    SchemaSnafu { path, json_path: violation.path, rule: violation.rule }.fail()
}

/// The packaging version, one of the readable ones that `right` lets through.
pub(super) fn packaging_version(
    path: &Path,
    document: &Json,
    right: impl Fn(&str) -> bool,
    allowed: &'static str,
) -> Result<String, DefinitionError> {
    let violation = |rule: &str| Violation { path: "$.packagingVersion".to_owned(), rule: rule.to_owned() };
    match document.get("packagingVersion") {
        None => broken(path, violation("this key is missing")),
        Some(Json::String(version)) if PACKAGING_VERSIONS.contains(&version.as_str()) && right(version) => {
            Ok(version.clone())
        }
        Some(Json::String(version)) => PackagingVersionSnafu { path, version, allowed }.fail(),
        Some(_) => broken(path, violation("must be a string")),
    }
}
