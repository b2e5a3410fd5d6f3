//! The sub-commands: one file each, with its arguments, its errors and `run`.

mod build;
mod completion;
mod man;
mod migrate;

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
            Self::Completion(arguments) => Ok(completion::run(&arguments, form)?),
            Self::Man(arguments) => man::run(&arguments, form),
        }
    }
}
