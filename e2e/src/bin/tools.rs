//! `tools`: builds the programs that tests start, once per machine and version, and prints where they are.

use std::{env, process::ExitCode};

use e2e::cluster::{TOOLS, Tool};

fn main() -> ExitCode {
    let names: Vec<String> = env::args().skip(1).collect();
    let found: Option<Vec<Tool>> = names.iter().map(|name| TOOLS.into_iter().find(|tool| tool.name == *name)).collect();
    let Some(tools) = found.filter(|tools| !tools.is_empty()) else {
        eprintln!("usage: tools NAME…\n\nNames: {}", TOOLS.map(|tool| tool.name).join(", "));
        return ExitCode::from(2);
    };
    for tool in tools {
        match tool.ensure() {
            Ok(path) => println!("{}", path.display()),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
