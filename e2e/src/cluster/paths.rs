//! Where the cluster keeps its files.
//!
//! ```text
//! $XDG_CACHE_HOME or ~/.cache
//! └ package-registry/
//!   ├ bin/<name>-<version>/…      built binaries; outlive the cluster
//!   ├ build/                      where a build runs
//!   └ images/<name>-<version>.tar archives of the images that the cluster itself runs
//! /var/lib/package-registry-e2e/  gone after `down`
//! ├ journal.jsonl                 what was done to the machine
//! ├ admin.kubeconfig
//! ├ kubeconfigs/ pki/ etcd/ logs/ audit.log
//! └ node1/, node2/
//!   ├ netns                       the node's network namespace, pinned
//!   ├ etc-containerd/             the node's /etc/containerd
//!   ├ var-lib-kubelet/ …          the node's own version of other folders
//!   └ containerd/ volumes/ cni/
//! ```

use std::{env, path::PathBuf};

use super::versions::{KUBERNETES, Node};

/// The cluster's folder. Daemons carry it in their environment, so that none can be missed when they are taken down.
pub(crate) const STATE: &str = "/var/lib/package-registry-e2e";
/// The environment variable that marks a process as the cluster's; its value is [`STATE`].
pub(crate) const MARK: &str = "PACKAGE_REGISTRY_E2E";

/// A path in the cluster's folder.
pub(crate) fn state(path: &str) -> PathBuf {
    PathBuf::from(STATE).join(path)
}

/// The journal of what was done to the machine.
pub(crate) fn journal_path() -> PathBuf {
    state("journal.jsonl")
}

/// The log of one daemon.
pub(crate) fn log(daemon: &str) -> PathBuf {
    state("logs").join(format!("{daemon}.log"))
}

/// The kubeconfig of the cluster's administrator.
#[must_use]
pub fn admin_kubeconfig() -> PathBuf {
    state("admin.kubeconfig")
}

/// The kubeconfig of a component.
pub(crate) fn kubeconfig(component: &str) -> PathBuf {
    state("kubeconfigs").join(component)
}

/// The audit log of the API server.
pub(crate) fn audit_log() -> PathBuf {
    state("audit.log")
}

/// The cache folder.
pub(crate) fn cache() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from).join(".cache");
    env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map_or_else(home, PathBuf::from)
        .join("package-registry")
}

/// The folder of what was built from one component at one version.
pub(crate) fn binaries(name: &str, version: &str) -> PathBuf {
    cache().join("bin").join(format!("{name}-{version}"))
}

/// One of the Kubernetes binaries.
pub(crate) fn kubernetes(binary: &str) -> PathBuf {
    binaries("kubernetes", KUBERNETES).join(binary)
}

/// The `kubectl` that belongs to the cluster. It exists after the first `up` on a machine.
#[must_use]
pub fn kubectl() -> PathBuf {
    kubernetes("kubectl")
}

impl Node {
    /// A path in the node's folder.
    pub(crate) fn state(self, path: &str) -> PathBuf {
        state(self.name).join(path)
    }

    /// What the log and the process of this node's part are called.
    pub(crate) fn daemon(self, part: &str) -> String {
        format!("{part}-{}", self.name)
    }
}
