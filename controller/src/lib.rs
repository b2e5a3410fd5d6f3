//! The controller: drives `PackageRegistry` and `Package` objects to what their specs say.
//!
//! Each kind has a folder with five steps: `dereference` (read) → `validate` (pure) → `build` (pure) → `apply` →
//! `status` (the one writer). What they share is beside them.

pub mod apply;
pub mod arguments;
pub mod backoff;
pub mod body;
pub mod certificate;
pub mod compare;
pub mod condition;
pub mod container;
pub mod context;
pub mod error;
pub mod event;
pub mod fence;
pub mod health;
pub mod leader;
pub mod metrics;
pub mod own_image;
pub mod package;
pub mod quantity;
pub mod rbac;
pub mod registry;
pub mod server_client;
pub mod tasks;
pub mod token;
pub mod trust;
pub mod watch;
pub mod workloads;
