//! Commands that are run to their end.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output},
};

use snafu::ResultExt;

use super::{
    error::{CommandSnafu, FileSnafu, Result, StartSnafu},
    paths::{MARK, STATE},
};

/// A command line in words, for messages.
pub(crate) fn words(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command and returns its output whatever its status.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    // Marked like the daemons: a command that outlives a crashed `up` is ended with them.
    command.env(MARK, STATE).output().context(StartSnafu { command: words(command) })
}

/// Runs a command and returns what it wrote to its standard output; another status than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    CommandSnafu { command: words(command), status: output.status.to_string(), stderr }.fail()
}

/// Runs a command that the words of a line make, for the many short calls of `ip` and the like.
pub(crate) fn run_line(line: &str) -> Result<String> {
    let mut parts = line.split_whitespace();
    run(Command::new(parts.next().unwrap_or_default()).args(parts))
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    std::fs::write(path, content).context(FileSnafu { act: "write", path })
}

/// Makes a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).context(FileSnafu { act: "create", path })
}
