//! A Package whose source is an upload: its content is in the registry already, or nowhere.

use std::{sync::Arc, time::Instant};

use api::{Declaration, PackageInfo};
use crds::{Package, UploadSource};
use kube::ResourceExt;

use super::{
    apply::{Answer, weigh},
    catalogue::{is_upload, published},
    dereference::{Dereferenced, dereference},
    error::{ContentMissingSnafu, Error},
    memory::{Ask, Wish},
    reconcile::PackageContext,
    validate::ServingRegistry,
};
use crate::{context::Context, server_client::ServerClient};

/// What the registry says of the upload.
///
/// # Errors
/// [`Error::ContentMissing`] when it hasn't it; when the server can't be asked.
pub(super) async fn look(
    package: &Package,
    source: &UploadSource,
    registry: &ServingRegistry,
    found: &Dereferenced,
    wish: &Wish,
    current: bool,
    context: &PackageContext,
) -> Result<Answer, Error> {
    let uid = package.uid().unwrap_or_default();
    let ask = context.memory.get(&uid).plan(wish, current, &registry.marker, Instant::now());
    if let Ask::Nothing(after) = ask {
        return Ok(Answer::nothing(after));
    }
    let shared = &context.shared;
    let server = shared.servers.connect(&shared.client, &shared.tokens, &registry.object).await?;
    let Some(entry) = find(package, &source.digest, &server).await? else {
        return ContentMissingSnafu { digest: source.digest.as_str() }.fail();
    };
    if ask == Ask::Put {
        context.memory.change(&uid, |memory| memory.put(wish));
    }
    Ok(weigh(package, declaration(&uid, &entry), registry, found, wish, context))
}

/// Takes the upload out of the registry; true when nothing is left to take. What a declaration has taken over stays, and what
/// another Package names, too.
///
/// # Errors
/// When the server can't be asked.
pub(super) async fn withdraw(
    package: &Package,
    source: &UploadSource,
    server: &ServerClient<'_>,
    context: &Context,
) -> Result<bool, Error> {
    if dereference(package, context).siblings.iter().any(|other| names(other, &source.digest)) {
        return Ok(true);
    }
    match find(package, &source.digest, server).await? {
        Some(entry) if is_upload(&entry) => Ok(server.delete_package(&entry.name, &entry.version).await?),
        _ => Ok(true),
    }
}

/// Whether a Package that stays names the upload.
fn names(package: &Arc<Package>, digest: &str) -> bool {
    package.metadata.deletion_timestamp.is_none()
        && package.spec.source.upload.as_ref().is_some_and(|source| source.digest == digest)
}

/// The package with that content: where the status says, else wherever in the catalogue.
async fn find(package: &Package, digest: &str, server: &ServerClient<'_>) -> Result<Option<PackageInfo>, Error> {
    let is_it = |entry: &&PackageInfo| entry.digest.as_deref() == Some(digest);
    let coordinate = package.status.as_ref().and_then(|status| status.name.as_deref().zip(status.version.as_deref()));
    if let Some((name, version)) = coordinate
        && let Some(entry) = server.package(name, version).await?.filter(|entry| is_it(&entry))
    {
        return Ok(Some(entry));
    }
    Ok(server.packages().await?.packages.iter().find(is_it).cloned())
}

/// The same in the words of a declaration, so that one kind of answer makes a status.
fn declaration(uid: &str, entry: &PackageInfo) -> Declaration {
    Declaration {
        id: uid.to_owned(),
        state: entry.status,
        reason: None,
        message: entry.message.clone(),
        progress: api::Progress::default(),
        package: published(entry),
    }
}
