//! The walk from nothing to pods that run a package's image: what the demo shows and the tests begin with.
//!
//! Every act is a command that a person would type (`kubectl`, `dcos-registry`), so that what runs here is what the README says.

mod bundle;
mod files;
mod images;
mod minio;
mod object;
mod operator;

pub use bundle::{BundleFile, build_demo_bundle, command_line, sha256_of};
pub use files::Files;
pub use images::{Delivery, deliver, operator_image};
pub use minio::{Credentials, Minio};
pub use object::{
    Kind, Object, apply, delete, delete_if_known, events, exists, get, get_all, wait_for, wait_for_reason, wait_gone,
    wait_until,
};
pub use operator::{install, uninstall};

use std::path::PathBuf;

/// The project's root folder.
#[must_use]
pub fn root() -> PathBuf {
    // As cargo runs it, else as it was built: with a shared target folder another checkout may have built it.
    let crate_folder =
        std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).filter(|folder| folder.ends_with("e2e"));
    crate_folder.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).join("..")
}

/// Folder for what the walk writes.
#[must_use]
pub fn out() -> PathBuf {
    root().join("out")
}

/// A text below `demo/manifests` with its placeholders (words in capitals) replaced.
///
/// # Errors
/// When the file can't be read.
pub fn manifest(name: &str, replacements: &[(&str, &str)]) -> Result<String, snafu::Whatever> {
    use snafu::ResultExt as _;
    let path = root().join("demo/manifests").join(name);
    let text = std::fs::read_to_string(&path).whatever_context(format!("cannot read {}", path.display()))?;
    Ok(replacements.iter().fold(text, |text, (word, value)| text.replace(word, value)))
}
