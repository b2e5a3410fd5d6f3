//! Step 5: the status. Made here alone, and written only when it differs.

pub mod bucket;
pub mod certificate;
pub mod existing_volume;
pub mod nodes;
pub mod outcome;
pub mod ready;
pub mod serving;
pub mod storage;

use crds::{
    Package, PackageRegistry, PackageRegistryStatus, PackagesStatus, StorageStatus,
    condition::{CERTIFICATE_READY, NODES_TRUSTED, READY, SERVING_READY, STORAGE_READY},
    reason,
};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{Api, Client, ResourceExt};
use snafu::ResultExt;

pub use self::nodes::trusted_before;
use self::{certificate::Certificates, ready::Parts};
use super::{
    apply::{Foundations, Outcome},
    certificates::addresses,
    dereference::Symptoms,
    error::{Error, StatusSnafu},
    validate::{ExistingVolume, Storage, Validated},
};
use crate::{
    apply,
    condition::{self, Activity, Verdict},
    trust::verdict::Opinion,
};

/// What a pass has found.
#[derive(Debug)]
pub struct Findings<'a> {
    /// The spec.
    pub registry: &'a Validated,
    /// What became of the foundations.
    pub foundations: &'a Foundations,
    /// What became of the certificates.
    pub certificates: &'a Certificates,
    /// What became of the Deployment.
    pub deployment: &'a Outcome<Deployment>,
    /// Why something isn't ready.
    pub symptoms: &'a Symptoms,
    /// What nodes say; none where node trust is off.
    pub opinion: Option<Opinion>,
    /// Package objects of the registry.
    pub packages: PackagesStatus,
    /// Value of the annotation that asked for a new authority, once that was acted on.
    pub handled_rotation: Option<String>,
}

/// The status after a pass. Pure.
#[must_use]
pub fn after_pass(object: &PackageRegistry, findings: &Findings<'_>, now: Timestamp) -> PackageRegistryStatus {
    let registry = findings.registry;
    let mut status = begin(object);
    let url = format!("https://{}", registry.host());
    let parts = parts(&status, findings);
    let generation = object.metadata.generation;
    for (type_, verdict) in
        [(STORAGE_READY, &parts.storage), (CERTIFICATE_READY, &parts.certificate), (SERVING_READY, &parts.serving)]
    {
        condition::set(&mut status.conditions, type_, verdict, generation, now);
    }
    status.nodes = findings.opinion.as_ref().and_then(|opinion| nodes::numbers(&status, opinion, now));
    match &parts.nodes {
        Some(nodes) if nodes.stands => {}
        Some(nodes) => condition::set(&mut status.conditions, NODES_TRUSTED, &nodes.verdict, generation, now),
        None => condition::remove(&mut status.conditions, NODES_TRUSTED),
    }
    let (ready, activity) = ready::verdict(&parts, &url);
    condition::summarise(&mut status.conditions, &ready, &activity, generation, now);

    status.urls = registry.hosts.iter().map(|host| format!("https://{host}")).collect();
    set_address(&mut status, &findings.foundations.service, url);
    if let Some(plan) = findings.certificates.in_place() {
        status.ca_bundle = Some(plan.authorities.bundle());
        status.certificate = Some(certificate::details(plan));
    }
    status.instances = findings.deployment.as_ref().ok().map(serving::instances);
    status.packages = Some(findings.packages.clone());
    status.storage = Some(StorageStatus { kind: registry.storage.kind().into() });
    status.last_handled_ca_rotation.clone_from(&findings.handled_rotation);
    status
}

/// The address is that of a Service of ours. While that is somebody else's, or can't be read, the last one stays.
fn set_address(status: &mut PackageRegistryStatus, service: &Outcome<Service>, url: String) {
    let found = service.as_ref().map(addresses).unwrap_or_default();
    if !found.is_empty() {
        status.cluster_ips = found;
    } else if status.url.as_ref() != Some(&url) {
        status.cluster_ips.clear();
    }
    status.url = Some(url);
}

fn parts(before: &PackageRegistryStatus, findings: &Findings<'_>) -> Parts {
    let mut serving = serving::verdict(
        &findings.foundations.service,
        &findings.foundations.identity,
        findings.deployment,
        &findings.foundations.disruption_budget,
        &findings.symptoms.pods,
    );
    if let Storage::Existing(ExistingVolume { objection: Some(_), .. }) = &findings.registry.storage
        && matches!(serving.reason, reason::PROGRESSING | reason::PROGRESSING_WITH_RETRY)
    {
        // What keeps the pods from starting is said of the storage.
        serving.reason = reason::DEPENDENCY_NOT_READY;
    }
    Parts {
        storage: storage(before, findings),
        certificate: certificate::verdict(findings.certificates),
        serving,
        nodes: findings.opinion.as_ref().map(|opinion| nodes::part(before, opinion)),
    }
}

fn storage(before: &PackageRegistryStatus, findings: &Findings<'_>) -> Verdict {
    match &findings.registry.storage {
        Storage::Local(volume) => storage::verdict(
            &findings.foundations.claim,
            volume.objection.as_deref(),
            findings.symptoms.claim_warning.as_deref(),
        ),
        Storage::Existing(volume) => existing_volume::verdict(volume, findings.foundations, findings.symptoms),
        Storage::S3(s3) => {
            let was_ready = condition::is_true(&before.conditions, STORAGE_READY)
                && findings.deployment.as_ref().is_ok_and(serving::is_available);
            bucket::verdict(s3, findings.symptoms.bucket.as_ref(), was_ready)
        }
    }
}

/// The status when the spec can't be built, or nothing could be read. Pure.
#[must_use]
pub fn after_error(object: &PackageRegistry, error: &Error, now: Timestamp) -> PackageRegistryStatus {
    let mut status = begin(object);
    let word = match error {
        Error::InvalidSpec { .. } => reason::INVALID_SPEC,
        _ => reason::PROGRESSING_WITH_RETRY,
    };
    // Nothing is known to have stopped serving: a failed read must not make a registry unready.
    let transient = word == reason::PROGRESSING_WITH_RETRY;
    if transient && condition::is_true(&status.conditions, READY) {
        return object.status.clone().unwrap_or_default();
    }
    let words = crate::error::chain(error);
    let verdict = Verdict::no(word, words);
    let activity = ready::activity(word);
    let generation = object.metadata.generation;
    condition::summarise(&mut status.conditions, &verdict, &activity, generation, now);
    status
}

/// The status of a registry that nobody touches. Pure.
#[must_use]
pub fn suspended(object: &PackageRegistry, now: Timestamp) -> PackageRegistryStatus {
    let mut status = begin(object);
    let verdict =
        Verdict::unknown(reason::SUSPENDED, "spec.suspend is true: nothing is changed or looked at; what runs goes on");
    let generation = object.metadata.generation;
    condition::summarise(&mut status.conditions, &verdict, &Activity::Idle, generation, now);
    status
}

fn begin(object: &PackageRegistry) -> PackageRegistryStatus {
    PackageRegistryStatus {
        observed_generation: object.metadata.generation,
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ..object.status.clone().unwrap_or_default()
    }
}

/// Numbers of the Package objects of `registry`. Pure.
#[must_use]
pub fn count<'a>(registry: &PackageRegistry, packages: impl IntoIterator<Item = &'a Package>) -> PackagesStatus {
    let (namespace, name) = (registry.namespace(), registry.name_any());
    let mut counted = PackagesStatus::default();
    for package in packages {
        if package.namespace() != namespace || package.spec.registry_ref.name != name {
            continue;
        }
        counted.total += 1;
        let ready = package.status.as_ref().is_some_and(|status| condition::is_true(&status.conditions, READY));
        counted.ready += i32::from(ready);
    }
    counted
}

/// Writes `status` where it differs from the object's; true when it did.
///
/// # Errors
/// When the API server refuses.
pub async fn write(client: &Client, object: &PackageRegistry, status: &PackageRegistryStatus) -> Result<bool, Error> {
    if object.status.as_ref() == Some(status) {
        return Ok(false);
    }
    let api: Api<PackageRegistry> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    apply::status(&api, object, status).await.context(StatusSnafu)?;
    Ok(true)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
