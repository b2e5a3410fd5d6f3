//! The cluster harness: etcd, control plane, two nodes in network and mount namespaces of their own, DNS and volumes.
//!
//! [`up`] is idempotent, [`down`] leaves nothing behind, whatever state it finds. [`Cluster`] is what tests hold.

mod addons;
mod cgroups;
mod command;
mod container_images;
mod control_plane;
mod daemon;
mod error;
mod go_build;
mod handle;
mod journal;
mod kubeconfig;
mod network;
mod node;
mod node_config;
mod paths;
mod pki;
mod prerequisites;
mod progress;
mod teardown;
mod up;
mod versions;
mod wait;

pub use error::{Error, Result};
pub use handle::Cluster;
pub use paths::{admin_kubeconfig, kubectl};
pub use teardown::down;
pub use up::{daemons, up};
