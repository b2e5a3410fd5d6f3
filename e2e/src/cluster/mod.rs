//! The cluster harness: etcd, control plane, two nodes in network and mount namespaces of their own, DNS and volumes.
//!
//! [`up`] is idempotent, [`down`] leaves nothing behind, whatever state it finds. [`Cluster`] is what tests hold.

mod addons;
mod cgroups;
pub(crate) mod command;
mod container_images;
mod control_plane;
mod daemon;
mod error;
pub(crate) mod go_build;
mod handle;
mod journal;
pub(crate) mod kubeconfig;
mod network;
mod node;
mod node_config;
pub(crate) mod paths;
pub(crate) mod pki;
pub(crate) mod prerequisites;
pub(crate) mod progress;
mod teardown;
mod tools;
pub(crate) mod up;
pub(crate) mod versions;
pub(crate) mod wait;

pub use container_images::{MINIO_IMAGE, minio_archive};
pub use error::{Error, Result};
pub use handle::Cluster;
pub use paths::{admin_kubeconfig, kubectl};
pub use teardown::down;
pub use tools::{TOOLS, Tool};
pub use up::{daemons, up};
