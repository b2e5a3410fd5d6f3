//! The arguments that name one package, and the words for one that isn't there.

use clap::Args;
use snafu::Snafu;

/// One package at one version.
#[derive(Args, Clone, Debug)]
pub struct Coordinate {
    /// Name of the package
    #[arg(id = "package_name", long = "package-name", value_name = "NAME")]
    pub name: String,
    /// Version of the package
    #[arg(id = "package_version", long = "package-version", value_name = "VERSION")]
    pub version: String,
}

/// The registry has no such package. Scripts know the sentence.
#[derive(Debug, Snafu)]
#[snafu(display("Version [{version}] of package [{name}] not found"))]
pub struct UnknownPackage {
    name: String,
    version: String,
}

impl Coordinate {
    /// What to say when the registry does not have it.
    pub fn known<T>(&self, found: Option<T>) -> Result<T, UnknownPackage> {
        found.ok_or_else(|| UnknownPackage { name: self.name.clone(), version: self.version.clone() })
    }
}
