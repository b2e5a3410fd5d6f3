//! `migrate`: a package directory becomes a build definition.

use std::io::{self, Write};
use std::path::PathBuf;

use bundle::definition::{DefinitionError, Migrated, migrate};
use clap::Args;
use snafu::{ResultExt, Snafu};

use crate::output::{Json, Output};
use crate::saved::{Mode, SaveError, Unsaved, folder};

/// Arguments of `migrate`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The package directory: package.json and what lies beside it [default: the working directory]
    #[arg(long, value_name = "DIRECTORY")]
    package_directory: Option<PathBuf>,
    /// Where <name>-<version>.json is written, made if need be [default: the working directory]
    #[arg(long, value_name = "DIRECTORY")]
    output_directory: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

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
pub fn run(arguments: &Arguments) -> Result<(), MigrateError> {
    let directory = |given: &Option<PathBuf>| given.clone().unwrap_or_default();
    let output_directory = &directory(&arguments.output_directory);
    let package_directory = &directory(&arguments.package_directory);
    let Migrated { file_name, text } = migrate(package_directory, folder(output_directory)).context(PackageSnafu)?;
    let mut file = Unsaved::start(output_directory, &file_name).context(SaveSnafu)?;
    file.file().write_all(text.as_bytes()).context(WriteSnafu)?;
    let path = file.keep(Mode::Shared).context(SaveSnafu)?;
    Output::from(arguments.json).created("DC/OS Build Definition", &path).context(WriteSnafu)
}
