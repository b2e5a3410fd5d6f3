//! The command line, and the plain settings that come of it.

use std::path::Path;

use clap::{Parser, ValueEnum};
use snafu::{OptionExt, Snafu};

use crate::trust::agents::Agents;

/// Command line of `package-registry-controller`. Every flag is an environment variable, too.
#[derive(Clone, Debug, Parser)]
#[command(name = "package-registry-controller", version, about = "Drives package registries on Kubernetes")]
pub struct Arguments {
    /// Namespace that the operator runs in
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of this pod: its identity in the election of the leader
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Namespace of the node trust agents [default: <namespace>-node-trust]
    #[arg(long, env = "PACKAGE_REGISTRY_NODE_TRUST_NAMESPACE")]
    pub node_trust_namespace: Option<String>,
    /// Image with the server, the controller and the node trust agent [default: that of this pod]
    #[arg(long, env = "PACKAGE_REGISTRY_IMAGE")]
    pub image: Option<String>,
    /// When nodes pull that image
    #[arg(long, env = "PACKAGE_REGISTRY_IMAGE_PULL_POLICY", default_value = "IfNotPresent",
          value_parser = ["Always", "IfNotPresent", "Never"])]
    pub image_pull_policy: String,
    /// Namespaces whose registries may ask nodes for more than trust in their own host names [default: <namespace>]
    #[arg(long, env = "PACKAGE_REGISTRY_PRIVILEGED_NAMESPACES", value_delimiter = ',')]
    pub privileged_namespaces: Vec<String>,
    /// Domain of the cluster [default: found in /etc/resolv.conf]
    #[arg(long, env = "PACKAGE_REGISTRY_CLUSTER_DOMAIN")]
    pub cluster_domain: Option<String>,
    /// Folder on the nodes in which containerd looks for registry hosts
    #[arg(long, env = "PACKAGE_REGISTRY_CONTAINERD_CERTS_DIR", default_value = "/etc/containerd/certs.d")]
    pub containerd_certs_dir: String,
    /// Folder on the nodes with containerd's configuration
    #[arg(long, env = "PACKAGE_REGISTRY_CONTAINERD_CONFIG_DIR", default_value = "/etc/containerd")]
    pub containerd_config_dir: String,
    /// How the agents on the nodes are run
    #[command(flatten)]
    pub agents: Agents,
    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "PACKAGE_REGISTRY_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: std::net::SocketAddr,
    /// Form of the log
    #[arg(long, env = "PACKAGE_REGISTRY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Whether replicas elect a leader; without, only one may run
    #[arg(long, env = "PACKAGE_REGISTRY_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the operator was told, as `validate` and `build` take it: plain data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Namespace of the operator.
    pub operator_namespace: String,
    /// Namespace of the node trust agents.
    pub node_trust_namespace: String,
    /// Image with the binaries `/package-registry-server`, `/package-registry-controller`, `/package-registry-node-trust`.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Namespaces whose registries may use `mirrors` and the like.
    pub privileged_namespaces: Vec<String>,
    /// Domain of the cluster (`cluster.local`), where known.
    pub cluster_domain: Option<String>,
    /// containerd's `certs.d` on the nodes.
    pub containerd_certs_dir: String,
    /// Folder of containerd's configuration on the nodes.
    pub containerd_config_dir: String,
}

impl Settings {
    /// Whether registries of `namespace` may ask nodes for more than trust in their own host names.
    #[must_use]
    pub fn is_privileged(&self, namespace: &str) -> bool {
        self.privileged_namespaces.iter().any(|name| name == namespace)
    }
}

/// Why the command line can't be used.
#[derive(Debug, Snafu)]
pub enum Error {
    /// No namespace.
    #[snafu(display("the operator's namespace is unknown: set --namespace or the variable POD_NAMESPACE"))]
    NamespaceUnknown,
    /// No image.
    #[snafu(display("the image is unknown: set --image, or POD_NAME so that it is read from this pod"))]
    ImageUnknown,
}

impl Arguments {
    /// The settings, with defaults filled in; `resolv_conf` is the text of the pod's /etc/resolv.conf.
    ///
    /// # Errors
    /// When the operator's namespace is neither given nor known.
    pub fn settings(&self, resolv_conf: &str) -> Result<Settings, Error> {
        let operator_namespace =
            self.namespace.clone().filter(|name| !name.is_empty()).context(NamespaceUnknownSnafu)?;
        let privileged: Vec<String> = self
            .privileged_namespaces
            .iter()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        Ok(Settings {
            node_trust_namespace: self
                .node_trust_namespace
                .clone()
                .unwrap_or_else(|| format!("{operator_namespace}-node-trust")),
            image: self.image.clone().filter(|image| !image.is_empty()).context(ImageUnknownSnafu)?,
            image_pull_policy: self.image_pull_policy.clone(),
            privileged_namespaces: if privileged.is_empty() { vec![operator_namespace.clone()] } else { privileged },
            cluster_domain: self
                .cluster_domain
                .clone()
                .filter(|domain| !domain.is_empty())
                .or_else(|| cluster_domain_of(resolv_conf)),
            containerd_certs_dir: self.containerd_certs_dir.clone(),
            containerd_config_dir: self.containerd_config_dir.clone(),
            operator_namespace,
        })
    }
}

/// The cluster's domain from a pod's resolver configuration: its `search` line holds `svc.<domain>`.
#[must_use]
pub fn cluster_domain_of(resolv_conf: &str) -> Option<String> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("search"))
        .flat_map(str::split_whitespace)
        .find_map(|entry| entry.trim_end_matches('.').strip_prefix("svc."))
        .filter(|domain| !domain.is_empty())
        .map(str::to_owned)
}

/// Text of the resolver's configuration; empty where there is none.
#[must_use]
pub fn read_resolv_conf(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::agents::Mode;

    fn arguments(more: &[&str]) -> Arguments {
        let mut line = vec!["controller", "--image", "registry.test/all:1", "--namespace", "ops"];
        line.extend(more);
        Arguments::try_parse_from(line).unwrap()
    }

    #[test]
    fn what_is_not_said_follows_from_the_namespace() {
        let settings = arguments(&[]).settings("").unwrap();
        assert_eq!(settings.node_trust_namespace, "ops-node-trust");
        assert_eq!(settings.privileged_namespaces, ["ops"]);
        assert_eq!(settings.cluster_domain, None);
        assert!(settings.is_privileged("ops") && !settings.is_privileged("apps"));
    }

    #[test]
    fn privileged_namespaces_are_a_list_that_replaces_the_default() {
        let settings = arguments(&["--privileged-namespaces", "a, b"]).settings("").unwrap();
        assert_eq!(settings.privileged_namespaces, ["a", "b"]);
    }

    #[test]
    fn the_cluster_domain_is_found_in_the_search_line() {
        let text = "nameserver 10.96.0.10\nsearch ops.svc.k8s.example svc.k8s.example k8s.example\noptions ndots:5\n";
        assert_eq!(arguments(&[]).settings(text).unwrap().cluster_domain.as_deref(), Some("k8s.example"));
        assert_eq!(cluster_domain_of("search example.org\n"), None);
    }

    #[test]
    fn agents_run_for_an_older_containerd_and_without_docker_unless_told_otherwise() {
        assert_eq!(arguments(&[]).agents, Agents::default());
        let told = [
            "--node-trust-mode=uninstall",
            "--containerd-default-config-path",
            "--docker-certs-dir=/etc/docker/certs.d",
        ];
        let agents = arguments(&told).agents;
        assert_eq!(agents.mode, Mode::Uninstall);
        assert!(agents.containerd_default_config_path);
        assert_eq!(agents.docker_certs_dir, "/etc/docker/certs.d");
        assert!(!arguments(&["--containerd-default-config-path=false"]).agents.containerd_default_config_path);
    }

    #[test]
    fn a_flag_beats_the_resolver() {
        let settings = arguments(&["--cluster-domain", "x.test"]).settings("search svc.k8s.example").unwrap();
        assert_eq!(settings.cluster_domain.as_deref(), Some("x.test"));
    }
}
