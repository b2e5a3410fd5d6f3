//! Manifests and blobs as answers.

use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::super::Server;
use super::super::answer::{Label, insert, sent};
use super::error::V2Error;
use super::{CONTENT_DIGEST, Call};
use crate::digest::Digest;
use crate::images::Named;
use crate::names::Repository;
use crate::storage::{StorageError, keys};

impl Call<'_> {
    /// `GET` and `HEAD` of `…/manifests/<reference>`.
    pub(super) async fn manifest(&self, repository: &Repository, named: Named) -> Result<Response, V2Error> {
        let (server, method, headers) = (self.server, &self.parts.method, &self.parts.headers);
        let (digest, media_type, size) = match named {
            Named::Digest(digest) => {
                let unknown = || V2Error::ManifestUnknown(format!("{repository}@{digest}"));
                let link = self.images.manifest_link(repository, &digest).await?.ok_or_else(unknown)?;
                (digest, link.media_type, link.size)
            }
            Named::Tag(tag) => {
                let unknown = || V2Error::ManifestUnknown(format!("{repository}:{tag}"));
                let target = self.images.tag_target(repository, &tag).await?.ok_or_else(unknown)?;
                let digest: Digest = target.digest.parse().map_err(|_| unknown())?;
                (digest, target.media_type, target.size)
            }
        };
        let tag = digest.to_string();
        let label = Label { media_type: &media_type, tag: &tag };
        let missing = || V2Error::ManifestUnknown(format!("{repository}@{digest}"));
        content(server, method, headers, &digest, &label, Some(size)).await?.ok_or_else(missing)
    }

    /// `GET` and `HEAD` of `…/blobs/<digest>`.
    pub(super) async fn blob(&self, repository: &Repository, digest: &Digest) -> Result<Response, V2Error> {
        let unknown = || V2Error::BlobUnknown(format!("{repository}@{digest}"));
        let tag = digest.to_string();
        let label = Label { media_type: "application/octet-stream", tag: &tag };
        if let Some(url) = self.direct_url(digest).await? {
            if !self.images.serves(repository, digest).await? {
                return Err(unknown());
            }
            return Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url.as_str())]).into_response());
        }
        // The link and the bytes are looked up at the same time; only both together are an answer.
        let linked = async {
            // Who asks whether a blob is there won't push it: it must not be collected before its manifest comes.
            if self.parts.method == Method::HEAD {
                self.images.renew(repository, digest).await
            } else {
                self.images.serves(repository, digest).await
            }
        };
        let found = content(self.server, &self.parts.method, &self.parts.headers, digest, &label, None);
        let (linked, found) = tokio::join!(linked, found);
        if !linked? {
            return Err(unknown());
        }
        found?.ok_or_else(unknown)
    }

    /// Where the store itself hands out a blob that is to be read; `None` where this server does.
    async fn direct_url(&self, digest: &Digest) -> Result<Option<Url>, StorageError> {
        if self.parts.method != Method::GET {
            return Ok(None);
        }
        match self.server.catalogue.storage().direct_url(&keys::blob(digest)).await {
            Err(error) if error.is_not_found() => Ok(None),
            other => other,
        }
    }
}

/// The bytes of a digest as an answer; `None` if the store doesn't have them.
async fn content(
    server: &Server,
    method: &Method,
    headers: &HeaderMap,
    digest: &Digest,
    label: &Label<'_>,
    size: Option<u64>,
) -> Result<Option<Response>, V2Error> {
    match sent(server.catalogue.storage().as_ref(), digest, method, headers, label, size).await {
        Ok(mut response) => {
            insert(response.headers_mut(), CONTENT_DIGEST, label.tag);
            Ok(Some(response))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
