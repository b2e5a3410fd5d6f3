//! `.dcos` bundles: one ZIP file with a package's metadata, files and container images. Pure: no network, no clock.
//!
//! Reading as a stream is [`stream::read`]; what comes out is a [`model::Bundle`].

pub mod build;
pub mod coordinate;
pub mod definition;
pub mod digest;
mod entry;
pub mod file;
pub mod image;
pub mod json;
pub mod manifest;
pub mod model;
pub mod reference;
pub mod sign;
pub mod signature;
pub mod stream;
pub mod universe;
pub mod write;
pub mod zip;
