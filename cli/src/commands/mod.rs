//! The sub-commands: one file each, with its arguments, its errors and `run`.

mod activate;
mod add;
mod build;
mod completion;
mod describe;
mod diff;
mod export;
mod extract;
mod inspect;
mod list;
mod logs;
mod man;
mod migrate;
pub mod package;
mod remove;
mod serve;
mod sign;
mod status;
mod verify;

use clap::Subcommand;

use crate::failure::Failure;
use crate::frame::Form;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a build definition from a package directory in Universe form
    Migrate(migrate::Arguments),
    /// Build a package (.dcos) with all its files and images from a build definition
    Build(build::Arguments),
    /// Show what is in a package (.dcos): metadata, files, images, sizes
    Inspect(inspect::Arguments),
    /// Check a package (.dcos) by the server's rules: every digest, nothing missing; with keys, who signed it
    Verify(verify::Arguments),
    /// Show what a second package adds to a first, in bytes
    Diff(diff::Arguments),
    /// Write everything in a package into a folder
    Extract(extract::Arguments),
    /// Sign a package's content
    Sign(sign::Arguments),
    /// Bring packages into a registry: only what it lacks is sent
    Add(add::Arguments),
    /// Say where a package is on its way into the catalogue, and what it has
    Describe(describe::Arguments),
    /// List the packages of a registry
    List(list::Arguments),
    /// Remove a package from a registry
    Remove(remove::Arguments),
    /// Write the .dcos file of a package that is in a registry
    Export(export::Arguments),
    /// Serve packages of this machine, read-only and without a cluster
    Serve(serve::Arguments),
    /// Make a registry in a cluster, with the operator where it is missing
    Activate(activate::Arguments),
    /// Say what a registry is like now
    Status(status::Arguments),
    /// Print what a registry's serving pods write
    Logs(logs::Arguments),
    /// Print a script that completes this command in a shell
    Completion(completion::Arguments),
    /// Print the manual page of this command or of a sub-command
    Man(man::Arguments),
}

impl Command {
    /// Does it.
    pub fn run(self, form: Form) -> Result<(), Failure> {
        match self {
            Self::Migrate(arguments) => Ok(migrate::run(&arguments)?),
            Self::Build(arguments) => Ok(build::run(&arguments)?),
            Self::Inspect(arguments) => inspect::run(&arguments),
            Self::Verify(arguments) => Ok(verify::run(&arguments)?),
            Self::Diff(arguments) => diff::run(&arguments),
            Self::Extract(arguments) => Ok(extract::run(&arguments)?),
            Self::Sign(arguments) => Ok(sign::run(&arguments)?),
            Self::Add(arguments) => add::run(&arguments),
            Self::Describe(arguments) => describe::run(&arguments),
            Self::List(arguments) => list::run(&arguments),
            Self::Remove(arguments) => remove::run(&arguments),
            Self::Export(arguments) => export::run(&arguments),
            Self::Serve(arguments) => serve::run(&arguments),
            Self::Activate(arguments) => activate::run(&arguments),
            Self::Status(arguments) => status::run(&arguments),
            Self::Logs(arguments) => logs::run(&arguments),
            Self::Completion(arguments) => Ok(completion::run(&arguments, form)?),
            Self::Man(arguments) => man::run(&arguments, form),
        }
    }
}
