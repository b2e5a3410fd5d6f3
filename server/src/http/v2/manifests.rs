//! Manifests and tags that come and go, and blobs that go.

use axum::body::Body;
use axum::body::HttpBody as _;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};

use super::super::answer::insert;
use super::super::arriving::arriving;
use super::error::V2Error;
use super::{CONTENT_DIGEST, Call};
use crate::auth::table;
use crate::digest::Digest;
use crate::images::{ImageError, MANIFEST_LIMIT, Named};
use crate::names::Repository;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

impl Call<'_> {
    /// `PUT …/manifests/<reference>`.
    pub(super) async fn put_manifest(
        &self,
        repository: &Repository,
        named: &Named,
        body: Body,
    ) -> Result<Response, V2Error> {
        let bytes = whole(body).await?;
        let content_type = self.parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let may_move = || self.may(table::MOVE_OF_A_PACKAGES_TAG).boxed();
        let accepted = self.images.put_manifest(repository, named, content_type, bytes, &may_move).await?;
        let mut response = StatusCode::CREATED.into_response();
        let headers = response.headers_mut();
        let digest = accepted.digest.to_string();
        insert(headers, LOCATION, &format!("/v2/{repository}/manifests/{digest}"));
        insert(headers, CONTENT_DIGEST, &digest);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        if let Some(subject) = accepted.subject {
            insert(headers, SUBJECT, &subject.to_string());
        }
        Ok(response)
    }

    /// `DELETE …/manifests/<reference>`: a tag alone, or a manifest with its tags.
    pub(super) async fn remove_manifest(&self, repository: &Repository, named: Named) -> Result<Response, V2Error> {
        let (removed, name) = match &named {
            Named::Tag(tag) => (self.images.remove_tag(repository, tag).await, format!("{repository}:{tag}")),
            Named::Digest(digest) => {
                (self.images.remove_manifest(repository, digest).await, format!("{repository}@{digest}"))
            }
        };
        removed.map_err(|error| match error {
            ImageError::ManifestUnknown => V2Error::ManifestUnknown(name),
            other => other.into(),
        })?;
        Ok(StatusCode::ACCEPTED.into_response())
    }

    /// `DELETE …/blobs/<digest>`.
    pub(super) async fn remove_blob(&self, repository: &Repository, digest: &Digest) -> Result<Response, V2Error> {
        self.images.remove_blob(repository, digest).await.map_err(|error| match error {
            ImageError::BlobUnknown => V2Error::BlobUnknown(format!("{repository}@{digest}")),
            other => other.into(),
        })?;
        Ok(StatusCode::ACCEPTED.into_response())
    }
}

/// A manifest's bytes, counted while they come.
async fn whole(body: Body) -> Result<Bytes, V2Error> {
    if body.size_hint().lower() > MANIFEST_LIMIT {
        return Err(V2Error::ManifestTooLarge);
    }
    let mut body = arriving(body);
    let mut all = BytesMut::new();
    while let Some(next) = body.next().await {
        let bytes = next.map_err(|why| ImageError::Interrupted { why, size: 0 })?;
        if (all.len() + bytes.len()) as u64 > MANIFEST_LIMIT {
            return Err(V2Error::ManifestTooLarge);
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}
