//! `GET /v2/_catalog`: a walk over the folders of the repositories, as far as one page needs.

use std::collections::VecDeque;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::LINK;
use serde_json::json;

use super::super::Server;
use super::super::answer::insert;
use super::error::V2Error;
use super::page::Wanted;
use crate::names::Repository;
use crate::storage::{Item, Listing, PAGE, Storage, StorageError, keys};

/// `GET /v2/_catalog`.
pub async fn catalog(server: &Server, uri: &Uri) -> Result<Response, V2Error> {
    let wanted = Wanted::of(uri.query().unwrap_or_default())?;
    let storage = server.catalogue.storage().as_ref();
    let mut names = repositories(storage, wanted.last.as_deref(), wanted.count + 1).await?;
    let more = names.len() > wanted.count;
    names.truncate(wanted.count);
    let link = names.last().filter(|_| more).map(|last| wanted.next(uri.path(), last));
    let mut response = Json(json!({ "repositories": names })).into_response();
    if let Some(link) = link {
        insert(response.headers_mut(), LINK, &link);
    }
    Ok(response)
}

/// A folder on the way, and which of its folders are still to be looked at.
struct Step {
    prefix: String,
    folders: VecDeque<String>,
    more: bool,
}

/// Names behind `last`, at most `count`, ordered by the bytes of the name with `/` at its end.
async fn repositories(storage: &dyn Storage, last: Option<&str>, count: usize) -> Result<Vec<String>, StorageError> {
    let last = last.map(|last| format!("{}{last}/", keys::REPOSITORIES)).unwrap_or_default();
    let mut names = Vec::new();
    let mut steps = vec![open(storage, keys::REPOSITORIES.to_owned(), None).await?];
    while let Some(step) = steps.last_mut() {
        if names.len() >= count {
            break;
        }
        let Some(folder) = step.folders.pop_front() else {
            steps.pop();
            continue;
        };
        if step.folders.is_empty() && step.more {
            let prefix = step.prefix.clone();
            *step = open(storage, prefix, Some(&folder)).await?;
        }
        // Folders of a repository's own start with `_` and are no repositories.
        let Some(name) = keys::repository_folder(&folder) else { continue };
        let behind = folder > last;
        if !behind && !last.starts_with(&folder) {
            continue;
        }
        if behind && has_content(storage, &name).await? {
            names.push(name.to_string());
        }
        steps.push(open(storage, folder, None).await?);
    }
    Ok(names)
}

async fn open(storage: &dyn Storage, prefix: String, after: Option<&str>) -> Result<Step, StorageError> {
    let page = storage.list(Listing { prefix: &prefix, folders: true, after, limit: PAGE }).await?;
    let folders = page
        .items
        .into_iter()
        .filter_map(|item| match item {
            Item::Folder(folder) => Some(folder),
            Item::Object { .. } => None,
        })
        .collect();
    Ok(Step { prefix, folders, more: page.more })
}

/// Whether there is anything of a repository's own. Objects are looked for: some S3 services go on listing folders that have
/// none any more.
pub(super) async fn has_content(storage: &dyn Storage, repository: &Repository) -> Result<bool, StorageError> {
    let prefix = keys::own_content(repository);
    let page = storage.list(Listing { prefix: &prefix, folders: false, after: None, limit: 1 }).await?;
    Ok(!page.items.is_empty())
}
