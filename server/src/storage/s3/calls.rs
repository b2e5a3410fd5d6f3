//! The calls that this store makes, one function each, with sorted failures. Keys here are without the store's root.

use std::ops::Range;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{MetadataDirective, ServerSideEncryption};
use bytes::Bytes;

use super::config::Encryption;
use super::failure::{Failure, sort};
use crate::storage::health::{StorageHealth, Trouble};

/// How often a conditional write is tried again that another one got in the way of.
const CONFLICTS: u32 = 8;
/// Pause after the first such conflict; it doubles.
const CONFLICT_PAUSE: Duration = Duration::from_millis(25);

/// What must hold for a write or removal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Precondition<'a> {
    Nothing,
    Absent,
    Matches(&'a str),
}

/// An object that is being read.
pub(super) struct Found {
    pub etag: String,
    /// Bytes of the whole object.
    pub size: u64,
    pub body: ByteStream,
}

/// A bucket, and the part of it that is ours.
pub(super) struct Bucket {
    /// Exchanged when the credentials change.
    pub client: ArcSwap<Client>,
    pub name: String,
    /// Empty, or ends with `/`.
    pub root: String,
    pub encryption: Option<Encryption>,
    pub health: StorageHealth,
}

type Sdk<T, E> = Result<T, SdkError<E, HttpResponse>>;

impl Bucket {
    pub fn key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// Sorts an answer and notes what it says of the store's health.
    pub fn sorted<T, E>(&self, answer: Sdk<T, E>) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let sorted = answer.map_err(|error| sort(&error, &self.name));
        match &sorted {
            Err(Failure::Unusable { trouble, message }) => self.health.failed(*trouble, message),
            Err(Failure::Full | Failure::Conflict) => {}
            Ok(_) | Err(_) => self.health.answered(),
        }
        sorted
    }

    pub async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Found, Failure> {
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        let call = self.client.load().get_object().bucket(&self.name).key(self.key(key)).set_range(range);
        let found = self.sorted(call.send().await)?;
        let length = u64::try_from(found.content_length.unwrap_or_default()).unwrap_or_default();
        let whole = found.content_range.as_deref().and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        Ok(Found { etag: found.e_tag.unwrap_or_default(), size: whole.unwrap_or(length), body: found.body })
    }

    /// Bytes of an object; `None` if it isn't there. A GET, since an answer without a body can't say why it fails.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, Failure> {
        match self.get(key, Some(0..1)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Failure::Missing) => Ok(None),
            // An empty object has no first byte.
            Err(Failure::OutOfRange) => Ok(Some(0)),
            Err(other) => Err(other),
        }
    }

    /// Writes a small object and brings its `ETag`.
    pub async fn put(&self, key: &str, body: Bytes, condition: Precondition<'_>) -> Result<String, Failure> {
        let mut pause = CONFLICT_PAUSE;
        for _ in 0..CONFLICTS {
            let call = self.put_object(key, body.clone());
            let call = match condition {
                Precondition::Nothing => call,
                Precondition::Absent => call.if_none_match("*"),
                Precondition::Matches(etag) => call.if_match(etag),
            };
            match self.sorted(call.send().await) {
                Err(Failure::Conflict) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                // What was to be overwritten isn't there.
                Err(Failure::Missing) => return Err(Failure::Precondition),
                Ok(written) => return Ok(written.e_tag.unwrap_or_default()),
                Err(other) => return Err(other),
            }
        }
        Err(Failure::Conflict)
    }

    /// Writes what may be many bytes, and takes the time for it.
    pub async fn put_large(&self, key: &str, body: Bytes) -> Result<(), Failure> {
        let call = self.put_object(key, body).customize().config_override(super::client::patient());
        self.sorted(call.send().await).map(drop)
    }

    fn put_object(&self, key: &str, body: Bytes) -> PutObjectFluentBuilder {
        let (kind, kms_key) = self.encrypted();
        let call = self.client.load().put_object().bucket(&self.name).key(self.key(key));
        call.body(ByteStream::from(body)).set_server_side_encryption(kind).set_ssekms_key_id(kms_key)
    }

    pub fn encrypted(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.encryption {
            None => (None, None),
            Some(Encryption::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Encryption::Kms(key)) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    pub async fn copy(&self, from: &str, to: &str) -> Result<(), Failure> {
        let (kind, kms_key) = self.encrypted();
        let call = self.client.load().copy_object().bucket(&self.name).key(self.key(to));
        let call = call
            .copy_source(format!("{}/{}", self.name, self.key(from)))
            .metadata_directive(MetadataDirective::Copy)
            .set_server_side_encryption(kind)
            .set_ssekms_key_id(kms_key);
        self.sorted(call.send().await).map(drop)
    }

    /// Removes an object; that it isn't there is no failure.
    pub async fn delete(&self, key: &str, condition: Precondition<'_>) -> Result<(), Failure> {
        let call = self.client.load().delete_object().bucket(&self.name).key(self.key(key));
        let call = match condition {
            Precondition::Matches(etag) => call.if_match(etag),
            Precondition::Nothing | Precondition::Absent => call,
        };
        match self.sorted(call.send().await) {
            Ok(_) | Err(Failure::Missing) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// An address that anybody may read an object at for a while.
    pub async fn presigned(&self, key: &str, time: Duration) -> Result<String, Failure> {
        let failed = |message: String| Failure::Unusable { trouble: Trouble::SecretInvalid, message };
        let time = PresigningConfig::expires_in(time).map_err(|error| failed(error.to_string()))?;
        let call = self.client.load().get_object().bucket(&self.name).key(self.key(key));
        let call = call.response_content_type("application/octet-stream");
        Ok(self.sorted(call.presigned(time).await)?.uri().to_owned())
    }
}
