//! Why a registry was not found, or did not do what it was asked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::StatusCode;
use snafu::Snafu;

use crate::http::{Transient, after_status, after_transport, backoff, chain};

/// Why there is no connection to a registry.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum ConnectError {
    /// No runtime.
    #[snafu(display("connections are not possible: {source}"))]
    Start {
        /// Why.
        source: io::Error,
    },
    /// An argument that can't be right.
    #[snafu(display("{argument}: {problem}"))]
    Argument {
        /// Its name.
        argument: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A file that can't be read.
    #[snafu(display("{argument}: {}: {source}", path.display()))]
    File {
        /// The argument that names it.
        argument: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A kubeconfig file that is of no use.
    #[snafu(display("kubeconfig: {}; without a cluster, name the registry with --url", chain(source)))]
    Kubeconfig {
        /// Why.
        #[snafu(source(from(kube::config::KubeconfigError, Box::new)))]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Neither a kubeconfig file nor a pod.
    #[snafu(display(
        "there is no kubeconfig file (--kubeconfig, KUBECONFIG, ~/.kube/config), and this is no pod: {}; without a cluster, name the registry with --url",
        chain(source)
    ))]
    NoCluster {
        /// Why.
        #[snafu(source(from(kube::config::InferConfigError, Box::new)))]
        source: Box<kube::config::InferConfigError>,
    },
    /// The cluster does not answer, or refuses.
    #[snafu(display("{what}: {}", chain(source)))]
    Kubernetes {
        /// What it was asked for.
        what: String,
        /// What it says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// No such registry.
    #[snafu(display("{problem}"))]
    NotFound {
        /// What is there instead, and what would be right.
        problem: String,
    },
    /// A registry that can't be asked now.
    #[snafu(display("PackageRegistry {name} in namespace {namespace}: {problem}"))]
    NotReady {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// No HTTP client.
    #[snafu(display("{}", chain(source)))]
    Client {
        /// Why.
        source: reqwest::Error,
    },
}

/// Why a call of a registry's API has no useful answer.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum CallError {
    /// No answer, or not to its end.
    #[snafu(display("the registry at {base}: {}", chain(source)))]
    Transport {
        /// The registry's address.
        base: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The registry says why not.
    #[snafu(display("{message}"))]
    Refused {
        /// Status of the answer.
        status: StatusCode,
        /// What happened and what would be right.
        message: String,
        /// How long the registry asks to wait.
        pause: Option<Duration>,
    },
    /// An answer that is none of a registry.
    #[snafu(display("the registry at {base} gives an answer that is not understood: {reason}"))]
    Answer {
        /// The registry's address.
        base: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No token.
    #[snafu(display("{source}"))]
    Token {
        /// Why.
        #[snafu(source(from(ConnectError, Box::new)))]
        source: Box<ConnectError>,
    },
}

impl CallError {
    /// Status of the answer, where there is one.
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Transport { .. } | Self::Answer { .. } | Self::Token { .. } => None,
        }
    }
}

impl Transient for CallError {
    fn pause(&self, attempt: u32) -> Option<Duration> {
        match self {
            Self::Transport { source, .. } => after_transport(source, attempt),
            Self::Refused { status, pause, .. } => after_status(*status, *pause, attempt),
            Self::Answer { .. } | Self::Token { .. } => None,
        }
    }
}

impl Transient for kube::Error {
    fn pause(&self, attempt: u32) -> Option<Duration> {
        match self {
            Self::Api(status) => after_status(StatusCode::from_u16(status.code).ok()?, None, attempt),
            Self::HyperError(_) | Self::Service(_) => Some(backoff(attempt)),
            _ => None,
        }
    }
}
