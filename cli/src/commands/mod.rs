//! The sub-commands: one file each, with its arguments, its errors and `run`.

mod build;
mod completion;
mod diff;
mod extract;
mod inspect;
mod man;
mod migrate;
mod sign;
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
            Self::Completion(arguments) => Ok(completion::run(&arguments, form)?),
            Self::Man(arguments) => man::run(&arguments, form),
        }
    }
}
