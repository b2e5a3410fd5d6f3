//! `dcos-registry`: packages made, and brought into a registry, from a command line.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong usage. Results go to standard output, everything else to standard error; with
//! `--json`, standard output is exactly one JSON document.
//!
//! A sub-command is one file under `commands/`: its arguments, its errors, and `run`.

mod activation;
mod cache;
mod checked;
mod commands;
mod connection;
mod coordinate;
mod download;
mod failure;
mod frame;
mod http;
mod local;
mod local_server;
mod output;
mod private_key;
mod progress;
mod reference;
mod registry;
mod remote;
mod resume;
mod runtime;
mod saved;
mod size;
mod supply;
mod table;
mod upload;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use failure::Failure;
use frame::Invocation;
pub use reference::page as reference_page;

/// One line that says what the command is for; the `dcos` command shows it.
const SUMMARY: &str = "Build and manage packages of a package registry";

/// Runs the program with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = Invocation::parse(arguments.into_iter().collect()).and_then(Invocation::run);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed { message }) => {
            output::error(&message);
            ExitCode::FAILURE
        }
        Err(Failure::Usage { error }) => {
            let shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // A closed pipe is no reason to fail otherwise.
            let _ = error.print();
            ExitCode::from(if shown { 0 } else { 2 })
        }
    }
}
