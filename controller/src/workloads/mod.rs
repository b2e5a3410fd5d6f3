//! What in the cluster runs, or may run, the images of packages.
//!
//! [`survey`] reads, [`usage`] compares; neither knows what is done about it.

pub mod survey;
pub mod usage;

pub use survey::{Survey, Workload, Workloads};
pub use usage::{Served, Usage, WantedImage, usage};
