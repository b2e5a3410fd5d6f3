//! A package with images that a registry on loopback serves, and the command line that works on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Map, Value, json};
use snafu::{OptionExt as _, ResultExt as _, Whatever};

use crate::{
    images::Image,
    programs::{Serving, output},
};

/// Brings images from an OCI layout into a registry.
///
/// # Errors
/// When skopeo fails.
pub fn push(layout: &Path, images: &[Image], registry: &Serving) -> Result<(), Whatever> {
    for Image { name, .. } in images {
        output(
            Command::new("skopeo")
                .args(["copy", "--quiet", "--dest-tls-verify=false"])
                .arg(format!("oci:{}:{name}", layout.display()))
                .arg(format!("docker://{}/{name}", registry.address())),
        )?;
    }
    Ok(())
}

/// A package directory whose images are in `registry`, migrated: the build definition's path.
///
/// # Errors
/// When the command line refuses it.
pub fn define(
    cli: &Path,
    folder: &Path,
    version: &str,
    images: &[Image],
    registry: &Serving,
) -> Result<PathBuf, Whatever> {
    let source = folder.join(format!("source-{version}"));
    fs::create_dir_all(&source).whatever_context("cannot make a folder")?;
    let host = registry.address();
    let docker: Map<_, _> = images
        .iter()
        .enumerate()
        .map(|(index, image)| (format!("image-{index}"), Value::from(format!("{host}/{}", image.name))))
        .collect();
    let package = json!({
        "packagingVersion": "4.0", "name": "measured", "version": version, "maintainer": "packages@example.com",
        "description": "What is measured.", "tags": [], "minDcosReleaseVersion": "1.10",
    });
    let resource = json!({"assets": {"container": {"docker": docker}}});
    for (name, content) in [("package.json", package), ("resource.json", resource)] {
        fs::write(source.join(name), content.to_string()).whatever_context("cannot write a package")?;
    }
    let mut command = registry_command(cli, "migrate");
    command.arg(format!("--package-directory={}", source.display()));
    created(command.arg(format!("--output-directory={}", folder.display())))
}

/// `build` of a definition into a folder, with a cache of its own.
pub fn build(cli: &Path, definition: &Path, folder: &Path) -> Command {
    let mut command = registry_command(cli, "build");
    command.arg(format!("--build-definition-file={}", definition.display()));
    command.arg(format!("--output-directory={}", folder.display()));
    command.env("XDG_CACHE_HOME", folder.join("cache")).env("DOCKER_CONFIG", folder);
    command
}

/// A sub-command that prints one document.
pub fn registry_command(cli: &Path, name: &str) -> Command {
    let mut command = Command::new(cli);
    command.args(["registry", name, "--json"]);
    command
}

/// Runs a sub-command that says which file it made.
///
/// # Errors
/// When it fails or names none.
pub fn created(command: &mut Command) -> Result<PathBuf, Whatever> {
    Ok(answer(command)?["name"].as_str().whatever_context("the command line named no file")?.into())
}

/// Runs a sub-command; the document that it prints.
///
/// # Errors
/// When it fails or prints none.
pub fn answer(command: &mut Command) -> Result<Value, Whatever> {
    serde_json::from_str(&output(command)?).whatever_context("the command line printed no document")
}
