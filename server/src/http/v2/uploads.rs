//! Blobs on their way in: sessions, their pieces, their end; blobs that come whole or from another repository.

use axum::body::Body;
use axum::body::HttpBody as _;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use url::form_urlencoded;

use super::super::answer::insert;
use super::super::arriving::arriving;
use super::error::V2Error;
use super::{CONTENT_DIGEST, Call, content_range, path};
use crate::auth::table::Verb;
use crate::digest::Digest;
use crate::images::{ImageError, Span};
use crate::names::Repository;
use crate::storage::SessionId;

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const LEAST_PIECE: HeaderName = HeaderName::from_static("oci-chunk-min-length");

impl Call<'_> {
    /// `POST …/blobs/uploads/`: a session; the blob itself with `digest`; another repository's blob with `mount` and `from`.
    pub(super) async fn begin_upload(&self, repository: &Repository, body: Body) -> Result<Response, V2Error> {
        if let Some(digest) = self.query("digest") {
            let digest = path::digest(&digest)?;
            self.images.upload_whole(repository, &digest, arriving(body)).await?;
            return Ok(created(repository, &digest));
        }
        if let Some(digest) = self.query("mount") {
            let digest = path::digest(&digest)?;
            if self.mount(repository, &digest).await? {
                return Ok(created(repository, &digest));
            }
        }
        let id = self.images.begin_upload(repository).await?;
        let mut response = progress(StatusCode::ACCEPTED, repository, id, 0);
        let least = self.images.least_piece();
        if least > 0 {
            response.headers_mut().insert(LEAST_PIECE, HeaderValue::from(least));
        }
        Ok(response)
    }

    /// Whether the blob could be had from the repository that `from` names. Who may not pull is told nothing of what is
    /// there: the answer is then as if it weren't. Without `from` nothing is looked for: a blob that is somewhere in the
    /// store, and in no repository, isn't anybody's.
    async fn mount(&self, repository: &Repository, digest: &Digest) -> Result<bool, V2Error> {
        let Some(from) = self.query("from").and_then(|from| from.parse::<Repository>().ok()) else { return Ok(false) };
        let may_pull = self.server.settings.anonymous_pull || self.may(Verb::Get).await.is_ok();
        Ok(may_pull && self.images.mount(repository, &from, digest).await?)
    }

    /// `GET` of a session: how far it is.
    pub(super) async fn upload_status(&self, repository: &Repository, id: SessionId) -> Result<Response, V2Error> {
        let size = self.images.upload_size(repository, id).await?;
        Ok(progress(StatusCode::NO_CONTENT, repository, id, size))
    }

    /// `PATCH` of a session: the next piece.
    pub(super) async fn append(&self, repository: &Repository, id: SessionId, body: Body) -> Result<Response, V2Error> {
        let span = self.span(&body)?;
        match self.images.append(repository, id, span, arriving(body)).await {
            Ok(size) => Ok(progress(StatusCode::ACCEPTED, repository, id, size)),
            Err(error) => out_of_order(error, repository, id),
        }
    }

    /// `PUT` of a session: its end, with a last piece or without.
    pub(super) async fn finish_upload(
        &self,
        repository: &Repository,
        id: SessionId,
        body: Body,
    ) -> Result<Response, V2Error> {
        let Some(digest) = self.query("digest") else {
            return Err(V2Error::DigestInvalid(
                "the query must name the digest of the whole blob: ?digest=sha256:…".into(),
            ));
        };
        let digest = path::digest(&digest)?;
        let length = body.size_hint().exact();
        let span = if length == Some(0) { None } else { self.span(&body)? };
        let finished = self.images.finish_upload(repository, id, &digest, span, length, arriving(body)).await;
        match finished {
            Ok(()) => Ok(created(repository, &digest)),
            Err(error) => out_of_order(error, repository, id),
        }
    }

    /// `DELETE` of a session.
    pub(super) async fn cancel_upload(&self, repository: &Repository, id: SessionId) -> Result<Response, V2Error> {
        self.images.cancel_upload(repository, id).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// Which bytes a piece says it is.
    fn span(&self, body: &Body) -> Result<Option<Span>, V2Error> {
        let Some(value) = self.parts.headers.get(CONTENT_RANGE) else { return Ok(None) };
        let wrong = V2Error::UploadInvalid("Content-Range must be <first byte>-<last byte>, both included");
        let span = value.to_str().ok().and_then(content_range::parse).ok_or(wrong)?;
        match body.size_hint().exact() {
            Some(length) if length != span.length() => Err(V2Error::SizeInvalid(format!(
                "Content-Range says that {} bytes come, Content-Length {length}",
                span.length()
            ))),
            _ => Ok(Some(span)),
        }
    }

    /// A value of the query; the first one counts.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let query = self.parts.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// 201 with where the blob can be pulled.
fn created(repository: &Repository, digest: &Digest) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    insert(headers, LOCATION, &format!("/v2/{repository}/blobs/{digest}"));
    insert(headers, CONTENT_DIGEST, &digest.to_string());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    response
}

/// How far a session is, and where it goes on: a path alone, so that it holds behind every name of the registry.
fn progress(status: StatusCode, repository: &Repository, id: SessionId, size: u64) -> Response {
    let mut response = status.into_response();
    tell(response.headers_mut(), repository, id, size);
    response
}

fn tell(headers: &mut HeaderMap, repository: &Repository, id: SessionId, size: u64) {
    insert(headers, LOCATION, &format!("/v2/{repository}/blobs/uploads/{id}"));
    insert(headers, RANGE, &content_range::so_far(size));
    insert(headers, UPLOAD_UUID, &id.to_string());
}

/// A piece out of order is answered with where the upload is.
fn out_of_order(error: ImageError, repository: &Repository, id: SessionId) -> Result<Response, V2Error> {
    let ImageError::OutOfOrder { size } = error else { return Err(error.into()) };
    let mut response = V2Error::from(error).into_response();
    tell(response.headers_mut(), repository, id, size);
    Ok(response)
}
