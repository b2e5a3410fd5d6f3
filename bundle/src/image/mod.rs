//! Container images: what belongs to one, and the forms in which images lie in bundles and on disk.

pub(crate) mod archive;
pub mod attachment;
pub(crate) mod graph;
pub(crate) mod layout;
pub(crate) mod media;
pub mod outline;
pub mod platform;
pub mod source;
pub(crate) mod tar;
