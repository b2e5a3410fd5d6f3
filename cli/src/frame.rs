//! The frame around the sub-commands: `dcos-registry registry <sub>`, or `kubectl registry <sub>` as kubectl's plugin.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::SUMMARY;
use crate::commands::{Command, package};
use crate::failure::Failure;
use crate::output::Output;

/// The file name that kubectl looks for when it is asked for `kubectl registry`.
const PLUGIN: &str = "kubectl-registry";

/// Build and manage packages of a package registry
#[derive(Debug, Parser)]
#[command(name = "dcos-registry", version, disable_help_subcommand = true)]
struct StandAlone {
    #[command(subcommand)]
    word: Word,
}

/// The word after the program's name.
#[derive(Debug, Subcommand)]
enum Word {
    /// Build and manage packages of a package registry
    #[command(display_name = "dcos-registry")]
    Registry(Box<Registry>),
    /// What can be set in a registry
    Package(package::Arguments),
}

/// Build and manage packages of a package registry
#[derive(Debug, Parser)]
#[command(name = PLUGIN, bin_name = "kubectl registry", display_name = "dcos-registry", version)]
struct Plugin {
    #[command(flatten)]
    registry: Registry,
}

/// Build and manage packages of a package registry
#[derive(Args, Debug)]
#[command(
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    args_conflicts_with_subcommands = true
)]
struct Registry {
    /// Say in one line what this command is for
    #[arg(long)]
    info: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The name that the program was called by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `dcos-registry registry <sub>`; the word `registry` is required.
    StandAlone,
    /// `kubectl registry <sub>`, through a file or link `kubectl-registry`.
    Plugin,
}

impl Form {
    fn of(program: &OsString) -> Self {
        let stem = Path::new(program).file_stem();
        if stem.is_some_and(|stem| stem == PLUGIN) { Self::Plugin } else { Self::StandAlone }
    }

    /// The whole command line's definition, for completions and man pages.
    pub fn definition(self) -> clap::Command {
        match self {
            Self::StandAlone => StandAlone::command(),
            Self::Plugin => Plugin::command(),
        }
    }

    /// The program's file name.
    pub const fn program(self) -> &'static str {
        match self {
            Self::StandAlone => "dcos-registry",
            Self::Plugin => PLUGIN,
        }
    }
}

/// What the program was called for.
#[derive(Debug)]
pub struct Invocation {
    form: Form,
    word: Word,
}

impl Invocation {
    /// Reads a command line, the program's name first.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self, Failure> {
        let form = arguments.first().map_or(Form::StandAlone, Form::of);
        let parsed = form.definition().try_get_matches_from(arguments).and_then(|matches| match form {
            Form::StandAlone => StandAlone::from_arg_matches(&matches).map(|it| it.word),
            Form::Plugin => Plugin::from_arg_matches(&matches).map(|plugin| Word::Registry(Box::new(plugin.registry))),
        });
        parsed.map(|word| Self { form, word }).map_err(|error| Failure::Usage { error })
    }

    /// Does it.
    pub fn run(self) -> Result<(), Failure> {
        let Registry { info, command } = match self.word {
            Word::Registry(registry) => *registry,
            Word::Package(arguments) => return package::run(&arguments),
        };
        match command {
            None if info => Ok(Output::new(false).line(SUMMARY)?),
            Some(command) => command.run(self.form),
            None => Err(Failure::usage("error: a command is required")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_decides_whether_the_word_registry_is_needed() {
        for (name, form) in [
            ("dcos-registry", Form::StandAlone),
            ("/opt/kubectl-registry", Form::Plugin),
            ("kubectl-registry.exe", Form::Plugin),
            ("kubectl", Form::StandAlone),
        ] {
            assert_eq!(Form::of(&name.into()), form, "{name}");
        }
    }

    #[test]
    fn the_definitions_are_consistent() {
        Form::StandAlone.definition().debug_assert();
        Form::Plugin.definition().debug_assert();
    }
}
