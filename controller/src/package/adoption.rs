//! Uploads become Package objects, so that `kubectl get packages` is the whole catalogue; and a removal that was asked for at
//! the registry becomes the deletion of the object.
//!
//! An object whose content is gone without such a request is never deleted here: storage that was lost must not take the list of
//! what was lost with it. Its condition says `ContentMissing`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api::PackageInfo;
use crds::{Package, PackageRegistry, PackageSource, PackageSpec, RegistryReference, UploadSource};
use data_encoding::HEXLOWER;
use futures::future::join_all;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use snafu::{ResultExt, Snafu};
use tokio_util::sync::CancellationToken;

use super::{
    catalogue::is_upload,
    validate::{self, ServingRegistry},
};
use crate::{
    apply::{self, CallSnafu},
    context::{Context, FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, REGISTRY_LABEL},
    error::chain,
    server_client::{self, ServerClient},
};

/// Time between looks at a registry's catalogue.
const PERIOD: Duration = Duration::from_secs(10);
/// Longest name of an object.
const LONGEST_NAME: usize = 253;
/// Hexadecimal digits of a name's hash.
const HASH_DIGITS: usize = 8;

/// Why uploads and objects could not be brought together.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The registry's server could not be asked, or refused.
    #[snafu(transparent)]
    Server {
        /// What happened.
        source: server_client::Error,
    },
    /// The API server could not be asked, or refused.
    #[snafu(transparent)]
    Object {
        /// What happened.
        source: apply::Error,
    },
}

/// Looks at every registry that serves, until `shutdown`.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    loop {
        let registries = context.registries.state();
        forget_others(&registries, &context);
        let due = registries
            .iter()
            .filter(|registry| is_due(registry))
            .filter_map(|registry| validate::serving(registry).ok());
        let looks = due.map(|registry| look(registry, &context));
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join_all(looks) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// What was kept to talk to registries goes with them.
fn forget_others(registries: &[Arc<PackageRegistry>], context: &Context) {
    let there: BTreeSet<_> =
        registries.iter().map(|registry| (registry.namespace().unwrap_or_default(), registry.name_any())).collect();
    context.servers.keep_only(&there);
    context.tokens.keep_only(&there);
}

fn is_due(registry: &PackageRegistry) -> bool {
    registry.metadata.deletion_timestamp.is_none() && !registry.spec.suspend
}

async fn look(registry: ServingRegistry, context: &Context) {
    let looked = tokio::time::timeout(context.longest_pass, adopt(&registry, context)).await;
    let failure = match looked {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(chain(&error)),
        Err(_) => Some("no answer in time".to_owned()),
    };
    if let Some(failure) = failure {
        let (namespace, name) = (registry.object.namespace().unwrap_or_default(), registry.object.name_any());
        tracing::debug!("uploads of registry {namespace}/{name} could not be looked for: {failure}");
    }
}

/// Brings the objects of the uploads of `registry` to what its catalogue says; returns how many steps that took.
///
/// # Errors
/// When the server or the API server can't be asked.
pub async fn adopt(registry: &ServingRegistry, context: &Context) -> Result<usize, Error> {
    let server = context.servers.connect(&context.client, &context.tokens, &registry.object).await?;
    // Objects before the catalogue: of an upload that goes meanwhile the object is still seen, and no new one is made.
    let objects = context.packages.state();
    let catalogue = server.packages().await?;
    let steps = plan(&catalogue.packages, &objects, &registry.object);
    let api: Api<Package> = Api::namespaced(context.client.clone(), &registry.object.namespace().unwrap_or_default());
    let mut failed = None;
    for step in &steps {
        // One that is refused, say by a quota, holds none of the others up.
        if let Err(error) = carry_out(step, &api, &server).await {
            tracing::warn!("an upload's Package could not be brought up to date: {}", chain(&error));
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(steps.len()), Err)
}

async fn carry_out(step: &Step, api: &Api<Package>, server: &ServerClient<'_>) -> Result<(), Error> {
    match step {
        Step::Create(package) => create(api, package).await,
        Step::Update { object, digest } => update(api, object, digest).await,
        Step::Delete(object) => delete(api, object).await,
        Step::Withdraw { name, version } => Ok(server.delete_package(name, version).await.map(drop)?),
    }
}

async fn create(api: &Api<Package>, package: &Package) -> Result<(), Error> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let name = package.name_any();
    match api.create(&parameters, package).await {
        Ok(_) => {
            tracing::info!(object.name = name, "Package {name} stands for an upload now");
            Ok(())
        }
        // The store lags behind: the next look sees what is there.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Ok(Err(error).context(CallSnafu { verb: "created", kind: "Package", name })?),
    }
}

async fn update(api: &Api<Package>, object: &Package, digest: &str) -> Result<(), Error> {
    let name = object.name_any();
    let patch = json!({"metadata": {"uid": object.uid()}, "spec": {"source": {"upload": {"digest": digest}}}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api.patch(&name, &parameters, &Patch::Merge(patch)).await;
    patched.context(CallSnafu { verb: "changed", kind: "Package", name })?;
    Ok(())
}

async fn delete(api: &Api<Package>, object: &Package) -> Result<(), Error> {
    let name = object.name_any();
    if apply::delete(api, object).await? {
        tracing::info!(object.name = name, "Package {name} is deleted: its removal was asked for at the registry");
    }
    Ok(())
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// An upload has no object.
    Create(Box<Package>),
    /// Other content has taken the place of what the object names.
    Update { object: Arc<Package>, digest: String },
    /// The removal of the object's upload was asked for.
    Delete(Arc<Package>),
    /// The removal of an upload without an object was asked for.
    Withdraw { name: String, version: String },
}

/// What is to do. Pure.
fn plan(entries: &[PackageInfo], objects: &[Arc<Package>], registry: &PackageRegistry) -> Vec<Step> {
    let namespace = registry.namespace();
    let beside: Vec<&Arc<Package>> = objects.iter().filter(|object| object.namespace() == namespace).collect();
    let own: Vec<&Arc<Package>> =
        beside.iter().copied().filter(|object| object.spec.registry_ref.name == registry.name_any()).collect();
    let mut taken: BTreeSet<String> = beside.iter().map(|object| object.name_any()).collect();
    let present: BTreeSet<&str> = entries.iter().filter_map(|entry| entry.digest.as_deref()).collect();
    let mut steps = Vec::new();
    for entry in entries.iter().filter(|entry| is_upload(entry) && entry.status == api::State::Added) {
        let Some(digest) = &entry.digest else { continue };
        let of_it: Vec<&Arc<Package>> = own.iter().copied().filter(|object| uploaded(object) == Some(digest)).collect();
        if entry.removal_requested && of_it.is_empty() {
            steps.push(Step::Withdraw { name: entry.name.clone(), version: entry.version.clone() });
        } else if entry.removal_requested {
            let staying = of_it.into_iter().filter(|object| object.metadata.deletion_timestamp.is_none());
            steps.extend(staying.map(|object| Step::Delete(Arc::clone(object))));
        } else if of_it.is_empty() {
            let replaced = own
                .iter()
                .find(|object| is_of(object, entry) && !uploaded(object).is_some_and(|old| present.contains(old)));
            if let Some(object) = replaced {
                steps.push(Step::Update { object: Arc::clone(object), digest: digest.clone() });
            } else {
                let name = object_name(registry, entry, &taken);
                taken.insert(name.clone());
                steps.push(Step::Create(Box::new(object(registry, &name, digest))));
            }
        }
    }
    steps
}

/// Content digest that an object names, where its source is an upload.
fn uploaded(object: &Package) -> Option<&str> {
    object.spec.source.upload.as_ref().map(|source| source.digest.as_str())
}

/// Whether a staying object stands for an upload of that name and version.
fn is_of(object: &Package, entry: &PackageInfo) -> bool {
    object.metadata.deletion_timestamp.is_none()
        && uploaded(object).is_some()
        && object.status.as_ref().is_some_and(|status| {
            status.name.as_ref() == Some(&entry.name) && status.version.as_ref() == Some(&entry.version)
        })
}

fn object(registry: &PackageRegistry, name: &str, digest: &str) -> Package {
    let mut package = Package::new(
        name,
        PackageSpec {
            registry_ref: RegistryReference { name: registry.name_any() },
            release_version: None,
            source: PackageSource { url: None, upload: Some(UploadSource { digest: digest.to_owned() }) },
            suspend: false,
        },
    );
    package.metadata.namespace = registry.namespace();
    let labels = [(MANAGED_BY_LABEL, MANAGED_BY.to_owned()), (REGISTRY_LABEL, registry.name_any())];
    package.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value)).into());
    package
}

/// `<name>-<version>`, as far as an object may be called so; with a short hash where that can't be, or is another object's name.
fn object_name(registry: &PackageRegistry, entry: &PackageInfo, taken: &BTreeSet<String>) -> String {
    let plain = format!("{}-{}", entry.name, entry.version);
    let folded = fold(&plain);
    if folded == plain && folded.len() <= LONGEST_NAME && !taken.contains(&folded) {
        return folded;
    }
    let whole = format!("{}\0{}\0{}", registry.name_any(), entry.name, entry.version);
    let hash = HEXLOWER.encode(&Sha256::digest(whole));
    let room = LONGEST_NAME - HASH_DIGITS - 1;
    let shortened = folded[..folded.len().min(room)].trim_end_matches(['-', '.']);
    let joint = if shortened.is_empty() { "package" } else { shortened };
    format!("{joint}-{}", &hash[..HASH_DIGITS])
}

/// The nearest name that an object may have (a DNS sub-domain): ASCII alone.
fn fold(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let text: String = text.chars().map(allowed).collect();
    let labels: Vec<&str> =
        text.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty()).collect();
    labels.join(".")
}

#[cfg(test)]
#[path = "adoption_tests.rs"]
mod tests;
