//! Why storage could not do what it was asked for.

use std::io;

use snafu::Snafu;

use super::health::Trouble;

/// Why storage could not do what it was asked for.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum StorageError {
    /// Nothing is there under that key.
    #[snafu(display("{key} is not in the store"))]
    NotFound {
        /// The key.
        key: String,
    },
    /// The object isn't what the condition of a write says.
    #[snafu(display("{key} was written by somebody else in the meantime"))]
    ConditionFailed {
        /// The key.
        key: String,
    },
    /// The range lies outside the object.
    #[snafu(display("{key} has {size} bytes; the range lies outside"))]
    RangeOutside {
        /// The key.
        key: String,
        /// Bytes of the object.
        size: u64,
    },
    /// A small object is larger than the reader takes.
    #[snafu(display("{key} has more than {limit} bytes"))]
    TooLarge {
        /// The key.
        key: String,
        /// Most bytes the reader takes.
        limit: u64,
    },
    /// No room.
    #[snafu(display("the store is full: {key} could not be written; make room or enlarge the volume"))]
    StorageFull {
        /// The key, or what was written.
        key: String,
    },
    /// The store can't be asked at the moment, or doesn't let us in.
    #[snafu(display("{message}"))]
    Unavailable {
        /// What kind of trouble.
        trouble: Trouble,
        /// What happened and what would be right.
        message: String,
    },
    /// The medium failed.
    #[snafu(display("{key}: {source}"))]
    Io {
        /// The key, or what was touched.
        key: String,
        /// What the system said.
        source: io::Error,
    },
}

impl StorageError {
    /// Sorts an error of the system: a full medium is told from a broken one.
    #[must_use]
    pub fn from_io(key: impl Into<String>, source: io::Error) -> Self {
        let key = key.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { key },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::StorageFull { key },
            _ => Self::Io { key, source },
        }
    }

    /// Whether the object simply isn't there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether what is there isn't what a store writes, or more than is read: another attempt gives nothing else.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::InvalidData,
            _ => false,
        }
    }
}

/// What storage answers.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_medium_is_told_from_a_broken_one() {
        let sorted = |kind: io::ErrorKind| StorageError::from_io("k", kind.into());
        assert!(matches!(sorted(io::ErrorKind::StorageFull), StorageError::StorageFull { .. }));
        assert!(matches!(sorted(io::ErrorKind::QuotaExceeded), StorageError::StorageFull { .. }));
        assert!(matches!(sorted(io::ErrorKind::PermissionDenied), StorageError::Io { .. }));
        assert!(sorted(io::ErrorKind::NotFound).is_not_found());
        assert!(sorted(io::ErrorKind::InvalidData).is_malformed());
        assert!(!sorted(io::ErrorKind::PermissionDenied).is_malformed());
    }
}
