//! `/api/v1/packages`: the catalogue, for clients and the operator, which asks for it every few seconds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::{PackageInfo, PackageList};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::Server;
use super::answer::{Label, store_failed};
use super::packages::{is_shown, upload_info, weight};
use crate::catalogue::entry::Entry;
use crate::catalogue::{Snapshot, describe};
use crate::storage::StorageError;
use crate::uploads::Status;
use crate::uploads::removal::Removals;

/// `GET /api/v1/packages`.
#[utoipa::path(get, path = "/api/v1/packages", tag = "packages",
    params(("if-none-match" = Option<String>, Header, description = "The `ETag` of an earlier answer.")),
    responses(
        (status = 200, description = "The catalogue, and what is on its way.", body = PackageList),
        (status = 304, description = "Nothing of it changed since that answer."),
    )
)]
pub async fn list(State(server): State<Server>, headers: HeaderMap) -> Response {
    match answer(&server, &headers).await {
        Ok(response) => response,
        Err(error) => store_failed(&error),
    }
}

async fn answer(server: &Server, headers: &HeaderMap) -> Result<Response, StorageError> {
    let ground = Ground::read(server).await?;
    let tag = ground.tag();
    let label = Label { media_type: "application/json", tag: &tag };
    if let Some(unmodified) = label.unmodified(headers) {
        return Ok(unmodified);
    }
    let mut response = Json(PackageList { packages: ground.listed(server).await? }).into_response();
    label.put(response.headers_mut());
    Ok(response)
}

/// What the list is made of, but for the entries themselves: those are read only for who doesn't have the list yet.
struct Ground {
    snapshot: Arc<Snapshot>,
    removals: Removals,
    uploads: Vec<Status>,
}

impl Ground {
    /// Read before the entries, so that a list may be newer than its tag, never older.
    async fn read(server: &Server) -> Result<Self, StorageError> {
        let snapshot = server.catalogue.snapshot().await?;
        let removals = Removals::read(&server.catalogue).await?;
        let uploads = server.uploads.statuses().await?.into_iter().filter(is_shown).collect();
        Ok(Self { snapshot, removals, uploads })
    }

    /// The same on every instance while the same things are in the store.
    fn tag(&self) -> String {
        let mut uploads: Vec<_> = self.uploads.iter().map(|status| serde_json::to_string(status).ok()).collect();
        uploads.sort();
        let packages: Vec<_> = self.snapshot.packages.iter().map(|it| (it.key.as_str(), it.state.as_str())).collect();
        let all = serde_json::json!([packages, self.snapshot.unreadable, self.removals, uploads]);
        HEXLOWER.encode(&Sha256::digest(all.to_string()))
    }

    async fn listed(&self, server: &Server) -> Result<Vec<PackageInfo>, StorageError> {
        let marked =
            |entry: &Entry| PackageInfo { removal_requested: self.removals.has(entry), ..describe::info(entry) };
        let mut packages = server.catalogue.packages(marked).await?;
        let there: HashSet<_> = packages.iter().map(|info| (info.name.as_str(), info.version.as_str())).collect();
        let mut on_the_way: HashMap<(&str, &str), &Status> = HashMap::new();
        for status in &self.uploads {
            let coordinate = (status.name.as_str(), status.version.as_str());
            let other = on_the_way.get(&coordinate);
            if !there.contains(&coordinate) && other.is_none_or(|other| weight(other) < weight(status)) {
                on_the_way.insert(coordinate, status);
            }
        }
        packages.extend(on_the_way.into_values().map(upload_info));
        packages.sort_by(|a, b| {
            let newest_first = b.release_version.cmp(&a.release_version);
            a.name.cmp(&b.name).then(newest_first).then_with(|| a.version.cmp(&b.version))
        });
        Ok(packages)
    }
}
