//! Why an upload can't go on.

use api::Upload;
use snafu::Snafu;

use super::record::InvalidContent;
use crate::digest::Digest;
use crate::incoming::Interruption;
use crate::storage::StorageError;

/// Why a call on an upload was not done.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum UploadError {
    /// The content can't be published.
    #[snafu(display("{source}"), context(false))]
    Content {
        /// Why.
        source: InvalidContent,
    },
    /// The registry has a blob of that digest with another size.
    #[snafu(display("{digest} has {there} bytes in the registry, the content says {said}; a digest has one size"))]
    WrongSize {
        /// Of the blob.
        digest: Digest,
        /// Bytes that the content says.
        said: u64,
        /// Bytes that are there.
        there: u64,
    },
    /// No such upload.
    #[snafu(display("there is no such upload (any more): announce the content again with POST /api/v1/uploads"))]
    NoSuchUpload,
    /// The upload has no such blob.
    #[snafu(display("{digest} is not of this upload: neither a file nor a blob of its content has this digest"))]
    NoSuchBlob {
        /// What was asked for.
        digest: String,
    },
    /// The bytes don't go on where the registry is.
    #[snafu(display("the registry has {offset} bytes of it: go on from there"))]
    WrongOffset {
        /// Bytes that the registry has.
        offset: u64,
    },
    /// More bytes than the blob has.
    #[snafu(display("{digest} has {size} bytes by the content that was announced, more than that were sent"))]
    TooLong {
        /// Of the blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// The bytes are others than the digest says.
    #[snafu(display("the bytes have digest {found}, expected is {expected}: what arrived was dropped, send it again"))]
    WrongDigest {
        /// Of the content.
        expected: Digest,
        /// Of the bytes.
        found: Digest,
    },
    /// The transfer broke; what arrived before is kept.
    #[snafu(display("the transfer broke off after {offset} bytes, which are kept: go on from there ({why})"))]
    Broken {
        /// Bytes that the registry has.
        offset: u64,
        /// Why.
        why: Interruption,
    },
    /// Blobs are missing.
    #[snafu(display("{} of the package's files and blobs are missing; send them first", upload.missing.len()))]
    Incomplete {
        /// The upload with what is missing.
        upload: Box<Upload>,
    },
    /// It is being published just now.
    #[snafu(display("the package is being published; wait until it is Added or Failed"))]
    InWork,
    /// Something else is there under that name and version.
    #[snafu(display("{message}"))]
    Conflict {
        /// What, and what to do.
        message: String,
    },
    /// What the store keeps of the upload can't be read, and won't be later.
    #[snafu(display("{key} is damaged: {message}; it goes when the upload expires"))]
    Damaged {
        /// Its key.
        key: String,
        /// Why.
        message: String,
    },
    /// The store failed.
    #[snafu(display("{source}"), context(false))]
    Store {
        /// Why.
        source: StorageError,
    },
}

/// A piece of work that ended before it was done.
pub(super) fn stopped(key: &str, error: tokio::task::JoinError) -> UploadError {
    StorageError::from_io(key, std::io::Error::other(error)).into()
}
