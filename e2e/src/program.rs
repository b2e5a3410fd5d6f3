//! Programs of this project, built for a test.

use std::path::PathBuf;
use std::process::Command;

use snafu::{ResultExt, Whatever, whatever};

use crate::walk;

/// Builds a program and says where it is. It is named without its package, so that it shares its dependencies with what
/// else the workspace builds.
///
/// # Errors
/// When cargo fails.
pub fn build(name: &str) -> Result<PathBuf, Whatever> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--bin", name]).current_dir(walk::root());
    if !cargo.status().whatever_context("cannot start cargo")?.success() {
        whatever!("cargo build --bin {name} failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| walk::root().join("target"), PathBuf::from);
    Ok(target.join("debug").join(name))
}
