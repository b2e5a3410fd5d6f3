//! The built binary against a real server over TLS, and against a stand-in of the Kubernetes API.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod activate;
mod add;
mod catalogue;
mod cluster;
#[path = "../commands/cosign.rs"]
mod cosign;
mod front_door;
mod kubernetes;
mod packages;
mod plugin;
#[path = "../commands/program.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use more of it")]
mod program;
mod serve;
mod server;
mod signed_images;
mod stand_in;
mod wire;
