//! Bytes on their way into the bucket, in parts as they come; what is shorter than a part waits in memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::failure::stopped;
use super::inner::Inner;
use super::leftovers::Leftover;
use super::part_size::{MOST_PARTS, part_size};
use super::staged::Staged;
use crate::storage::{Result, StorageError, keys};

/// Parts of one upload that are sent at the same time.
const AT_ONCE: usize = 3;

/// An object that grows.
pub(super) struct Parts {
    inner: Arc<Inner>,
    pub data: Uuid,
    /// The multipart upload, once there was enough for a part.
    pub upload: Option<String>,
    /// `ETag`s of the parts that arrived; those on their way have empty ones.
    pub arrived: Vec<String>,
    on_their_way: JoinSet<Result<(usize, String)>>,
    /// What is not part of a part yet.
    pub rest: BytesMut,
}

impl Parts {
    pub fn new(inner: Arc<Inner>) -> Self {
        Self::resume(inner, Uuid::new_v4(), None, Vec::new(), BytesMut::new())
    }

    /// Goes on with what arrived before.
    pub fn resume(inner: Arc<Inner>, data: Uuid, upload: Option<String>, arrived: Vec<String>, rest: BytesMut) -> Self {
        Self { inner, data, upload, arrived, on_their_way: JoinSet::new(), rest }
    }

    pub async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let size = part_size(self.arrived.len() + 1);
            // A part is only sent when it is certain that there is more: the last one ends the object.
            if self.rest.len() >= size {
                let part = self.rest.split_to(size).freeze();
                self.send(part).await?;
            }
            let room = size.saturating_sub(self.rest.len());
            self.rest.extend_from_slice(&bytes.split_to(bytes.len().min(room.max(1))));
        }
        Ok(())
    }

    async fn upload(&mut self) -> Result<String> {
        if let Some(upload) = &self.upload {
            return Ok(upload.clone());
        }
        let key = keys::data(self.data);
        let upload = self.inner.bucket.create_multipart(&key).await.map_err(|failure| failure.at(key))?;
        self.upload = Some(upload.clone());
        Ok(upload)
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        let (upload, key) = (self.upload().await?, keys::data(self.data));
        if self.arrived.len() == MOST_PARTS {
            return Err(StorageError::TooLarge { key, limit: (1..=MOST_PARTS).map(|n| part_size(n) as u64).sum() });
        }
        while self.on_their_way.len() >= AT_ONCE {
            self.take_one().await?;
        }
        let index = self.arrived.len();
        self.arrived.push(String::new());
        let inner = Arc::clone(&self.inner);
        self.on_their_way.spawn(async move {
            let _slot = inner.part_slots.acquire().await.map_err(stopped)?;
            let sent = inner.bucket.upload_part(&key, &upload, index, part).await;
            sent.map(|etag| (index, etag)).map_err(|failure| failure.at(key))
        });
        Ok(())
    }

    /// Waits for one part; false if none is on its way.
    async fn take_one(&mut self) -> Result<bool> {
        let Some(done) = self.on_their_way.join_next().await else { return Ok(false) };
        let (index, etag) = done.map_err(stopped)??;
        if let Some(place) = self.arrived.get_mut(index) {
            *place = etag;
        }
        Ok(true)
    }

    /// Waits until every part that was sent has arrived.
    pub async fn settle(&mut self) -> Result<()> {
        while self.take_one().await? {}
        Ok(())
    }

    /// Sends what is left as the last part, and waits until all have arrived. To be called where there is an upload.
    pub async fn send_rest(&mut self) -> Result<()> {
        let rest = self.rest.split().freeze();
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        self.settle().await
    }

    /// Sends what is left. The object isn't made yet if it has parts.
    pub async fn finish(mut self, mut leftover: Leftover) -> Result<Staged> {
        if self.upload.is_some() {
            self.send_rest().await?;
            return Ok(Staged::new(self.inner, self.data, self.arrived, leftover));
        }
        let (rest, key) = (self.rest.split().freeze(), keys::data(self.data));
        leftover.may_be_an_object();
        self.inner.bucket.put_large(&key, rest).await.map_err(|failure| failure.at(key))?;
        Ok(Staged::new(self.inner, self.data, Vec::new(), leftover))
    }
}
