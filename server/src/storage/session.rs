//! Blobs that arrive in pieces: over several requests, through several instances, across restarts.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use futures::future::BoxFuture;
use snafu::{ResultExt, Snafu, ensure};
use uuid::Uuid;

use super::{FinishedBlob, Result};
use crate::digest::Algorithm;

/// Names a session in keys and addresses: a UUID in its hyphenated lower-case form.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SessionId(Uuid);

/// The text names no session.
#[derive(Debug, Snafu)]
pub enum InvalidSessionId {
    /// Not a UUID at all.
    #[snafu(display("an upload's id is a UUID: {source}"))]
    Syntax {
        /// Why.
        source: uuid::Error,
    },
    /// A UUID in another form, which would be another key.
    #[snafu(display("an upload's id is a UUID in its hyphenated lower-case form"))]
    Form,
}

impl SessionId {
    /// A session that nobody has.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The session that belongs to a text: the same one on every instance, and one that nobody finds by chance.
    #[must_use]
    pub fn derived(text: &str) -> Self {
        let hex = crate::digest::Digest::sha256(text.as_bytes());
        let bytes = u128::from_str_radix(hex.hex().get(..32).unwrap_or_default(), 16).unwrap_or_default();
        Self(uuid::Builder::from_custom_bytes(bytes.to_be_bytes()).into_uuid())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Self(text.parse().context(SyntaxSnafu)?);
        ensure!(id.to_string() == text, FormSnafu);
        Ok(id)
    }
}

/// A session as others see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionView {
    /// What was noted when it was created.
    pub note: Bytes,
    /// Bytes that arrived and were saved.
    pub size: u64,
}

/// A session that this process works on. Dropped, or after an error, it stays as it was saved last.
pub trait Session: Send {
    /// Bytes so far, those not saved yet included.
    fn size(&self) -> u64;

    /// Adds bytes. Fails with [`super::StorageError::ConditionFailed`] once somebody else has taken the session over.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>>;

    /// Makes what arrived durable, and says how much that is in all. Somebody else can go on from there.
    fn save(self: Box<Self>) -> BoxFuture<'static, Result<u64>>;

    /// Ends the blob and says its digest; it isn't visible yet. What is left of the session goes with
    /// [`super::Storage::drop_session`].
    fn finish(self: Box<Self>, algorithm: Algorithm) -> BoxFuture<'static, Result<Box<dyn FinishedBlob>>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = SessionId::random();
        assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
    }

    #[test]
    fn a_text_has_one_session() {
        let id = SessionId::derived("a");
        assert_eq!((id, id.to_string().parse().unwrap()), (SessionId::derived("a"), id));
        assert_ne!(id, SessionId::derived("b"));
    }

    #[test]
    fn another_spelling_of_an_id_is_refused() {
        let id = SessionId::random().to_string();
        for text in [id.replace('-', ""), format!("{{{id}}}"), id.to_uppercase() + "A", "..".into(), String::new()] {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }
}
