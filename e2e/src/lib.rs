//! A real two-node Kubernetes on one Debian machine, and what the demo and the tests need beside it.
//!
//! [`cluster`] brings the cluster up and down and hands tests a [`cluster::Cluster`]; [`image`] writes container image
//! archives without a container engine; [`demo`] builds the demo's image with it. [`clients`] has real clients of a registry.

pub mod api_server;
pub mod clients;
pub mod cluster;
pub mod demo;
pub mod image;
mod program;
pub mod walk;
