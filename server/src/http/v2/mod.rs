//! `/v2/`: images, as the OCI Distribution Specification 1.1 says. The reading side.

mod catalog;
pub(super) mod error;
mod page;
mod path;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use url::Url;

use super::Server;
use super::answer::{Label, head, insert, object, wanted};
use crate::catalogue::entry::{Link, TagTarget};
use crate::digest::Digest;
use crate::names::Repository;
use crate::storage::{Key, StorageError, keys};
use error::V2Error;
use path::{Reference, Target};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// Most bytes of a tag or a link.
const SMALL: u64 = 64 << 10;

/// Everything under `/v2/`.
pub async fn serve(State(server): State<Server>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let answered = if matches!(method, Method::GET | Method::HEAD) {
        read(&server, &method, &uri, &headers).await
    } else {
        Err(V2Error::Unsupported("this registry takes no pushes; packages bring its images"))
    };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn read(server: &Server, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Response, V2Error> {
    match path::parse(uri.path())? {
        Target::Base => {
            let json = HeaderValue::from_static("application/json");
            Ok(([(CONTENT_TYPE, json)], Body::from("{}")).into_response())
        }
        Target::Catalog => catalog::catalog(server, uri).await,
        Target::Tags(repository) => page::tags(server, &repository, uri).await,
        Target::Manifest(repository, reference) => manifest(server, method, headers, &repository, reference).await,
        Target::Blob(repository, digest) => blob(server, method, headers, &repository, &digest).await,
    }
}

async fn manifest(
    server: &Server,
    method: &Method,
    headers: &HeaderMap,
    repository: &Repository,
    reference: Reference,
) -> Result<Response, V2Error> {
    let (digest, link) = match reference {
        Reference::Digest(digest) => {
            let unknown = || V2Error::ManifestUnknown(format!("{repository}@{digest}"));
            let link: Link = small(server, &keys::manifest_link(repository, &digest)).await?.ok_or_else(unknown)?;
            (digest, link)
        }
        Reference::Tag(tag) => {
            let unknown = || V2Error::ManifestUnknown(format!("{repository}:{tag}"));
            let target: TagTarget = small(server, &keys::tag(repository, &tag)).await?.ok_or_else(unknown)?;
            let digest: Digest = target.digest.parse().map_err(|_| unknown())?;
            (digest, Link { media_type: target.media_type, size: target.size })
        }
    };
    let tag = digest.to_string();
    let label = Label { media_type: &link.media_type, tag: &tag };
    let missing = || V2Error::ManifestUnknown(format!("{repository}@{digest}"));
    content(server, method, headers, &digest, &label, Some(link.size)).await?.ok_or_else(missing)
}

async fn blob(
    server: &Server,
    method: &Method,
    headers: &HeaderMap,
    repository: &Repository,
    digest: &Digest,
) -> Result<Response, V2Error> {
    let unknown = || V2Error::BlobUnknown(format!("{repository}@{digest}"));
    let tag = digest.to_string();
    let label = Label { media_type: "application/octet-stream", tag: &tag };
    if let Some(url) = direct_url(server, method, digest).await? {
        if !is_linked(server, repository, digest).await? {
            return Err(unknown());
        }
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url.as_str())]).into_response());
    }
    // The link and the bytes are looked up at the same time; only both together are an answer.
    let linked = is_linked(server, repository, digest);
    let (linked, found) = tokio::join!(linked, content(server, method, headers, digest, &label, None));
    if !linked? {
        return Err(unknown());
    }
    found?.ok_or_else(unknown)
}

/// Where the store itself hands out a blob that is to be read; `None` where this server does.
async fn direct_url(server: &Server, method: &Method, digest: &Digest) -> Result<Option<Url>, StorageError> {
    if *method != Method::GET {
        return Ok(None);
    }
    match server.catalogue.storage().direct_url(&keys::blob(digest)).await {
        Err(error) if error.is_not_found() => Ok(None),
        other => other,
    }
}

/// Whether a repository serves a blob. Manifests are blobs too.
async fn is_linked(server: &Server, repository: &Repository, digest: &Digest) -> Result<bool, StorageError> {
    let storage = server.catalogue.storage();
    for key in [keys::blob_link(repository, digest), keys::manifest_link(repository, digest)] {
        if storage.was_there(&key).await? {
            return Ok(true);
        }
    }
    Ok(false)
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
    let (storage, key) = (server.catalogue.storage(), keys::blob(digest));
    let answered = async {
        if let Some(unmodified) = label.unmodified(headers) {
            return Ok(unmodified);
        }
        match (method, size) {
            (&Method::HEAD, Some(size)) => Ok(head(size, label)),
            (&Method::HEAD, None) => Ok(head(storage.size(&key).await?, label)),
            _ => object(storage.read(&key, wanted(method, headers, label)).await?, label).await,
        }
    };
    match answered.await {
        Ok(mut response) => {
            insert(response.headers_mut(), CONTENT_DIGEST, label.tag);
            Ok(Some(response))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A small JSON object of the store; `None` if it isn't there.
async fn small<T: serde::de::DeserializeOwned>(server: &Server, key: &Key) -> Result<Option<T>, V2Error> {
    match server.catalogue.storage().get(key, SMALL).await {
        Ok((bytes, _)) => Ok(serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::error!(%key, %error, "damaged; treated as not there"))
            .ok()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
