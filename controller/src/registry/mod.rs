//! The `PackageRegistry` reconciler: storage, certificates, identities, the Service and the serving pods are what the spec
//! says, and the status says how far that is.
//!
//! [`dereference`] → [`validate`] → [`build`] → [`mod@apply`] → [`status`], driven by [`reconcile`]. [`certificates`] joins
//! the certificate plan to the registry, [`finalize`] takes back what lives elsewhere, [`poll`] says when to look again, [`reports`] asks the serving pods for what they know.

pub mod apply;
pub mod build;
pub mod certificates;
pub mod dereference;
pub mod error;
pub mod finalize;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod names;
pub mod poll;
pub mod reconcile;
pub mod reports;
pub mod run;
pub mod status;
pub mod validate;

pub use error::Error;
pub use reconcile::{RegistryContext, reconcile};
pub use run::run;
