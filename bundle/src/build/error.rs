//! Why a bundle can't be built.

use std::io;
use std::path::PathBuf;

use snafu::Snafu;

use crate::definition::DefinitionError;
use crate::image::source::SourceError;
use crate::reference::ReferenceError;
use crate::universe::MetadataError;

/// Why there is no bundle.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum BuildError<E: std::error::Error + 'static> {
    /// The definition is wrong.
    #[snafu(display("{source}"))]
    Definition {
        /// Why.
        source: DefinitionError,
    },
    /// A file can't be downloaded.
    #[snafu(display("{address}: {source}"))]
    Download {
        /// Which.
        address: String,
        /// Why.
        source: E,
    },
    /// A file can't be read.
    #[snafu(display("{address} ({}): {source}", path.display()))]
    LocalFile {
        /// As the definition has it.
        address: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A path that leads to a folder or a device.
    #[snafu(display("{address} ({}): must be a regular file", path.display()))]
    NotRegular {
        /// As the definition has it.
        address: String,
        /// The file.
        path: PathBuf,
    },
    /// Other bytes than the definition says.
    #[snafu(display("{address}: the definition says sha256 {expected}, found {found}"))]
    ContentHash {
        /// Which file.
        address: String,
        /// As the definition has it.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// An image's reference is wrong.
    #[snafu(display("{source}"))]
    Reference {
        /// Why.
        source: ReferenceError,
    },
    /// A source of images is wrong.
    #[snafu(display("{source}"))]
    Source {
        /// Why.
        source: SourceError,
    },
    /// Images can't be had.
    #[snafu(display("{source}"))]
    Pull {
        /// Why.
        source: E,
    },
    /// An image that was pulled is not there.
    #[snafu(display("image {reference} was pulled, but it is not there"))]
    NoImage {
        /// The image.
        reference: String,
    },
    /// What would be written is not valid.
    #[snafu(display("{source}"))]
    Result {
        /// Why.
        source: MetadataError,
    },
    /// The bundle can't be written.
    #[snafu(display("the bundle could not be written: {source}"))]
    Write {
        /// Why.
        source: io::Error,
    },
}
