//! Real clients of a registry, and a server of ours for them to talk to.

mod server;
mod tools;

pub use server::{Server, Transport};
pub use tools::{Tools, ensure};
