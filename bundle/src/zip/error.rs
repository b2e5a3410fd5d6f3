//! Why a ZIP file can't be read.

use std::io;

use snafu::Snafu;

/// Why a ZIP file can't be read.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum ZipError {
    /// The input failed; the file may be right.
    #[snafu(display("{source}"))]
    Input {
        /// What the input says.
        source: io::Error,
    },
    /// The file is wrong.
    #[snafu(display("{place}: {reason}"))]
    Invalid {
        /// An entry's name or a part of the file.
        place: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl ZipError {
    /// The same error once more, for the one who reads and the one who asks afterwards.
    pub(super) fn copy(&self) -> Self {
        match self {
            Self::Input { source } => Self::Input { source: io::Error::new(source.kind(), source.to_string()) },
            Self::Invalid { place, reason } => Self::Invalid { place: place.clone(), reason: reason.clone() },
        }
    }
}
