//! Images from their own registries, by the OCI distribution API, without a container engine.

mod challenge;
mod client;
mod credentials;
mod docker_config;
mod hosts;
mod hosts_toml;
mod link;
mod pull;
mod referrers;
mod source;

pub use client::Client;
pub use credentials::{CredentialsError, Keyring};
pub use hosts::{Hosts, HostsError};
pub use pull::{PullError, Pulled, Puller};
