//! `dcos-registry`: packages made, and brought into a registry, from a command line.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong usage. Results go to standard output, everything else to standard error.

mod arguments;
mod build;
mod download;
mod migrate;
mod output;
mod saved;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use arguments::{Arguments, Command, Registry};
use output::Output;

/// One line that says what the command is for; the `dcos` command shows it.
const SUMMARY: &str = "Build and manage packages of a package registry";

/// Runs the program with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(Arguments::Registry(registry)) => dispatch(registry),
        Err(error) => {
            let shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // A closed pipe is no reason to fail otherwise.
            let _ = error.print();
            ExitCode::from(if shown { 0 } else { 2 })
        }
    }
}

fn dispatch(registry: Registry) -> ExitCode {
    let done = match registry.command {
        _ if registry.info => Output::new(false).line(SUMMARY).map_err(|error| error.to_string()),
        Some(Command::Migrate(arguments)) => migrate::run(&arguments).map_err(|error| error.to_string()),
        Some(Command::Build(arguments)) => build::run(&arguments).map_err(|error| error.to_string()),
        None => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            output::message(&format!("Error: {message}"));
            ExitCode::FAILURE
        }
    }
}
