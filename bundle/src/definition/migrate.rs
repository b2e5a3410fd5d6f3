//! A package directory in Universe form becomes a build definition.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use snafu::{OptionExt, ResultExt};

use super::error::{AddressSnafu, DefinitionError, FileSnafu, NotTextSnafu, broken, packaging_version, parse, read};
use super::location::{Location, plain};
use crate::json::Json;
use crate::universe::{Form, Violation, check, rewrite_files};

/// A build definition made from a package directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Migrated {
    /// `<name>-<version>.json`
    pub file_name: String,
    /// One line of JSON, without a line end.
    pub text: String,
}

/// Reads a package directory. Paths in it are written relative to `output_directory` where the file is inside, else absolute.
///
/// # Errors
/// [`DefinitionError`], naming the file and the place in it.
pub fn migrate(package_directory: &Path, output_directory: &Path) -> Result<Migrated, DefinitionError> {
    let path = &package_directory.join("package.json");
    let mut document = parse(path, &read(path)?)?;
    let later = |version: &str| version != "3.0";
    let version = packaging_version(path, &document, later, "\"4.0\" or \"5.0\" (older packages can't be migrated)")?;
    for (key, file) in
        [("config", "config.json"), ("resource", "resource.json"), ("marathon", TEMPLATE), ("command", "command.json")]
    {
        let in_file = document.get(key).is_some();
        if in_file {
            let rule = format!("this key is not allowed in package.json, it comes from {file}");
            return broken(path, Violation { path: format!("$.{key}"), rule });
        }
    }
    if let Some(selected) = document.remove("selected")
        && !matches!(selected, Json::Bool(_))
    {
        return broken(path, Violation { path: "$.selected".to_owned(), rule: "must be true or false".to_owned() });
    }
    // Checked alone first, so that a message names the file that the fault is in.
    check(&document, &version, Form::Definition).or_else(|violation| broken(path, violation))?;
    add_files(package_directory, output_directory, &mut document, &version)?;
    let text = |key| document.get(key).and_then(Json::as_str).unwrap_or_default();
    let file_name = format!("{}-{}.json", text("name"), text("version"));
    Ok(Migrated { file_name, text: document.to_string() })
}

const TEMPLATE: &str = "marathon.json.mustache";

fn add_files(
    package_directory: &Path,
    output_directory: &Path,
    document: &mut Json,
    version: &str,
) -> Result<(), DefinitionError> {
    for (key, name) in [("config", "config.json"), ("resource", "resource.json")] {
        let path = package_directory.join(name);
        if let Some(bytes) = optional(&path)? {
            let value = parse(&path, &bytes)?;
            if value.as_str().is_some() {
                return broken(&path, Violation { path: "$".to_owned(), rule: "must be an object".to_owned() });
            }
            document.set(key, value);
            check(document, version, Form::Definition).or_else(|violation| broken(&path, violation))?;
            if key == "resource" {
                relocate(document, &path, package_directory, output_directory)?;
            }
        }
    }
    if let Some(template) = optional(&package_directory.join(TEMPLATE))? {
        let encoded = Json::String(STANDARD.encode(template));
        document.set("marathon", Json::Object(vec![("v2AppMustacheTemplate".to_owned(), encoded)]));
    }
    let path = package_directory.join("command.json");
    if optional(&path)?.is_some() {
        let rule = format!("this file is not allowed in packagingVersion {version}");
        return broken(&path, Violation { path: "$".to_owned(), rule });
    }
    Ok(())
}

/// A file's bytes; an empty file counts as absent.
fn optional(path: &Path) -> Result<Option<Vec<u8>>, DefinitionError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(FileSnafu { path }),
    }
}

fn relocate(
    document: &mut Json,
    resource: &Path,
    package_directory: &Path,
    output_directory: &Path,
) -> Result<(), DefinitionError> {
    let absolute = |path: &Path| {
        // An empty path is the working directory, but not absolute's.
        let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        std::path::absolute(named).map(|path| plain(&path)).context(FileSnafu { path })
    };
    let (from, to) = (absolute(package_directory)?, absolute(output_directory)?);
    let mut failure = None;
    rewrite_files(document, &mut |address| {
        relocated(address, &from, &to, resource).unwrap_or_else(|error| {
            failure.get_or_insert(error);
            String::new()
        })
    });
    failure.map_or(Ok(()), Err)
}

fn relocated(address: &str, from: &Path, to: &Path, resource: &Path) -> Result<String, DefinitionError> {
    let location = Location::parse(address, from).context(AddressSnafu { path: resource })?;
    match location {
        Location::File(path) if !address.to_ascii_lowercase().starts_with("file:") => {
            let path = plain(&path);
            let written = path.strip_prefix(to).map_or_else(|_| path.clone(), PathBuf::from);
            let text = written.to_str().context(NotTextSnafu { path: &written })?;
            // A name that would read as a URL or a local reference.
            let plainly = text.contains(':') || text.starts_with('@');
            Ok(if plainly && written.is_relative() { format!("./{text}") } else { text.to_owned() })
        }
        _ => Ok(address.to_owned()),
    }
}
