//! The `Package` reconciler: what an object declares is in its registry's catalogue, and nothing else of it is.
//!
//! `dereference` → `validate` → `build` → `apply` → `status`, driven by [`reconcile`]. [`memory`] is what is known of an
//! object between passes, [`in_use`] who needs it, [`withdraw`] the finalizer, [`sweep`] the search for content whose object is gone
//! and [`leftover`] what becomes of that,
//! [`adoption`] that for uploads which have no object yet.

pub mod adoption;
pub mod apply;
pub mod build;
mod catalogue;
pub mod dereference;
pub mod error;
pub mod in_use;
pub mod leftover;
pub mod memory;
pub mod reconcile;
pub mod run;
pub mod status;
pub mod sweep;
mod upload;
pub mod validate;
pub mod withdraw;

pub use error::Error;
pub use reconcile::{PackageContext, reconcile};
pub use run::run;
