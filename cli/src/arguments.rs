//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Packages made, and brought into a registry.
#[derive(Debug, Parser)]
#[command(name = "dcos-registry", version, disable_help_subcommand = true)]
pub enum Arguments {
    /// Build and manage packages of a package registry
    #[command(display_name = "dcos-registry")]
    Registry(Registry),
}

/// Build and manage packages of a package registry
#[derive(Args, Debug)]
#[command(
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
pub struct Registry {
    /// Say in one line what this command is for
    #[arg(long)]
    pub info: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a build definition from a package directory in Universe form
    Migrate(Migrate),
    /// Build a package (.dcos) with all its files and images from a build definition
    Build(Build),
}

/// Arguments of `migrate`.
#[derive(Args, Debug)]
pub struct Migrate {
    /// The package directory: package.json and what lies beside it [default: the working directory]
    #[arg(long, value_name = "DIRECTORY")]
    pub package_directory: Option<PathBuf>,
    /// Where <name>-<version>.json is written [default: the working directory]
    #[arg(long, value_name = "DIRECTORY")]
    pub output_directory: Option<PathBuf>,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `build`.
#[derive(Args, Debug)]
pub struct Build {
    /// The build definition
    #[arg(long = "build-definition-file", value_name = "FILE")]
    pub definition: PathBuf,
    /// Where <name>-<version>.dcos is written [default: the working directory]
    #[arg(long, value_name = "DIRECTORY")]
    pub output_directory: Option<PathBuf>,
    /// Where to take images from: oci:DIRECTORY, oci-archive:FILE or docker-archive:FILE; can be given several times
    #[arg(long, value_name = "SOURCE")]
    pub images: Vec<String>,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub json: bool,
}
