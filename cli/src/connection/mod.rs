//! The connection to a package registry: found through a Kubernetes cluster as kubectl would, by its address, or behind a
//! DC/OS cluster's front door.

mod api;
mod cluster;
mod error;
mod forward;
mod front_door;
mod target;
mod token;

pub use api::{Api, Patched};
pub use cluster::{CONTAINER, ClusterArguments, DEFAULT_NAME, Found};
pub use error::CallError;
pub use target::{Connection, Target};
