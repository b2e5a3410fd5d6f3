//! `migrate`: a package directory becomes a build definition.

use std::io::{self, Write};
use std::path::PathBuf;

use bundle::definition::{DefinitionError, Migrated, migrate};
use snafu::{ResultExt, Snafu};

use crate::arguments::Migrate;
use crate::output::Output;
use crate::saved::{SaveError, Unsaved, folder};

/// Why there is no build definition.
#[derive(Debug, Snafu)]
pub enum MigrateError {
    /// The package directory is wrong.
    #[snafu(display("{source}"))]
    Package {
        /// Why.
        source: DefinitionError,
    },
    /// The build definition can't be written.
    #[snafu(display("{source}"))]
    Save {
        /// Why.
        source: SaveError,
    },
    /// Writing failed.
    #[snafu(display("writing failed: {source}"))]
    Write {
        /// Why.
        source: io::Error,
    },
}

/// Runs the command.
pub fn run(arguments: &Migrate) -> Result<(), MigrateError> {
    let directory = |given: &Option<PathBuf>| given.clone().unwrap_or_default();
    let output_directory = &directory(&arguments.output_directory);
    let package_directory = &directory(&arguments.package_directory);
    let Migrated { file_name, text } = migrate(package_directory, folder(output_directory)).context(PackageSnafu)?;
    let mut file = Unsaved::start(output_directory, &file_name).context(SaveSnafu)?;
    file.file().write_all(text.as_bytes()).context(WriteSnafu)?;
    let path = file.keep(0o644).context(SaveSnafu)?;
    Output::new(arguments.json).created("DC/OS Build Definition", &path).context(WriteSnafu)
}
