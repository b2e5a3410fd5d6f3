//! What is kept of a blob that arrives in pieces: one object, a line of JSON and behind it the bytes that are shorter than
//! a part. One conditional write makes both count at once.

use std::ops::Not;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::failure::damaged;
use crate::digest::{Algorithm, Hasher};
use crate::storage::session::SessionView;
use crate::storage::{Result, StorageError};

/// How far a session is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct State {
    /// Base64 of the note.
    note: String,
    /// Bytes so far.
    pub size: u64,
    /// State of the hash over them.
    hash: String,
    /// Where they go.
    pub data: Uuid,
    /// The multipart upload, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// `ETag`s of its parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Whether the last of them is the last of all: no more bytes can be added.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub ended: bool,
}

impl State {
    pub fn new(note: &[u8]) -> Self {
        let hash = Hasher::new(Algorithm::Sha256).save();
        let (note, data) = (BASE64.encode(note), Uuid::new_v4());
        Self { note, size: 0, hash, data, upload: None, parts: Vec::new(), ended: false }
    }

    /// Begins a turn. What a turn writes in one piece is an object of its own: one that an earlier turn wrote may have its
    /// pointer already. Only the parts of an upload go on where they are.
    pub fn begin_turn(&mut self) {
        if self.upload.is_none() {
            self.data = Uuid::new_v4();
        }
    }

    pub fn view(&self) -> SessionView {
        let note = BASE64.decode(self.note.as_bytes()).unwrap_or_default();
        SessionView { note: note.into(), size: self.size }
    }

    pub fn hasher(&self, key: &str) -> Result<Hasher> {
        Hasher::resume(&self.hash).ok_or_else(|| damaged(key, "the state of the hash is none"))
    }

    /// Notes what has arrived since.
    pub fn advance(&mut self, size: u64, hasher: &Hasher) {
        (self.size, self.hash) = (size, hasher.save());
    }

    pub fn write(&self, key: &str, rest: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).map_err(|error| damaged(key, &error.to_string()))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(rest);
        Ok(bytes)
    }

    /// Reads an object: the state, and the bytes behind it.
    pub fn read(key: &str, content: &Bytes) -> Result<(Self, BytesMut)> {
        let unreadable = |why: &str| -> StorageError { damaged(key, &format!("no state of an upload: {why}")) };
        let end = content.iter().position(|b| *b == b'\n').ok_or_else(|| unreadable("its first line has no end"))?;
        let state = serde_json::from_slice(&content[..end]).map_err(|error| unreadable(&error.to_string()))?;
        Ok((state, BytesMut::from(&content[end + 1..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_turn_has_an_object_of_its_own_unless_parts_of_one_are_there() {
        let mut state = State::new(b"");
        let before = state.data;
        state.begin_turn();
        assert_ne!(state.data, before);
        let of_parts = state.data;
        state.upload = Some("upload".into());
        state.begin_turn();
        assert_eq!(state.data, of_parts);
    }

    proptest! {
        #[test]
        fn a_state_comes_back_with_the_bytes_behind_it(
            note: Vec<u8>, size: u64, rest: Vec<u8>, parts in prop::collection::vec("\"[0-9a-f]{32}\"", 0..5)
        ) {
            let mut state = State::new(&note);
            state.advance(size, &Hasher::new(Algorithm::Sha512));
            (state.upload, state.parts) = (Some("up\"load\n".into()), parts);
            let content = state.write("k", &rest).unwrap();
            let (read, behind) = State::read("k", &content.into()).unwrap();
            prop_assert_eq!(&read, &state);
            prop_assert_eq!(behind.to_vec(), rest);
            prop_assert_eq!(read.view(), SessionView { note: note.into(), size });
            prop_assert_eq!(read.hasher("k").unwrap().algorithm(), Algorithm::Sha512);
        }

        #[test]
        fn foreign_bytes_are_an_error_that_names_the_key(bytes: Vec<u8>) {
            let error = State::read("uploads/x", &bytes.into()).map(drop).unwrap_err();
            prop_assert!(error.to_string().contains("uploads/x"));
        }
    }
}
