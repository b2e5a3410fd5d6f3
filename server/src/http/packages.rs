//! `/api/v1/packages/{name}/{version}`: one package.

use api::{ApiError, PackageContent, PackageInfo, PackageSource, Progress};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;

use super::Server;
use super::answer::{Label, Parameters, Segments, api_error, outside, sent, store_failed};
use crate::audit::Change;
use crate::catalogue::describe;
use crate::catalogue::entry::Entry;
use crate::digest::Digest;
use crate::names::shorten;
use crate::storage::{StorageError, keys};
use crate::uploads::{Status, export, removal};

/// `GET /api/v1/packages/{name}/{version}`.
#[utoipa::path(get, path = "/api/v1/packages/{name}/{version}", tag = "packages",
    params(
        ("name" = String, Path, description = "Name of the package."),
        ("version" = String, Path, description = "Version of the package."),
    ),
    responses(
        (status = 200, description = "The package.", body = PackageInfo),
        (status = 404, description = "There is none.", body = ApiError),
    )
)]
pub async fn describe(State(server): State<Server>, Segments((name, version)): Segments<(String, String)>) -> Response {
    let found = async {
        if let Some(entry) = server.catalogue.package(&name, &version).await? {
            let removal_requested = removal::is_marked(&server.catalogue, &entry).await?;
            return Ok(Some(PackageInfo { removal_requested, ..describe::info(&entry) }));
        }
        Ok::<_, StorageError>(upload_of(&server, &name, &version).await?.as_ref().map(upload_info))
    };
    match found.await {
        Ok(Some(info)) => Json(info).into_response(),
        Ok(None) => no_such_package(&name, &version),
        Err(error) => store_failed(&error),
    }
}

/// Who asks for a removal.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    by: Option<By>,
}

/// Who asks for a removal besides people.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// The operator, which has dealt with its `Package` object.
    Controller,
}

/// `DELETE /api/v1/packages/{name}/{version}`.
#[utoipa::path(delete, path = "/api/v1/packages/{name}/{version}", tag = "packages",
    params(
        ("name" = String, Path, description = "Name of the package."),
        ("version" = String, Path, description = "Version of the package."),
        ("by" = Option<By>, Query, description = "`controller`: the operator, which has dealt with its `Package` object."),
    ),
    responses(
        (status = 202, description = "It is removed, or its removal is asked for.", body = PackageInfo),
        (status = 400, description = "The parameters can't be read.", body = ApiError),
        (status = 404, description = "There is none.", body = ApiError),
        (status = 409, description = "A declaration keeps it, or it is being published.", body = ApiError),
    )
)]
pub async fn remove(
    State(server): State<Server>,
    Segments((name, version)): Segments<(String, String)>,
    Parameters(Removal { by }): Parameters<Removal>,
) -> Response {
    let by_controller = by == Some(By::Controller);
    match server.catalogue.package(&name, &version).await {
        Ok(Some(entry)) if entry.source == PackageSource::Url => {
            let (by, id) = (&entry.declaration.by, &entry.declaration.id);
            let message = format!("{name} {version} is declared by {by} ({id}): delete that declaration instead");
            api_error(StatusCode::CONFLICT, "Conflict", &message)
        }
        Ok(Some(entry)) if server.settings.operator_managed && !by_controller => {
            match removal::set(&server.catalogue, &entry).await {
                Ok(()) => {
                    let info = PackageInfo { removal_requested: true, ..describe::info(&entry) };
                    (StatusCode::ACCEPTED, Json(info)).into_response()
                }
                Err(error) => store_failed(&error),
            }
        }
        Ok(Some(entry)) => withdraw(&server, &entry).await,
        Ok(None) => give_up(&server, &name, &version).await,
        Err(error) => store_failed(&error),
    }
}

async fn withdraw(server: &Server, entry: &Entry) -> Response {
    let mut withdrawn = Vec::new();
    let key = entry.code().ok().map(|code| keys::entry(&code));
    let done = server.catalogue.withdraw(&entry.declaration.id, key.as_ref(), &mut withdrawn).await;
    for entry in withdrawn {
        server.audit.change(&Change {
            action: "remove",
            who: &entry.declaration.by,
            package: &entry.name,
            version: &entry.version,
            digest: &entry.digest,
            declaration: &entry.declaration.id,
        });
    }
    if let Err(error) = done {
        return store_failed(&error);
    }
    if let Err(error) = removal::clear(&server.catalogue, entry).await {
        tracing::warn!(%error, "the mark of a removal that was done stays; it marks no later package");
    }
    let info = PackageInfo { status: api::State::Removing, ..describe::info(entry) };
    (StatusCode::ACCEPTED, Json(info)).into_response()
}

/// Removes what is only on its way.
async fn give_up(server: &Server, name: &str, version: &str) -> Response {
    let status = match upload_of(server, name, version).await {
        Ok(Some(status)) => status,
        Ok(None) => return no_such_package(name, version),
        Err(error) => return store_failed(&error),
    };
    match server.uploads.abandon(&status.id()).await {
        Ok(()) => {
            let info = PackageInfo { status: api::State::Removing, ..upload_info(&status) };
            (StatusCode::ACCEPTED, Json(info)).into_response()
        }
        Err(error) => super::uploads::refused(&error),
    }
}

/// `GET /api/v1/packages/{name}/{version}/content`.
#[utoipa::path(get, path = "/api/v1/packages/{name}/{version}/content", tag = "packages",
    params(
        ("name" = String, Path, description = "Name of the package."),
        ("version" = String, Path, description = "Version of the package."),
    ),
    responses(
        (status = 200, description = "Everything that the package consists of.", body = PackageContent),
        (status = 404, description = "There is no such package.", body = ApiError),
    )
)]
pub async fn content(State(server): State<Server>, Segments((name, version)): Segments<(String, String)>) -> Response {
    match server.catalogue.package(&name, &version).await {
        Ok(Some(entry)) => Json(export::content_of(&entry)).into_response(),
        Ok(None) => no_such_package(&name, &version),
        Err(error) => store_failed(&error),
    }
}

/// `GET /api/v1/packages/{name}/{version}/blobs/{digest}`.
#[utoipa::path(get, path = "/api/v1/packages/{name}/{version}/blobs/{digest}", tag = "packages",
    params(
        ("name" = String, Path, description = "Name of the package."),
        ("version" = String, Path, description = "Version of the package."),
        ("digest" = String, Path, description = "`sha256:<hex>` of a file or blob of the package."),
        ("range" = Option<String>, Header, description = "One range of bytes."),
    ),
    responses(
        (status = 200, description = "The bytes.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "Some of the bytes.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "They are known."),
        (status = 404, description = "The package has no such file or blob.", body = ApiError),
        (status = 416, description = "The range lies outside.", body = ApiError),
    )
)]
pub async fn blob(
    State(server): State<Server>,
    method: Method,
    Segments((name, version, digest)): Segments<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let none = || {
        let digest = shorten(&digest);
        api_error(StatusCode::NOT_FOUND, "NotFound", &format!("{name} {version} has no file or blob {digest:?}"))
    };
    let entry = match server.catalogue.package(&name, &version).await {
        Ok(Some(entry)) => entry,
        Ok(None) => return no_such_package(&name, &version),
        Err(error) => return store_failed(&error),
    };
    let Ok(parsed) = digest.parse::<Digest>() else { return none() };
    if !export::has(&entry, &digest) {
        return none();
    }
    let label = Label { media_type: "application/octet-stream", tag: &digest };
    match sent(server.catalogue.storage().as_ref(), &parsed, &method, &headers, &label, None).await {
        Ok(response) => response,
        Err(StorageError::RangeOutside { size, .. }) => {
            let message = format!("the blob has {size} bytes");
            outside(api_error(StatusCode::RANGE_NOT_SATISFIABLE, "Invalid", &message), size)
        }
        Err(StorageError::NotFound { .. }) => none(),
        Err(error) => store_failed(&error),
    }
}

/// The upload of a name and version that says most of where the package is.
async fn upload_of(server: &Server, name: &str, version: &str) -> Result<Option<Status>, StorageError> {
    let all = server.uploads.statuses().await?;
    let of_it = all.into_iter().filter(|status| status.name == name && status.version == version && is_shown(status));
    Ok(of_it.max_by_key(weight))
}

/// An upload that was published and removed since is history.
pub(super) fn is_shown(status: &Status) -> bool {
    status.state != api::State::Added
}

/// What is on its way says more than what waits, and that more than what failed; then the latest.
pub(super) fn weight(status: &Status) -> (u8, Option<u64>) {
    let rank = match status.state {
        api::State::Validating | api::State::Storing => 2,
        api::State::Pending => 1,
        _ => 0,
    };
    (rank, status.accepted)
}

pub(super) fn upload_info(status: &Status) -> PackageInfo {
    PackageInfo {
        name: status.name.clone(),
        version: status.version.clone(),
        status: status.state,
        message: status.message.clone(),
        release_version: None,
        packaging_version: None,
        added_at: None,
        size: Some(status.size),
        digest: Some(status.digest.clone()),
        source: Some(PackageSource::Upload),
        removal_requested: false,
        progress: status.is_in_work().then_some(Progress { bytes_done: status.size, bytes_total: Some(status.size) }),
        managed_by: None,
        declared_by: None,
        images: Vec::new(),
    }
}

fn no_such_package(name: &str, version: &str) -> Response {
    let message = format!("Version [{version}] of package [{name}] not found");
    api_error(StatusCode::NOT_FOUND, "NotFound", &message)
}
