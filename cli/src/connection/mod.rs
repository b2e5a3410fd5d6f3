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
pub use cluster::{ClusterArguments, Found};
pub use error::CallError;
pub use target::{Connection, Target};

use std::io;

/// What commands that talk to a registry run on.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
