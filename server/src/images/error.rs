//! Why an image could not be pushed or removed.

use snafu::Snafu;

use super::manifest::InvalidManifest;
use crate::auth::AuthError;
use crate::digest::Digest;
use crate::incoming::{Interruption, PourError};
use crate::storage::StorageError;

/// Why a push or a removal didn't happen.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum ImageError {
    /// There is no such session in that repository.
    #[snafu(display("there is no such upload in this repository; it may have been finished, cancelled or given up"))]
    UploadUnknown,
    /// Another request took the session over.
    #[snafu(display("another request has taken this upload over; ask for its status, and go on from there"))]
    UploadTaken,
    /// A piece doesn't begin where the last one ended.
    #[snafu(display("{size} bytes have arrived; the next piece must begin with byte {size}"))]
    OutOfOrder {
        /// Bytes so far.
        size: u64,
    },
    /// More or fewer bytes came than the range says.
    #[snafu(display("Content-Range says that {said} bytes come, but {came} came"))]
    Length {
        /// Bytes of the range.
        said: u64,
        /// Bytes of the body.
        came: u64,
    },
    /// The body ended before its end.
    #[snafu(display("the body was interrupted; {size} bytes of the upload are kept"))]
    Interrupted {
        /// Why.
        why: Interruption,
        /// Bytes that were kept.
        size: u64,
    },
    /// The content has another digest.
    #[snafu(display("the content has the digest {found}, not {wanted}"))]
    Digest {
        /// The digest of the request.
        wanted: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The manifest is none.
    #[snafu(display("{source}"), context(false))]
    Manifest {
        /// Why.
        source: InvalidManifest,
    },
    /// The manifest needs what this repository doesn't have.
    #[snafu(display("the manifest refers to what is not in this repository; push or mount it first"))]
    Incomplete {
        /// What is missing.
        missing: Vec<Digest>,
    },
    /// There is no such manifest or tag in that repository.
    #[snafu(display("there is no such manifest"))]
    ManifestUnknown,
    /// There is no such blob in that repository.
    #[snafu(display("there is no such blob"))]
    BlobUnknown,
    /// A blob that is a manifest.
    #[snafu(display("this is a manifest; it is deleted under manifests/<digest>"))]
    IsManifest,
    /// A package needs it.
    #[snafu(display("package {package} needs it: packages own their images; remove the package, and it goes too"))]
    Owned {
        /// Name and version.
        package: String,
    },
    /// Who asks may not.
    #[snafu(display("{source}"), context(false))]
    Denied {
        /// Why.
        source: AuthError,
    },
    /// Others write the same tag or link all the time.
    #[snafu(display("others are writing the same at this moment; try again"))]
    Contended,
    /// The store failed.
    #[snafu(display("{source}"))]
    Store {
        /// Why.
        source: StorageError,
    },
}

impl From<StorageError> for ImageError {
    fn from(source: StorageError) -> Self {
        Self::Store { source }
    }
}

impl From<PourError> for ImageError {
    fn from(error: PourError) -> Self {
        match error {
            PourError::Gone => Self::UploadUnknown,
            PourError::Taken => Self::UploadTaken,
            PourError::OutOfOrder { size } => Self::OutOfOrder { size },
            PourError::Length { said, came } => Self::Length { said, came },
            PourError::Interrupted { why, size } => Self::Interrupted { why, size },
            PourError::Store { source } => Self::Store { source },
        }
    }
}
