//! Ids of uploads: made from what is uploaded, so that the same upload has the same id on every instance and after a crash.

use std::fmt;
use std::str::FromStr;

use snafu::{Snafu, ensure};

use crate::digest::{Digest, check_sha256_hex};
use crate::storage::SessionId;

/// Names an upload in keys and addresses: 64 lower-case hex digits.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UploadId(String);

/// The text names no upload.
#[derive(Debug, Snafu)]
#[snafu(display("an upload's id has 64 lower-case hex digits"))]
pub struct InvalidUploadId;

impl UploadId {
    /// The id of a package's upload.
    #[must_use]
    pub fn of(name: &str, version: &str, content_digest: &str) -> Self {
        // A list of texts has one form, whatever is in them.
        let text = serde_json::Value::from_iter([name, version, content_digest]).to_string();
        Self(Digest::sha256(text.as_bytes()).hex().to_owned())
    }

    /// The session in which a blob of this upload arrives.
    #[must_use]
    pub fn session(&self, blob: &Digest) -> SessionId {
        SessionId::derived(&format!("{self}/{blob}"))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ensure!(check_sha256_hex(text).is_ok(), InvalidUploadIdSnafu);
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_that_of_one_name_version_and_digest() {
        let id = UploadId::of("a", "1", "sha256:x");
        assert_eq!(id, UploadId::of("a", "1", "sha256:x"));
        assert_eq!(id.to_string().parse::<UploadId>().unwrap(), id);
        for other in [("a", "1sha256:x", ""), ("a1", "", "sha256:x"), ("a", "1", "sha256:y"), ("a\",\"1", "", "x")] {
            assert_ne!(UploadId::of(other.0, other.1, other.2), id);
        }
        assert!("../state".parse::<UploadId>().is_err());
    }

    #[test]
    fn every_blob_of_every_upload_has_a_session_of_its_own() {
        let (one, other) = (UploadId::of("a", "1", "x"), UploadId::of("a", "2", "x"));
        let (x, y) = (Digest::sha256(b"x"), Digest::sha256(b"y"));
        assert_eq!(one.session(&x), one.session(&x));
        assert_ne!(one.session(&x), one.session(&y));
        assert_ne!(one.session(&x), other.session(&x));
    }
}
