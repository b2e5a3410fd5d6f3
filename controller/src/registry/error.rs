//! Why a pass over a PackageRegistry did not end with everything in place.

use std::time::Duration;

use snafu::Snafu;

use crate::{
    apply,
    error::{Classified, Policy},
};

/// Looks again at what somebody must change; a change of the spec comes by itself.
const STALLED_RETRY: Duration = Duration::from_secs(30);
/// Looks again at something that is about to be gone.
const LEAVING_RETRY: Duration = Duration::from_secs(1);

/// Why a pass did not end with everything in place.
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
    /// The spec can't work.
    #[snafu(display("{field}: {problem}"))]
    InvalidSpec {
        /// Field of the spec.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A child could not be brought to what it should be.
    #[snafu(transparent)]
    Child {
        /// What happened.
        source: apply::Error,
    },
    /// The authority's Secret can't be used, or certificates can't be made.
    #[snafu(display("{message}"))]
    Certificate {
        /// What is wrong and what would be right.
        message: String,
    },
    /// The status could not be written.
    #[snafu(display("the status could not be written"))]
    Status {
        /// What the API client says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// Nodes are still told of the registry that is going.
    #[snafu(display("nodes are still told of the registry"))]
    StillTrusted,
    /// The pass was given up.
    #[snafu(display("the pass was given up after {} s: the API server doesn't answer", after.as_secs()))]
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
            Self::InvalidSpec { .. }
            | Self::Certificate { .. }
            | Self::Child { source: apply::Error::NameTaken { .. } } => Policy::Stalled { after: STALLED_RETRY },
            Self::StillTrusted | Self::Child { source: apply::Error::Leaving { .. } } => {
                Policy::Waiting { after: LEAVING_RETRY }
            }
            Self::Read { .. }
            | Self::Child { .. }
            | Self::Status { .. }
            | Self::Finalizer { .. }
            | Self::TimedOut { .. } => Policy::Transient,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "ReadFailed",
            Self::InvalidSpec { .. } => crds::reason::INVALID_SPEC,
            Self::Child { source: apply::Error::NameTaken { .. } } => crds::reason::NAME_TAKEN,
            Self::Child { .. } => "ApplyFailed",
            Self::Certificate { .. } => crds::reason::SECRET_INVALID,
            Self::Status { .. } => "StatusFailed",
            Self::StillTrusted => "StillTrusted",
            Self::Finalizer { .. } => "FinalizerFailed",
            Self::TimedOut { .. } => "TimedOut",
        }
    }
}
