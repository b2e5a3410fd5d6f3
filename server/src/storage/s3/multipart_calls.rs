//! The calls of multipart uploads.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::calls::Bucket;
use super::client::patient;
use super::clock::StoreClock;
use super::failure::Failure;
use crate::storage::health::Trouble;

/// How often an upload is aborted until the store lists no part of it any more.
const ABORTS: u32 = 5;
/// Pause before the second attempt; it doubles.
const ABORT_PAUSE: Duration = Duration::from_millis(100);

/// An upload that was neither completed nor aborted.
pub(super) struct Unfinished {
    /// Without the store's root.
    pub key: String,
    pub upload: String,
    /// By the store's clock.
    pub age: Option<Duration>,
}

fn number(index: usize) -> i32 {
    i32::try_from(index + 1).unwrap_or(i32::MAX)
}

fn unnamed() -> Failure {
    let message = "the store answered without what it was asked for".to_owned();
    Failure::Unusable { trouble: Trouble::Unreachable, message }
}

impl Bucket {
    pub async fn create_multipart(&self, key: &str) -> Result<String, Failure> {
        let (kind, kms_key) = self.encrypted();
        let call = self.client.load().create_multipart_upload().bucket(&self.name).key(self.key(key));
        let call = call.set_server_side_encryption(kind).set_ssekms_key_id(kms_key);
        self.sorted(call.send().await)?.upload_id.ok_or_else(unnamed)
    }

    /// Sends the part of that index, from 0, and brings its `ETag`.
    pub async fn upload_part(&self, key: &str, upload: &str, index: usize, body: Bytes) -> Result<String, Failure> {
        let call = self.client.load().upload_part().bucket(&self.name).key(self.key(key));
        let call = call.upload_id(upload).part_number(number(index)).body(ByteStream::from(body));
        self.sorted(call.customize().config_override(patient()).send().await)?.e_tag.ok_or_else(unnamed)
    }

    /// Makes an object of the parts.
    pub async fn complete_multipart(&self, key: &str, upload: &str, parts: &[String]) -> Result<(), Failure> {
        let part =
            |(index, etag): (usize, &String)| CompletedPart::builder().part_number(number(index)).e_tag(etag).build();
        let parts = parts.iter().enumerate().map(part).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let call = self.client.load().complete_multipart_upload().bucket(&self.name).key(self.key(key));
        let call = call.upload_id(upload).multipart_upload(parts).customize().config_override(patient());
        let completed = self.sorted(call.send().await)?;
        // A status of 200 is sent before the store knows how it ends: only the object's tag says that it is there.
        completed.e_tag.filter(|etag| !etag.is_empty()).ok_or_else(unnamed).map(drop)
    }

    /// Aborts an upload, until no part is listed any more: one that was on its way may arrive after an abort.
    pub async fn abort_multipart(&self, key: &str, upload: &str) -> Result<(), Failure> {
        let mut pause = ABORT_PAUSE;
        for _ in 0..ABORTS {
            let call = self.client.load().abort_multipart_upload().bucket(&self.name).key(self.key(key));
            match self.sorted(call.upload_id(upload).send().await) {
                Ok(_) | Err(Failure::Missing) => {}
                Err(other) => return Err(other),
            }
            let call = self.client.load().list_parts().bucket(&self.name).key(self.key(key));
            match self.sorted(call.upload_id(upload).max_parts(1).send().await) {
                Ok(listed) if listed.parts().is_empty() => return Ok(()),
                Ok(_) => tokio::time::sleep(pause).await,
                Err(Failure::Missing) => return Ok(()),
                Err(other) => return Err(other),
            }
            pause *= 2;
        }
        let message = format!("{key}: parts of an upload are still there after {ABORTS} aborts");
        Err(Failure::Unusable { trouble: Trouble::Unreachable, message })
    }

    /// All uploads under a prefix that were neither completed nor aborted.
    pub async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, Failure> {
        let (mut found, mut key_marker, mut upload_marker) = (Vec::new(), None, None);
        loop {
            let clock = StoreClock::default();
            let call = self.client.load().list_multipart_uploads().bucket(&self.name).prefix(self.key(prefix));
            let call = call.set_key_marker(key_marker).set_upload_id_marker(upload_marker);
            let page = self.sorted(call.customize().interceptor(clock.clone()).send().await)?;
            for upload in page.uploads() {
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                let Some(key) = key.strip_prefix(&self.root) else { continue };
                let age = upload.initiated().and_then(|since| clock.age(since));
                found.push(Unfinished { key: key.to_owned(), upload: id.to_owned(), age });
            }
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
                return Ok(found);
            }
            (key_marker, upload_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }
}
