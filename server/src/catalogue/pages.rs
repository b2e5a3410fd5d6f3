//! Places of the store that a listing finds, a page at a time.

use std::time::Duration;

use crate::storage::keys::Place;
use crate::storage::{Item, Listing, PAGE, Storage, StorageError, Version};

/// Something that a listing found.
pub(super) struct Listed {
    pub(super) place: Place,
    pub(super) size: u64,
    pub(super) state: Version,
    pub(super) age: Option<Duration>,
}

/// A listing of everything under a prefix.
pub(super) struct Pages<'a> {
    storage: &'a dyn Storage,
    prefix: &'a str,
    cursor: Cursor,
}

/// How far a listing is.
enum Cursor {
    Start,
    Behind(String),
    End,
}

impl<'a> Pages<'a> {
    pub(super) fn new(storage: &'a dyn Storage, prefix: &'a str) -> Self {
        Self { storage, prefix, cursor: Cursor::Start }
    }

    /// The places on the next page; nothing behind the last one. What isn't of the tree is nobody's to judge, and left out.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Listed>>, StorageError> {
        let after = match &self.cursor {
            Cursor::Start => None,
            Cursor::Behind(last) => Some(last.as_str()),
            Cursor::End => return Ok(None),
        };
        let page = self.storage.list(Listing { prefix: self.prefix, folders: false, after, limit: PAGE }).await?;
        self.cursor = match page.items.last() {
            Some(last) if page.more => Cursor::Behind(last.name().to_owned()),
            _ => Cursor::End,
        };
        let listed = |item| match item {
            Item::Object { key, size, version, age } => {
                Place::of(&key).map(|place| Listed { place, size, state: version, age })
            }
            Item::Folder(_) => None,
        };
        Ok(Some(page.items.into_iter().filter_map(listed).collect()))
    }
}
