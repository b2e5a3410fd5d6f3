//! ZIP files as `.dcos` bundles use them: entries back to back from the first byte, stored or deflated, ZIP64 where sizes ask
//! for it, then the central directory and nothing else.
//!
//! The reader goes forward only and believes nothing that it can't compare: what a local header says is compared with what
//! was read, and both with the central directory. Layout after PKWARE's APPNOTE 6.3.

mod append;
mod body;
mod directory;
mod error;
mod name;
mod reader;
mod record;
mod source;
mod writer;

pub use append::append;
pub use body::Body;
pub use error::ZipError;
pub use reader::{Entry, ZipLimits, ZipStream};
pub use writer::ZipWriter;

#[cfg(test)]
mod tests;
