//! Listings: the bucket's, without what isn't of the tree that others see.

use std::time::Duration;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;

use super::clock::StoreClock;
use super::envelope::content_size;
use super::failure::{Failure, damaged};
use super::inner::Inner;
use crate::storage::{Item, Listing, PAGE, Page, Result, Version, keys};

/// Sorts behind every character of our keys.
const LAST: char = '~';

/// Where the next call of a listing begins.
enum From {
    /// Behind a key, with the store's root.
    Key(String),
    /// Where the last answer ended.
    Token(String),
}

impl Inner {
    /// One page of keys.
    pub async fn page(&self, listing: &Listing<'_>) -> Result<Page> {
        let mut page = Page::default();
        // Everything in a folder sorts behind it, so a folder is passed as a whole.
        let mut from = listing.after.map(|after| {
            let behind = if after.ends_with('/') { format!("{after}{LAST}") } else { after.to_owned() };
            From::Key(self.bucket.key(&behind))
        });
        loop {
            let clock = StoreClock::default();
            let wanted = (listing.limit - page.items.len()).min(PAGE);
            let answer = self.answer(listing, from.as_ref(), wanted, &clock).await;
            let answer = answer.map_err(|failure| failure.at(listing.prefix))?;
            let items = self.items(&answer, &clock)?;
            let last = items.last().map(|item| item.name().to_owned());
            let more = answer.is_truncated == Some(true);
            let visible = items.into_iter().filter_map(visible);
            page.items.extend(visible.filter(|item| listing.after.is_none_or(|after| item.name() > after)));
            page.more = more;
            let in_data = last.is_some_and(|last| last.starts_with(keys::DATA));
            from = match answer.next_continuation_token {
                _ if !more || page.items.len() >= listing.limit => return Ok(page),
                // None of what may be very much is to be seen.
                _ if in_data => Some(From::Key(self.bucket.key(&format!("{}{LAST}", keys::DATA)))),
                Some(token) => Some(From::Token(token)),
                None => return Err(damaged(listing.prefix, "the store's listing has no end and goes nowhere")),
            };
        }
    }

    async fn answer(
        &self,
        listing: &Listing<'_>,
        from: Option<&From>,
        wanted: usize,
        clock: &StoreClock,
    ) -> Result<ListObjectsV2Output, Failure> {
        let call = self.bucket.client.load().list_objects_v2().bucket(&self.bucket.name);
        let call = call
            .prefix(self.bucket.key(listing.prefix))
            .set_delimiter(listing.folders.then(|| "/".to_owned()))
            .max_keys(i32::try_from(wanted).unwrap_or(i32::MAX));
        let call = match from {
            None => call,
            Some(From::Key(key)) => call.start_after(key),
            Some(From::Token(token)) => call.continuation_token(token),
        };
        self.bucket.sorted(call.customize().interceptor(clock.clone()).send().await)
    }

    /// Everything of an answer, sorted by the bytes of the names.
    fn items(&self, answer: &ListObjectsV2Output, clock: &StoreClock) -> Result<Vec<Item>> {
        let name = |key: Option<&str>| {
            let key = key.unwrap_or_default();
            let name = key.strip_prefix(&self.bucket.root).map(ToOwned::to_owned);
            name.ok_or_else(|| damaged(key, "the store lists what wasn't asked for"))
        };
        let mut items = Vec::new();
        for object in answer.contents() {
            items.push(Item::Object {
                key: name(object.key())?,
                size: u64::try_from(object.size().unwrap_or_default()).unwrap_or_default(),
                version: Version::new(object.e_tag().unwrap_or_default()),
                age: object.last_modified().and_then(|since| clock.age(since)),
            });
        }
        for folder in answer.common_prefixes() {
            items.push(Item::Folder(name(folder.prefix())?));
        }
        items.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(items)
    }

    /// Every object of the bucket under a prefix, with the bytes that it has there.
    pub async fn each_object(
        &self,
        prefix: &str,
        mut each: impl FnMut(String, u64, Option<Duration>) + Send,
    ) -> Result<()> {
        let mut from: Option<From> = None;
        let listing = Listing { prefix, folders: false, after: None, limit: PAGE };
        loop {
            let clock = StoreClock::default();
            let answer = self.answer(&listing, from.as_ref(), PAGE, &clock).await;
            let answer = answer.map_err(|failure| failure.at(prefix))?;
            for item in self.items(&answer, &clock)? {
                if let Item::Object { key, size, age, .. } = item {
                    each(key, size, age);
                }
            }
            match answer.next_continuation_token.filter(|_| answer.is_truncated == Some(true)) {
                Some(token) => from = Some(From::Token(token)),
                None => return Ok(()),
            }
        }
    }
}

/// An item of the tree that others see, with the bytes of its content; `None` for one that isn't of that tree.
fn visible(item: Item) -> Option<Item> {
    if item.name().starts_with(keys::DATA) {
        return None;
    }
    match item {
        Item::Object { key, size, version, age } => Some(Item::Object { key, size: content_size(size)?, version, age }),
        folder @ Item::Folder(_) => Some(folder),
    }
}
