//! The demo's image, built on the spot: the `hello` program as a static binary in an otherwise empty image.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use snafu::{ResultExt, Snafu, ensure};

use crate::image::{self, Entry, Image};

/// The reference that the demo's image has, as its upstream would call it.
pub const HELLO_IMAGE: &str = "docker.io/library/hello:1";
/// The port that `hello` answers on.
pub const HELLO_PORT: u16 = 8080;

/// Why the demo's image could not be built.
#[derive(Debug, Snafu)]
pub enum Error {
    /// A program could not be started.
    #[snafu(display("cannot start {program}: {source}"))]
    Start {
        /// Which one.
        program: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program failed.
    #[snafu(display("{program} failed: {stderr}"))]
    Failed {
        /// Which one.
        program: &'static str,
        /// What it wrote to its standard error.
        stderr: String,
    },
    /// The archive could not be written.
    #[snafu(transparent)]
    Image {
        /// Why.
        source: image::Error,
    },
}

/// Builds `hello` and writes it to `archive` in the form of `docker save`, tagged with `reference` ([`HELLO_IMAGE`]).
///
/// # Errors
/// When cargo or strip fails, or the archive cannot be written.
pub fn write_hello_image(archive: &Path, reference: &str) -> Result<(), Error> {
    let program = build_hello()?;
    Ok(hello_image(reference, &program).write_docker_archive(archive)?)
}

/// The image of `hello`: one static program, run by nobody.
#[must_use]
pub fn hello_image(reference: &str, program: &Path) -> Image {
    Image {
        reference: reference.to_owned(),
        entries: vec![Entry::program("hello", program)],
        entrypoint: vec!["/hello".to_owned()],
        user: "65532:65532".to_owned(),
        env: Vec::new(),
    }
}

/// Builds `hello` as a static program without symbols and returns its path.
///
/// # Errors
/// When cargo or strip fails.
pub fn build_hello() -> Result<PathBuf, Error> {
    let workspace = crate::walk::root();
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With a target named, the flags do not reach procedural macros, which cannot be static.
    cargo.args(["build", "--quiet", "--package", "hello", "--target", &target, "--target-dir"]).arg(&folder);
    cargo
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(&workspace);
    succeed("cargo", cargo.output())?;
    let built = folder.join(target).join("debug/hello");
    let stripped = built.with_extension("stripped");
    succeed("strip", Command::new("strip").arg("-o").arg(&stripped).arg(&built).output())?;
    Ok(stripped)
}

fn succeed(program: &'static str, output: std::io::Result<Output>) -> Result<(), Error> {
    let output = output.context(StartSnafu { program })?;
    ensure!(output.status.success(), FailedSnafu { program, stderr: String::from_utf8_lossy(&output.stderr) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_image_runs_under_restricted_pod_security() {
        let image = hello_image(HELLO_IMAGE, Path::new("/nonexistent"));
        let user: u32 = image.user.split(':').next().unwrap().parse().unwrap();
        assert_ne!(user, 0, "a user given by number, and not root, is what runAsNonRoot needs");
    }
}
