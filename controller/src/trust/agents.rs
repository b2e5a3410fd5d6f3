//! What the operator was told about the agents on the nodes.

use clap::{Args, ValueEnum};

/// What agents do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Mode {
    /// Make nodes trust what is listed.
    #[default]
    Run,
    /// Remove everything that they wrote on the nodes.
    Uninstall,
}

impl Mode {
    /// The agent's own word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Uninstall => "uninstall",
        }
    }
}

/// How the agents are run.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct Agents {
    /// What the agents on the nodes do: run, or remove everything that they wrote, so that the operator can be removed
    #[arg(id = "node_trust_mode", long = "node-trust-mode", env = "PACKAGE_REGISTRY_NODE_TRUST_MODE", value_enum,
          default_value_t = Mode::Run)]
    pub mode: Mode,
    /// The nodes have containerd 2.2 or later, whose `config_path` is /etc/containerd/certs.d:/etc/docker/certs.d when no file
    /// sets it. It reads such a list only with `use_local_image_pull` = true; without that, set `config_path` to one folder
    #[arg(long = "containerd-default-config-path", env = "PACKAGE_REGISTRY_CONTAINERD_DEFAULT_CONFIG_PATH",
          action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true")]
    pub containerd_default_config_path: bool,
    /// Folder on the nodes in which docker looks for certificates, say /etc/docker/certs.d; nothing is done for docker when
    /// it is empty
    #[arg(long = "docker-certs-dir", env = "PACKAGE_REGISTRY_DOCKER_CERTS_DIR", default_value = "")]
    pub docker_certs_dir: String,
}
