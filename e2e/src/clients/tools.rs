//! The clients: Debian's, and those that are built from Go modules.

use std::path::PathBuf;

use crate::cluster::{
    Result, go_build, paths, prerequisites,
    progress::Progress,
    versions::{CONFORMANCE, CRANE, DOCKER, HELM, ORAS},
};

/// Where clients are that aren't in `PATH`.
#[derive(Clone, Debug)]
pub struct Tools {
    /// crane.
    pub crane: PathBuf,
    /// ORAS.
    pub oras: PathBuf,
    /// Helm.
    pub helm: PathBuf,
    /// Folder of docker and its daemon.
    pub docker: PathBuf,
    /// The specification's own tests.
    pub conformance: PathBuf,
}

/// Installs and builds what this machine doesn't have yet: skopeo, podman and containerd in `PATH`, the rest in the cache.
///
/// # Errors
/// A machine that is no Debian or has no Go, a package or module that can't be had.
pub fn ensure() -> Result<Tools> {
    let progress = Progress::start();
    prerequisites::ensure_clients(&progress)?;
    go_build::ensure_clients(&progress)?;
    let built = |name: &str, version| paths::binaries(name, version).join(name);
    Ok(Tools {
        crane: built("crane", CRANE),
        oras: built("oras", ORAS),
        helm: built("helm", HELM),
        docker: paths::binaries("docker", DOCKER),
        conformance: built("conformance", CONFORMANCE),
    })
}
