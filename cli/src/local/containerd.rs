//! containerd, through its own client `ctr`.

use std::path::Path;

use bundle::reference::Reference;
use snafu::{ResultExt, ensure};
use tempfile::NamedTempFile;
use tokio::process::Command;

use super::{EngineSnafu, LocalError, NotThereSnafu, Saved, StoreSnafu, opened};
use crate::output::message;

/// Where Kubernetes' images are, then those of people.
const NAMESPACES: [&str; 2] = ["k8s.io", "default"];

/// `ctr images export`: an OCI layout in an archive.
pub async fn save(address: &Path, images: &[(String, Reference)], folder: &Path) -> Result<Saved, LocalError> {
    let mut missing = None;
    for namespace in NAMESPACES {
        let engine = format!("containerd at {}, namespace {namespace},", address.display());
        let known = ctr(address, namespace, &["images", "ls", "-q"], &engine).await?;
        let names: Vec<String> = images.iter().map(|(_, reference)| reference.to_string()).collect();
        if let Some(index) = names.iter().position(|name| !known.lines().any(|line| line.trim() == name)) {
            missing = missing.or_else(|| images.get(index).map(|(image, _)| image.clone()));
            continue;
        }
        message(&format!("Saving from {engine}"));
        let file = NamedTempFile::new_in(folder).context(StoreSnafu { engine: &engine })?;
        let path = file.path().to_string_lossy().into_owned();
        let mut arguments = vec!["images", "export", path.as_str()];
        arguments.extend(names.iter().map(String::as_str));
        ctr(address, namespace, &arguments, &engine).await?;
        return opened(file);
    }
    let engine = format!("containerd at {}, namespaces {}", address.display(), NAMESPACES.join(" and "));
    NotThereSnafu { image: missing.unwrap_or_default(), engine }.fail()
}

async fn ctr(address: &Path, namespace: &str, arguments: &[&str], engine: &str) -> Result<String, LocalError> {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(address).args(["--namespace", namespace]).args(arguments).kill_on_drop(true);
    let ran = command.output().await;
    let ran = ran.or_else(|error| EngineSnafu { engine, reason: format!("ctr: {error}") }.fail())?;
    let reason = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    ensure!(ran.status.success(), EngineSnafu { engine, reason });
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}
