//! Real clients push to and pull from the server, plain on loopback and over TLS with a private authority.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod conformance;
mod containerd;
mod crane;
mod docker;
mod helm;
mod oras;
mod podman;
mod site;
mod skopeo;
