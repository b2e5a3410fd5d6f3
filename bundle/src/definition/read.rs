//! Reading a build definition with everything that it refers to.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use snafu::ResultExt;

use super::error::{AddressSnafu, DefinitionError, broken, packaging_version, parse, read};
use super::location::Location;
use crate::coordinate::Coordinate;
use crate::json::Json;
use crate::universe::{Form, Violation, check};

/// A build definition, its local references resolved.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Where it was read.
    path: PathBuf,
    /// The folder that relative paths in `resource` start from.
    directory: PathBuf,
    document: Json,
}

impl Definition {
    /// Reads a build definition and the files behind its local references, and validates after each.
    ///
    /// # Errors
    /// [`DefinitionError`], naming the file and the place in it.
    pub fn read(path: &Path) -> Result<Self, DefinitionError> {
        let mut document = parse(path, &read(path)?)?;
        let version = packaging_version(path, &document, |_| true, "\"3.0\", \"4.0\" or \"5.0\"")?;
        let valid = |document: &Json, path: &Path| {
            check(document, &version, Form::Definition).or_else(|violation| broken(path, violation))
        };
        valid(&document, path)?;
        let folder = |path: &Path| path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let base = folder(path);
        if let Some(template) =
            document.get_mut("marathon").and_then(|marathon| marathon.get_mut("v2AppMustacheTemplate"))
            && let Some(referenced) = local(template, &base)
        {
            *template = Json::String(STANDARD.encode(read(&referenced)?));
            valid(&document, &referenced)?;
        }
        let mut directory = base.clone();
        for key in ["config", "resource"] {
            let Some(value) = document.get_mut(key) else { continue };
            let Some(referenced) = local(value, &base) else { continue };
            let content = parse(&referenced, &read(&referenced)?)?;
            if content.as_str().is_some() {
                let rule = "must be an object, references are not nested".to_owned();
                return broken(&referenced, Violation { path: "$".to_owned(), rule });
            }
            *value = content;
            valid(&document, &referenced)?;
            if key == "resource" {
                directory = folder(&referenced);
            }
        }
        Ok(Self { path: path.to_owned(), directory, document })
    }

    /// The definition as one document, addresses as written.
    #[must_use]
    pub const fn document(&self) -> &Json {
        &self.document
    }

    /// Name and version of the package.
    #[must_use]
    pub fn coordinate(&self) -> Coordinate {
        let text = |key| self.document.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        Coordinate { name: text("name"), version: text("version") }
    }

    /// Where the file behind an address is.
    ///
    /// # Errors
    /// An address that is neither a URL that is fetched nor a path.
    pub fn locate(&self, address: &str) -> Result<Location, DefinitionError> {
        Location::parse(address, &self.directory).context(AddressSnafu { path: &self.path })
    }
}

fn local(value: &Json, base: &Path) -> Option<PathBuf> {
    Some(base.join(value.as_str()?.strip_prefix('@')?))
}
