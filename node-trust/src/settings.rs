//! Flags, each also an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::report;

/// Makes this node's container runtime trust the cluster's package registries.
#[derive(Clone, Debug, Parser)]
#[command(name = "package-registry-node-trust", version)]
pub struct CommandLine {
    /// What to do; `run` when it isn't said.
    #[command(subcommand)]
    pub mode: Option<Mode>,
    /// Everything else.
    #[command(flatten)]
    pub settings: Settings,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Subcommand)]
pub enum Mode {
    /// Keep the node's trust folders as the configuration says.
    Run,
    /// Remove everything that this agent ever wrote on the node, and keep it so until told to stop.
    Uninstall {
        /// Exit after one pass: with 0 when nothing is left, with 1 otherwise.
        #[arg(long)]
        once: bool,
    },
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where things are.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// File with the registries to trust.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_CONFIG", default_value = "/config/trust.json")]
    pub config: PathBuf,
    /// sha256 (hex) of that file; until it has that, the agent isn't ready and goes on with what it has.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_EXPECTED_HASH")]
    pub expected_hash: Option<String>,
    /// containerd's trust folder, as the agent sees it.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_CERTS_DIR", default_value = "/host/certs.d")]
    pub certs_dir: PathBuf,
    /// The same folder as the runtime sees it.
    #[arg(
        long,
        global = true,
        env = "PACKAGE_REGISTRY_NODE_TRUST_HOST_CERTS_DIR",
        default_value = "/etc/containerd/certs.d"
    )]
    pub host_certs_dir: String,
    /// docker's trust folder, as the agent sees it; without it nothing is done for docker.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_DOCKER_CERTS_DIR")]
    pub docker_certs_dir: Option<PathBuf>,
    /// The same folder as docker sees it.
    #[arg(
        long,
        global = true,
        env = "PACKAGE_REGISTRY_NODE_TRUST_HOST_DOCKER_CERTS_DIR",
        default_value = "/etc/docker/certs.d"
    )]
    pub host_docker_certs_dir: String,
    /// containerd's configuration file, as the agent sees it; without it the runtime's configuration isn't checked.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_RUNTIME_CONFIG")]
    pub runtime_config: Option<PathBuf>,
    /// The same file as the runtime sees it.
    #[arg(
        long,
        global = true,
        env = "PACKAGE_REGISTRY_NODE_TRUST_HOST_RUNTIME_CONFIG",
        default_value = "/etc/containerd/config.toml"
    )]
    pub host_runtime_config: PathBuf,
    /// What containerd's `config_path` is when no file sets it: nothing before 2.2,
    /// `/etc/containerd/certs.d:/etc/docker/certs.d` since, which is read only with `use_local_image_pull = true`. Files of
    /// version 4 need no telling.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_RUNTIME_DEFAULT_CONFIG_PATH")]
    pub runtime_default_config_path: Option<String>,
    /// Name of this node, for the report.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_NODE_NAME", default_value = "")]
    pub node_name: String,
    /// Where `/status`, `/readyz` and `/livez` are served.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_LISTEN", default_value_t = SocketAddr::from(([0, 0, 0, 0], report::PORT)))]
    pub listen: SocketAddr,
    /// How log lines look.
    #[arg(long, global = true, env = "PACKAGE_REGISTRY_NODE_TRUST_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_runs_by_default() {
        CommandLine::command().debug_assert();
        let line = CommandLine::parse_from(["x", "--certs-dir", "/c"]);
        assert_eq!((line.mode, line.settings.listen.port()), (None, 9845));
    }

    #[test]
    fn flags_may_follow_the_mode() {
        let line = CommandLine::parse_from(["x", "uninstall", "--once", "--certs-dir", "/c"]);
        assert_eq!((line.mode, line.settings.certs_dir.to_str()), (Some(Mode::Uninstall { once: true }), Some("/c")));
    }
}
