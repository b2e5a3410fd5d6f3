//! `package describe package-registry --config`: what can be set, as the `dcos` command says it of its packages.

use clap::{Args, Subcommand};

use crate::activation::options_schema;
use crate::failure::Failure;
use crate::output::Output;

/// The package that there is something to say about.
const PACKAGE: &str = "package-registry";

/// Arguments of `package`.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Describe the package of the registry itself
    Describe(Describe),
}

#[derive(Args, Debug)]
struct Describe {
    /// The package: package-registry
    #[arg(value_parser = [PACKAGE])]
    package: String,
    /// Print the options of `registry activate --options` as JSON schema
    #[arg(long, required = true)]
    config: bool,
}

/// Prints the schema.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Of nothing else than the one package and its options there is anything to say; clap refuses the rest.
    let Command::Describe(Describe { package: _, config: _ }) = &arguments.command;
    let schema = options_schema();
    let text = serde_json::to_string_pretty(&schema)?;
    Ok(Output::new(false).result(format_args!("{text}\n"), &schema)?)
}
