//! The cluster as tests see it: the project's own, or the one that `KUBECONFIG` names.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use snafu::ensure;

use super::{
    command::{output, run},
    error::{NoSuchNodeSnafu, NotOursSnafu, Result},
    node, paths,
    up::{is_running, up},
    versions::{NODES, Node},
};

/// A running cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    kubeconfig: PathBuf,
    ours: bool,
    /// Where kubectl keeps what the API server offers; its own place in the home folder where there is none.
    discovery: Option<PathBuf>,
}

impl Cluster {
    /// The cluster that `KUBECONFIG` names, else the project's own, which is brought up if it does not run.
    ///
    /// # Errors
    /// When the project's own cluster cannot be brought up.
    pub fn connect() -> Result<Self> {
        match env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
            Some(path) if Path::new(&path) != paths::admin_kubeconfig() => {
                Ok(Self { kubeconfig: path.into(), ours: false, discovery: None })
            }
            _ => Ok(Self::own(up()?)),
        }
    }

    /// The project's own cluster if it runs.
    #[must_use]
    pub fn running() -> Option<Self> {
        is_running().then(|| Self::own(paths::admin_kubeconfig()))
    }

    fn own(kubeconfig: PathBuf) -> Self {
        // What an earlier cluster at this address served is not what this one does.
        Self { kubeconfig, ours: true, discovery: Some(paths::state("kubectl-cache")) }
    }

    /// An API server that is not the project's cluster; kubectl keeps what it learns of it in the folder `discovery`.
    pub(crate) fn foreign(kubeconfig: PathBuf, discovery: PathBuf) -> Self {
        Self { kubeconfig, ours: false, discovery: Some(discovery) }
    }

    /// The kubeconfig file of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Whether it is the project's own cluster, so that nodes, audit log and images can be reached directly.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    /// Runs `kubectl` and returns what it wrote to its standard output: ours if it was built, else the one in PATH.
    ///
    /// # Errors
    /// When it fails; the message carries its standard error.
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        run(self.kubectl_command().args(arguments))
    }

    /// `kubectl` for this cluster, to be given arguments.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        let ours = paths::kubectl();
        let mut command = Command::new(if ours.exists() { ours } else { "kubectl".into() });
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        if let Some(discovery) = &self.discovery {
            command.arg("--cache-dir").arg(discovery);
        }
        command
    }

    /// The names of the nodes.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub fn nodes(&self) -> Result<Vec<String>> {
        if self.ours {
            return Ok(NODES.map(|node| node.name.to_owned()).to_vec());
        }
        let names = self.kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"])?;
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }

    /// The API server's audit log: one JSON event (`audit.k8s.io/v1`, level Metadata) per line and request.
    ///
    /// # Errors
    /// When the cluster is not the project's own.
    pub fn audit_log(&self) -> Result<PathBuf> {
        self.ensure_ours("Reading the audit log")?;
        Ok(paths::audit_log())
    }

    /// Imports a docker-save or OCI archive on every node.
    ///
    /// # Errors
    /// When the cluster is not the project's own, or containerd refuses the archive.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        self.ensure_ours("Loading images into nodes")?;
        node::import_images(&[archive.to_owned()])
    }

    /// A command in a node's network and mount namespaces, not started yet.
    ///
    /// # Errors
    /// When the cluster is not the project's own or there is no such node.
    pub fn node_command(&self, node: &str, command: &[&str]) -> Result<Command> {
        self.ensure_ours("Running commands on nodes")?;
        node::command_on(find(node)?, command)
    }

    /// Runs a command in a node's network and mount namespaces; its output comes back whatever its status.
    ///
    /// # Errors
    /// When the cluster is not the project's own, there is no such node, or the command cannot be started.
    pub fn run_on_node(&self, node: &str, command: &[&str]) -> Result<Output> {
        output(&mut self.node_command(node, command)?)
    }

    /// Runs `ctr` against a node's containerd, in the namespace where kubelet keeps images and containers.
    ///
    /// # Errors
    /// As [`Self::run_on_node`].
    pub fn ctr(&self, node: &str, arguments: &[&str]) -> Result<Output> {
        self.run_on_node(node, &[&["ctr", "--namespace", "k8s.io"], arguments].concat())
    }

    /// Where a node's file lies for this machine: `/etc/containerd/certs.d` of `node1` is
    /// `/proc/<its containerd>/root/etc/containerd/certs.d`. Good for reading and writing while the node runs.
    ///
    /// # Errors
    /// When the cluster is not the project's own or there is no such node.
    pub fn node_root_path(&self, node: &str, path: impl AsRef<Path>) -> Result<PathBuf> {
        self.ensure_ours("Looking at the files of nodes")?;
        node::root_path(find(node)?, path.as_ref())
    }

    fn ensure_ours(&self, what: &str) -> Result<()> {
        ensure!(self.ours, NotOursSnafu { what });
        Ok(())
    }
}

fn find(name: &str) -> Result<Node> {
    NODES.into_iter().find(|node| node.name == name).map_or_else(|| NoSuchNodeSnafu { name }.fail(), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign() -> Cluster {
        Cluster { kubeconfig: "/home/someone/.kube/config".into(), ours: false, discovery: None }
    }

    #[test]
    fn somebody_elses_cluster_is_not_reached_into() {
        let message = foreign().load_image(Path::new("/tmp/image.tar")).unwrap_err().to_string();
        assert!(message.contains("make cluster-up"), "{message}");
        assert!(foreign().audit_log().is_err());
        assert!(foreign().run_on_node("node1", &["true"]).is_err());
    }

    #[test]
    fn a_node_that_does_not_exist_is_named() {
        assert!(find("node3").unwrap_err().to_string().contains("node3"));
    }
}
