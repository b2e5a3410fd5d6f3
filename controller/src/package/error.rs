//! Why a pass over a Package did not end with an answer about its content.

use std::time::Duration;

use snafu::Snafu;

use crate::{
    error::{Classified, Policy},
    server_client,
};

/// Looks at a registry again; costs no request.
const REGISTRY_RETRY: Duration = Duration::from_secs(3);
/// Reads a wrong Secret again.
const SECRET_RETRY: Duration = Duration::from_secs(30);
/// Looks at what an older object does; costs no request.
const RIVAL_RETRY: Duration = Duration::from_secs(10);
/// Looks again for workloads that keep a package.
const USERS_RETRY: Duration = Duration::from_secs(15);
/// Looks again for an upload that isn't there.
const UPLOAD_RETRY: Duration = Duration::from_secs(15);
/// Looks at a spec that can't work; a change of it comes by itself.
const SPEC_RETRY: Duration = Duration::from_mins(10);

/// Why a pass did not end with an answer about the content.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum Error {
    /// The API server could not be asked.
    #[snafu(display("{what} could not be read"))]
    Read {
        /// What was read.
        what: String,
        /// What the API client says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// No such registry.
    #[snafu(display(
        "there is no PackageRegistry {name} in this namespace: create it, or correct spec.registryRef.name"
    ))]
    RegistryMissing {
        /// Name that `spec.registryRef` has.
        name: String,
    },
    /// The registry is on its way out.
    #[snafu(display("PackageRegistry {name} is being deleted"))]
    RegistryLeaving {
        /// Name of the registry.
        name: String,
    },
    /// The registry doesn't serve.
    #[snafu(display("PackageRegistry {name} doesn't serve yet{}", detail.as_ref().map(|text| format!(": {text}")).unwrap_or_default()))]
    RegistryNotServing {
        /// Name of the registry.
        name: String,
        /// What its condition says.
        detail: Option<String>,
    },
    /// A Secret is not what the spec needs.
    #[snafu(display("{field}: {problem}"))]
    SecretInvalid {
        /// Field of the spec that names the Secret.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The spec can't work.
    #[snafu(display("{field}: {problem}"))]
    InvalidSpec {
        /// Field of the spec.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// An older object declares the same name and version.
    #[snafu(display(
        "Package {older} is older and declares {name} {version}, too: the oldest wins; delete one of the two, or declare another version"
    ))]
    AlreadyDeclared {
        /// Name of the older object.
        older: String,
        /// Name of the package.
        name: String,
        /// Version of the package.
        version: String,
    },
    /// The registry hasn't the upload.
    #[snafu(display(
        "spec.source.upload.digest: the registry has no package with the content {digest}: upload it again, or delete this Package"
    ))]
    ContentMissing {
        /// Content digest of the upload.
        digest: String,
    },
    /// The registry's server.
    #[snafu(transparent)]
    Server {
        /// What happened.
        source: server_client::Error,
    },
    /// The status could not be written.
    #[snafu(display("the status could not be written"))]
    Status {
        /// What the API client says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// Workloads use it, and the registry's rule keeps it for them.
    #[snafu(display("{users}"))]
    InUse {
        /// Who, and what can be done.
        users: String,
    },
    /// The content is not withdrawn yet.
    #[snafu(display("the content is being withdrawn"))]
    Withdrawing,
    /// The pass was given up.
    #[snafu(display("the pass was given up after {} s: the API server or the registry doesn't answer", after.as_secs()))]
    TimedOut {
        /// Time that it had.
        after: Duration,
    },
    /// The finalizer could not be set or taken away.
    #[snafu(display("the finalizer could not be changed"))]
    Finalizer {
        /// What the API client says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Classified for Error {
    fn policy(&self) -> Policy {
        match self {
            Self::RegistryMissing { .. } | Self::RegistryLeaving { .. } | Self::RegistryNotServing { .. } => {
                Policy::Waiting { after: REGISTRY_RETRY }
            }
            Self::Withdrawing => Policy::Waiting { after: Duration::from_secs(1) },
            Self::InUse { .. } => Policy::Waiting { after: USERS_RETRY },
            Self::SecretInvalid { .. } => Policy::Stalled { after: SECRET_RETRY },
            Self::AlreadyDeclared { .. } => Policy::Stalled { after: RIVAL_RETRY },
            Self::InvalidSpec { .. } => Policy::Stalled { after: SPEC_RETRY },
            Self::ContentMissing { .. } => Policy::Stalled { after: UPLOAD_RETRY },
            Self::Read { .. }
            | Self::Server { .. }
            | Self::Status { .. }
            | Self::Finalizer { .. }
            | Self::TimedOut { .. } => Policy::Transient,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "ReadFailed",
            Self::RegistryMissing { .. } | Self::RegistryLeaving { .. } | Self::RegistryNotServing { .. } => {
                crds::reason::DEPENDENCY_NOT_READY
            }
            Self::SecretInvalid { .. } => crds::reason::SECRET_INVALID,
            Self::InvalidSpec { .. } => crds::reason::INVALID_SPEC,
            Self::ContentMissing { .. } => crds::reason::CONTENT_MISSING,
            Self::AlreadyDeclared { .. } => crds::reason::ALREADY_DECLARED,
            Self::Server { source } => source.reason(),
            Self::Status { .. } => "StatusFailed",
            Self::InUse { .. } => crds::reason::IN_USE,
            Self::Withdrawing => "Withdrawing",
            Self::Finalizer { .. } => "FinalizerFailed",
            Self::TimedOut { .. } => "TimedOut",
        }
    }
}
