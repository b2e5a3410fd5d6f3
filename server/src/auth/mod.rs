//! Who asks, and whether they may. Decided before any handler runs, by [`table`].

pub mod credentials;
mod gate;
pub mod kubernetes;
pub mod table;

use k8s_openapi::api::authentication::v1::UserInfo;
use snafu::Snafu;

pub use gate::{RemoteAddress, asked_authority, challenge, gate};
use kubernetes::Kubernetes;
use table::Verb;

/// Where identities come from.
#[expect(clippy::large_enum_variant, reason = "a process has one of it")]
pub enum Auth {
    /// Nobody is asked; everybody may do everything.
    None,
    /// Nobody is asked; everybody may read, nobody may change anything.
    ReadOnly,
    /// Kubernetes' tokens and rights.
    Kubernetes(Kubernetes),
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Nobody was asked.
    Anonymous,
    /// A user of the cluster.
    Kubernetes(Box<UserInfo>),
}

impl Identity {
    /// A name for the audit trail.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Kubernetes(user) => user.username.as_deref().unwrap_or("unknown"),
        }
    }
}

/// Why somebody may not.
#[derive(Debug, Snafu)]
pub enum AuthError {
    /// It isn't known who asks.
    #[snafu(display("{message}"))]
    Unauthenticated {
        /// What would be right.
        message: String,
    },
    /// It is known, and they may not.
    #[snafu(display("{message}"))]
    Forbidden {
        /// What would be right.
        message: String,
    },
    /// Nobody can say.
    #[snafu(display("the API server could not be asked who you are and what you may do: {message}"))]
    Unavailable {
        /// Why.
        message: String,
    },
}

impl Auth {
    /// Whose token it is.
    ///
    /// # Errors
    /// A token that isn't good.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        match self {
            Self::None | Self::ReadOnly => Ok(Identity::Anonymous),
            Self::Kubernetes(kubernetes) => kubernetes.authenticate(token).await,
        }
    }

    /// Whether they have a right.
    ///
    /// # Errors
    /// They don't.
    pub async fn authorize(&self, identity: &Identity, verb: Verb) -> Result<(), AuthError> {
        match (self, identity) {
            (Self::None, _) => Ok(()),
            (Self::ReadOnly, _) if verb == Verb::Get => Ok(()),
            (Self::ReadOnly, _) => Err(AuthError::Forbidden { message: "this registry is read-only".to_owned() }),
            (Self::Kubernetes(kubernetes), Identity::Kubernetes(user)) => kubernetes.authorize(user, verb).await,
            (Self::Kubernetes(_), Identity::Anonymous) => {
                Err(AuthError::Forbidden { message: "nobody may without a token".to_owned() })
            }
        }
    }
}
