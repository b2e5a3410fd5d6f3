//! `completion`: shells complete the command.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use clap_complete::aot;

use crate::frame::Form;

/// Arguments of `completion`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// A shell that the command can be completed in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
pub fn run(arguments: &Arguments, form: Form) -> io::Result<()> {
    let shell = match arguments.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut form.definition(), form.program(), &mut script);
    io::stdout().write_all(&script)
}
