//! Programs of this project, built for a test.

use std::path::PathBuf;
use std::process::Command;

use snafu::{ResultExt, Whatever, whatever};

use crate::walk;

/// Builds `package-registry-<name>` and says where it is.
///
/// # Errors
/// When cargo fails.
pub(crate) fn build(name: &str) -> Result<PathBuf, Whatever> {
    let mut cargo = Command::new("cargo");
    let program = format!("package-registry-{name}");
    cargo.args(["build", "--quiet", "--bin", &program]).current_dir(walk::root());
    if !cargo.status().whatever_context("cannot start cargo")?.success() {
        whatever!("cargo build --bin {program} failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| walk::root().join("target"), PathBuf::from);
    Ok(target.join("debug").join(program))
}
