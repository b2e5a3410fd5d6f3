//! The clients: Debian's, and those that are built from Go modules.

pub use crate::cluster::go_build::Clients as Tools;
use crate::cluster::{Result, go_build, prerequisites, progress::Progress, up};

/// Installs and builds what this machine doesn't have yet: skopeo, podman and containerd in `PATH`, the rest in the cache.
///
/// # Errors
/// A machine that is no Debian or has no Go, a package or module that can't be had.
pub fn ensure() -> Result<Tools> {
    let progress = Progress::start();
    prerequisites::ensure_clients(&progress)?;
    let _one_at_a_time = up::lock()?;
    go_build::ensure_clients(&progress)
}
