//! `man`: manual pages from the command's own definitions.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man;

use crate::failure::Failure;
use crate::frame::Form;

/// Arguments of `man`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The sub-command [default: the whole command]
    #[arg(value_name = "COMMAND", conflicts_with = "output_directory")]
    command: Option<String>,
    /// Write the pages of all commands into this directory, nothing to standard output
    #[arg(long, value_name = "DIRECTORY")]
    output_directory: Option<PathBuf>,
}

/// Prints or writes the pages.
pub fn run(arguments: &Arguments, form: Form) -> Result<(), Failure> {
    let mut whole = form.definition();
    whole.build();
    if let Some(directory) = &arguments.output_directory {
        return fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(whole, directory))
            .map_err(|error| Failure::Failed { message: format!("{}: {error}", directory.display()) });
    }
    // The sub-commands are one word deeper in the stand-alone form.
    let registry = match form {
        Form::StandAlone => whole.find_subcommand("registry").cloned().unwrap_or(whole),
        Form::Plugin => whole,
    };
    let page = match &arguments.command {
        None => registry,
        Some(name) => registry.find_subcommand(name).cloned().ok_or_else(|| {
            let known: Vec<_> = registry.get_subcommands().map(clap::Command::get_name).collect();
            Failure::usage(format!("error: there is no command '{name}', there are {}", known.join(", ")))
        })?,
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    Ok(io::stdout().write_all(&text)?)
}
