//! The demo's bundle, made with the command line as a package author would.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest as _, Sha256};
use snafu::{OptionExt as _, ResultExt as _, Whatever, whatever};

use super::{out, root};
use crate::demo;

/// A `.dcos` file on this machine.
#[derive(Clone, Debug)]
pub struct BundleFile {
    /// Where it lies.
    pub path: PathBuf,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

/// Builds the hello image and the bundle of `demo/packages/H/hello/0` with it.
///
/// # Errors
/// When a build fails, with what it printed.
pub fn build_demo_bundle() -> Result<BundleFile, Whatever> {
    let folder = out().join("bundle");
    fs::create_dir_all(&folder).whatever_context("cannot make the folder of the bundle")?;
    let archive = folder.join("hello-image.tar");
    demo::write_hello_image(&archive, "docker.io/example/hello:1.0")
        .whatever_context("cannot build the hello image")?;
    let cli = command_line()?;
    let output = format!("--output-directory={}", folder.display());
    let source = root().join("demo/packages/H/hello/0");
    let definition = created(&cli, &["migrate", &format!("--package-directory={}", source.display()), &output])?;
    let images = format!("--images=docker-archive:{}", archive.display());
    let path = created(&cli, &["build", &format!("--build-definition-file={definition}"), &output, &images])?;
    let sha256 = sha256_of(Path::new(&path))?;
    Ok(BundleFile { path: path.into(), sha256 })
}

/// SHA-256 of a file, hexadecimal.
///
/// # Errors
/// When it can't be read.
pub fn sha256_of(path: &Path) -> Result<String, Whatever> {
    let bytes = fs::read(path).whatever_context(format!("cannot read {}", path.display()))?;
    Ok(data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
}

/// Builds `dcos-registry` and says where it is.
///
/// # Errors
/// When the build fails.
pub fn command_line() -> Result<PathBuf, Whatever> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--bin", "dcos-registry"]).current_dir(root());
    let status = cargo.status().whatever_context("cannot start cargo")?;
    if !status.success() {
        whatever!("cargo build --bin dcos-registry failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("debug/dcos-registry"))
}

/// Runs a sub-command with `--json` and says which file it made.
fn created(cli: &Path, arguments: &[&str]) -> Result<String, Whatever> {
    let mut command = Command::new(cli);
    let output = command
        .arg("registry")
        .args(arguments)
        .arg("--json")
        .output()
        .whatever_context("cannot start dcos-registry")?;
    if !output.status.success() {
        whatever!("dcos-registry registry {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).whatever_context("dcos-registry printed no JSON")?;
    Ok(answer["name"].as_str().whatever_context("dcos-registry named no file")?.to_owned())
}
