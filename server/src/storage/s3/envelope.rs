//! The form of small objects: one line with the writer's nonce, then the content.
//!
//! With the nonce no two writes have the same bytes. So the store's `ETag`, often a hash of them, differs after every write
//! and renewal; and whoever lost the answer to a conditional write finds out by reading whether it was his own that won.
//! An object that is a nonce without the line's end is a tombstone: it was removed by a conditional write, on a store that
//! knows no conditional removal. Sizes tell the two apart, so that a listing can.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use uuid::Uuid;

/// Bytes of a nonce in hex digits.
const NONCE: usize = 32;
/// Bytes before the content.
const HEAD: usize = NONCE + 1;

/// Names one attempt to write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Nonce(Uuid);

impl Nonce {
    pub(super) fn random() -> Self {
        Self(Uuid::new_v4())
    }

    fn text(self) -> String {
        HEXLOWER.encode(self.0.as_bytes())
    }
}

/// What an object of this form says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stored {
    Live { nonce: Nonce, content: Bytes },
    Gone { nonce: Nonce },
}

impl Stored {
    /// The content; `None` for a tombstone.
    pub(super) fn into_content(self) -> Option<Bytes> {
        match self {
            Self::Live { content, .. } => Some(content),
            Self::Gone { .. } => None,
        }
    }
    /// Reads an object; `None` for one that isn't of this form.
    pub(super) fn read(mut bytes: Bytes) -> Option<Self> {
        let id: [u8; 16] = HEXLOWER.decode(bytes.get(..NONCE)?).ok()?.try_into().ok()?;
        let nonce = Nonce(Uuid::from_bytes(id));
        match bytes.get(NONCE) {
            None => Some(Self::Gone { nonce }),
            Some(b'\n') => Some(Self::Live { nonce, content: bytes.split_off(HEAD) }),
            Some(_) => None,
        }
    }
}

pub(super) fn live(nonce: Nonce, content: &[u8]) -> Bytes {
    [nonce.text().as_bytes(), b"\n", content].concat().into()
}

pub(super) fn tombstone(nonce: Nonce) -> Bytes {
    nonce.text().into()
}

/// Bytes of the content of an object of so many bytes; `None` for a tombstone, and for what isn't of this form.
pub(super) fn content_size(size: u64) -> Option<u64> {
    size.checked_sub(HEAD as u64)
}

/// Whether an object of so many bytes is a tombstone.
pub(super) fn is_tombstone(size: u64) -> bool {
    size == NONCE as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tombstone_is_told_by_its_size_alone() {
        let nonce = Nonce::random();
        let (gone, empty) = (tombstone(nonce), live(nonce, b""));
        assert_eq!(Stored::read(gone.clone()), Some(Stored::Gone { nonce }));
        assert_eq!(content_size(gone.len() as u64), None);
        assert_eq!(content_size(empty.len() as u64), Some(0));
        assert_eq!(Stored::read(empty), Some(Stored::Live { nonce, content: Bytes::new() }));
    }

    #[test]
    fn two_writes_of_the_same_content_differ() {
        assert_ne!(live(Nonce::random(), b"x"), live(Nonce::random(), b"x"));
    }

    proptest! {
        #[test]
        fn content_comes_back_as_it_was_written(content: Vec<u8>) {
            let nonce = Nonce::random();
            let stored = live(nonce, &content);
            prop_assert_eq!(content_size(stored.len() as u64), Some(content.len() as u64));
            prop_assert_eq!(Stored::read(stored), Some(Stored::Live { nonce, content: content.into() }));
        }

        #[test]
        fn foreign_bytes_are_told(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(stored) = Stored::read(bytes.clone().into()) {
                let again = match &stored {
                    Stored::Live { nonce, content } => live(*nonce, content),
                    Stored::Gone { nonce } => tombstone(*nonce),
                };
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
