//! Step 2: what the spec means, checked. Pure.

mod credentials_file;
mod existing_volume;
mod objection;
mod s3;
mod sources;
mod volume;

use std::time::Duration;

use crds::{
    DEFAULT_CONTAINER_PATH, DeletionPolicy, GarbageCollection, OnConflict, PackageRegistry, ServiceType, Sources,
};
use k8s_openapi::{
    api::core::v1::{LocalObjectReference, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt};
use node_trust::host_name::HostName;
use snafu::{OptionExt, ensure};

pub use self::{
    existing_volume::{ExistingVolume, Folder, HOSTNAME_LABEL, Source},
    objection::Objection,
    s3::{CREDENTIALS_KEY, S3},
    volume::Volume,
};
use super::{
    dereference::Live,
    error::{Error, InvalidSpecSnafu},
    names::Names,
};
use crate::{arguments::Settings, quantity, trust};

/// A spec that can be built.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Namespace of the registry and its children.
    pub namespace: String,
    /// Names of the children.
    pub names: Names,
    /// Makes a child the registry's.
    pub owner: OwnerReference,
    /// Host names, the shortest first; never empty.
    pub hosts: Vec<String>,
    /// The Service.
    pub service: Service,
    /// Where the content is kept.
    pub storage: Storage,
    /// Life of an authority.
    pub authority_life: Duration,
    /// Life of a serving certificate.
    pub certificate_life: Duration,
    /// The identity of the serving pods.
    pub service_account: crds::ServiceAccount,
    /// The serving pods.
    pub pods: Pods,
    /// From where bundles may be fetched, and what of them is taken.
    pub packages: Packages,
    /// Collection of what nothing refers to any more.
    pub garbage_collection: GarbageCollection,
    /// Whether volume and authority go with the registry.
    pub deletion_policy: DeletionPolicy,
}

/// The Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_: ServiceType,
    /// Addresses that it had, asked for again when it must be made anew.
    pub cluster_ips: Vec<String>,
}

/// Where the content is kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In a volume that is claimed for it.
    Local(Volume),
    /// In a volume that exists already.
    Existing(ExistingVolume),
    /// In a bucket.
    S3(S3),
}

/// Where pods have the content: a claim's volume, and its place in the container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mounted<'a> {
    /// Name of the claim.
    pub claim: String,
    /// Where its volume is in the container.
    pub path: &'a str,
}

impl Storage {
    /// Its kind, as the status says it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Existing(_) => "volume",
            Self::S3(_) => "s3",
        }
    }

    /// The volume that pods mount; none for a bucket.
    #[must_use]
    pub fn mounted(&self, names: &Names) -> Option<Mounted<'_>> {
        match self {
            Self::Local(_) => Some(Mounted { claim: names.claim(), path: DEFAULT_CONTAINER_PATH }),
            Self::Existing(volume) => {
                let claim = match &volume.source {
                    Source::Claim(name) => name.clone(),
                    Source::Folder(_) => names.folder_claim(),
                };
                Some(Mounted { claim, path: &volume.container_path })
            }
            Self::S3(_) => None,
        }
    }
}

/// The serving pods.
#[derive(Clone, Debug)]
pub struct Pods {
    /// How many.
    pub instances: i32,
    /// Their image.
    pub image: String,
    /// When nodes pull it.
    pub image_pull_policy: String,
    /// Secrets to pull it with.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// CPU and memory.
    pub resources: Option<ResourceRequirements>,
    /// Scheduling, labels and annotations.
    pub template: crds::PodTemplate,
}

/// Rules for packages.
#[derive(Clone, Debug)]
pub struct Packages {
    /// From where bundles may be fetched.
    pub sources: Sources,
    /// What happens to an upload that is there with other content.
    pub on_conflict: OnConflict,
    /// Most bytes of one bundle.
    pub max_bytes: Option<u64>,
}

impl Validated {
    /// The host that images are named by.
    #[must_use]
    pub fn host(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }
}

/// Checks `registry` against what is there: the claim, and what its storage refers to.
///
/// # Errors
/// [`Error::InvalidSpec`] with the field and what would be right.
pub fn validate(registry: &PackageRegistry, live: &Live, settings: &Settings) -> Result<Validated, Error> {
    let spec = &registry.spec;
    let namespace = registry.namespace().unwrap_or_default();
    let names = Names::new(&namespace, &registry.name_any());
    let owner = registry
        .controller_owner_ref(&())
        .context(InvalidSpecSnafu { field: "metadata", problem: "the object has no name or uid" })?;
    let hosts = trust::plan::hosts(registry, settings);
    let tls = spec.tls.self_managed.as_ref().context(InvalidSpecSnafu {
        field: "spec.tls",
        problem: "exactly one of its fields must be set: selfManaged",
    })?;
    check_mirrors(&spec.node_trust.mirrors, &hosts)?;
    let storage = storage(registry, live, &names, settings)?;
    Ok(Validated {
        service: Service {
            name: spec.service.name.clone().unwrap_or_else(|| registry.name_any()),
            type_: spec.service.type_,
            cluster_ips: known_addresses(registry, &hosts),
        },
        pods: pods(registry, &storage, settings)?,
        storage,
        authority_life: life("spec.tls.selfManaged.caDuration", &tls.ca_duration)?,
        certificate_life: life("spec.tls.selfManaged.duration", &tls.duration)?,
        service_account: service_account(registry, &names)?,
        packages: packages(&spec.packages)?,
        garbage_collection: collection(&spec.garbage_collection)?,
        deletion_policy: spec.deletion_policy,
        namespace,
        names,
        owner,
        hosts,
    })
}

/// Addresses in the status, as long as they are about the Service of that host.
fn known_addresses(registry: &PackageRegistry, hosts: &[String]) -> Vec<String> {
    let Some(status) = &registry.status else {
        return Vec::new();
    };
    let url = hosts.first().map(|host| format!("https://{host}"));
    if status.url == url { status.cluster_ips.clone() } else { Vec::new() }
}

fn storage(registry: &PackageRegistry, live: &Live, names: &Names, settings: &Settings) -> Result<Storage, Error> {
    let storage = &registry.spec.storage;
    match (&storage.local, &storage.volume, &storage.s3) {
        (Some(local), None, None) => volume::check(local, live.claim.as_ref()).map(Storage::Local),
        (None, Some(existing), None) => {
            let namespace = registry.namespace().unwrap_or_default();
            existing_volume::check(existing, live, &namespace, names, settings).map(Storage::Existing)
        }
        (None, None, Some(bucket)) => s3::check(bucket, &live.bucket).map(Storage::S3),
        _ => {
            let problem = "exactly one of its fields must be set: local, volume or s3";
            InvalidSpecSnafu { field: "spec.storage", problem }.fail()
        }
    }
}

fn life(field: &'static str, duration: &kube::core::Duration) -> Result<Duration, Error> {
    let life = Duration::from(*duration);
    ensure!(
        !duration.is_negative() && life >= Duration::from_mins(1),
        InvalidSpecSnafu { field, problem: "must be at least a minute" }
    );
    Ok(life)
}

fn service_account(registry: &PackageRegistry, names: &Names) -> Result<crds::ServiceAccount, Error> {
    let name = registry.spec.service_account.name.clone().unwrap_or_else(|| names.registry().to_owned());
    ensure!(
        name != names.publisher(),
        InvalidSpecSnafu {
            field: "spec.serviceAccount.name",
            problem: format!("{name} is the account of those who publish: serving pods need another one")
        }
    );
    // Whoever may create a registry must not hand the right to ask for reviews to every pod of the namespace.
    ensure!(
        name != "default",
        InvalidSpecSnafu {
            field: "spec.serviceAccount.name",
            problem: "the account \"default\" belongs to every pod of the namespace: choose another name"
        }
    );
    Ok(crds::ServiceAccount { name: Some(name), annotations: registry.spec.service_account.annotations.clone() })
}

fn pods(registry: &PackageRegistry, storage: &Storage, settings: &Settings) -> Result<Pods, Error> {
    let spec = &registry.spec;
    ensure!(
        spec.instances == 1 || (spec.instances > 1 && matches!(storage, Storage::S3(_))),
        InvalidSpecSnafu {
            field: "spec.instances",
            problem: "a volume is written by one pod alone, so write 1; more of them need spec.storage.s3"
        }
    );
    Ok(Pods {
        instances: spec.instances,
        image: spec.image.clone().unwrap_or_else(|| settings.image.clone()),
        image_pull_policy: settings.image_pull_policy.clone(),
        image_pull_secrets: spec.image_pull_secrets.clone(),
        resources: spec.resources.clone(),
        template: spec.pod_template.clone(),
    })
}

fn packages(packages: &crds::Packages) -> Result<Packages, Error> {
    sources::check(&packages.sources)?;
    let max_bytes = packages.max_bytes.as_ref().map(|size| {
        quantity::bytes(&size.0).filter(|bytes| *bytes > 0).context(InvalidSpecSnafu {
            field: "spec.packages.maxBytes",
            problem: format!("{:?} is no size: write a number of bytes above zero, as 32Gi", size.0),
        })
    });
    Ok(Packages {
        sources: packages.sources.clone(),
        on_conflict: packages.on_conflict,
        max_bytes: max_bytes.transpose()?,
    })
}

/// The schema's rules again, for objects from before it had them.
fn collection(collection: &GarbageCollection) -> Result<GarbageCollection, Error> {
    if let Some(interval) = &collection.interval {
        life("spec.garbageCollection.interval", interval)?;
    }
    ensure!(
        collection.grace_period.is_none_or(|period| !period.is_negative()),
        InvalidSpecSnafu { field: "spec.garbageCollection.gracePeriod", problem: "must not be negative" }
    );
    Ok(collection.clone())
}

/// Nodes refuse a list that they can't make folders from; the user hears of it here.
fn check_mirrors(mirrors: &[String], hosts: &[String]) -> Result<(), Error> {
    for upstream in mirrors {
        let parsed = upstream.parse::<HostName>();
        parsed
            .map_err(|invalid| invalid.to_string())
            .or_else(|problem| InvalidSpecSnafu { field: "spec.nodeTrust.mirrors", problem }.fail())?;
        ensure!(
            !hosts.contains(upstream),
            InvalidSpecSnafu {
                field: "spec.nodeTrust.mirrors",
                problem: format!("{upstream} is the registry's own host, for which nodes ask it anyway: remove it")
            }
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures::{registry, settings};

    fn problem(spec: &str) -> String {
        validate(&registry(spec), &Live::default(), &settings()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_spec_is_a_registry_with_every_default() {
        let validated = validate(&registry("{}"), &Live::default(), &settings()).unwrap();
        assert_eq!(validated.host(), "registry.demo.svc");
        assert_eq!(validated.hosts[1], "registry.demo.svc.cluster.local");
        assert_eq!(validated.storage.kind(), "local");
        assert_eq!(validated.pods.image, "registry.example/all:1");
        assert_eq!(validated.service_account.name.as_deref(), Some("registry"));
        assert_eq!(validated.names.audience(), "registry.dcos.io/demo/registry");
    }

    #[test]
    fn what_can_not_work_is_named_with_its_field_and_what_would_be_right() {
        let cases = [
            ("storage: {local: {size: much}}", "spec.storage.local.size: \"much\" is no size"),
            ("packages: {maxBytes: much}", "spec.packages.maxBytes: \"much\" is no size"),
            ("packages: {maxBytes: 0}", "spec.packages.maxBytes: \"0\" is no size"),
            ("garbageCollection: {interval: 1s}", "spec.garbageCollection.interval: must be"),
            ("garbageCollection: {gracePeriod: -1h}", "spec.garbageCollection.gracePeriod: must not be negative"),
            ("storage: {s3: {bucket: b}, local: {}}", "spec.storage: exactly one"),
            ("{instances: 0, storage: {s3: {bucket: b}}}", "spec.instances: a volume is written"),
            ("storage: {}", "spec.storage: exactly one"),
            ("storage: {volume: {claimName: a}, local: {}}", "spec.storage: exactly one"),
            ("storage: {volume: {}}", "spec.storage.volume: exactly one"),
            ("{instances: 2, storage: {volume: {claimName: a}}}", "spec.instances: a volume is written"),
            ("tls: {}", "spec.tls: exactly one"),
            ("tls: {selfManaged: {duration: 1s}}", "spec.tls.selfManaged.duration: must be"),
            ("serviceAccount: {name: registry-publisher}", "spec.serviceAccount.name: registry-publisher is"),
            ("serviceAccount: {name: default}", "spec.serviceAccount.name: the account \"default\""),
            ("instances: 2", "spec.instances: a volume is written"),
            (
                "packages: {sources: {allowedCIDRs: [\"10.0.0.0/33\"]}}",
                "spec.packages.sources.allowedCIDRs: \"10.0.0.0/33\"",
            ),
            ("packages: {sources: {allowedCIDRs: [\"10.0.0/8\"]}}", "spec.packages.sources.allowedCIDRs: \"10.0.0/8\""),
            (
                "packages: {sources: {allowedHosts: [a.example, \"a:99999\"]}}",
                "spec.packages.sources.allowedHosts: \"a:99999\" is no host",
            ),
            (
                "packages: {sources: {allowedHosts: [files.example.123]}}",
                "spec.packages.sources.allowedHosts: \"files.example.123\" is no host",
            ),
            (
                "nodeTrust: {mirrors: [docker.io, a..b]}",
                "spec.nodeTrust.mirrors: \"a..b\" isn't a registry's host name",
            ),
            (
                "nodeTrust: {mirrors: [docker.io, registry.demo.svc]}",
                "spec.nodeTrust.mirrors: registry.demo.svc is the registry's own host",
            ),
            (
                "nodeTrust: {mirrors: [registry.demo.svc.cluster.local]}",
                "spec.nodeTrust.mirrors: registry.demo.svc.clu",
            ),
            ("nodeTrust: {mirrors: [\"docker.io:99999\"]}", "spec.nodeTrust.mirrors: \"docker.io:99999\" isn't"),
        ];
        for (spec, expected) in cases {
            let said = problem(spec);
            assert!(said.starts_with(expected), "{spec}: {said}");
        }
    }

    #[test]
    fn addresses_are_asked_for_again_only_for_the_service_that_had_them() {
        let mut registry = registry("{}");
        registry.status = Some(crds::PackageRegistryStatus {
            url: Some("https://registry.demo.svc".into()),
            cluster_ips: vec!["10.96.0.7".into()],
            ..Default::default()
        });
        let addresses =
            |registry: &PackageRegistry| validate(registry, &Live::default(), &settings()).unwrap().service.cluster_ips;
        assert_eq!(addresses(&registry), ["10.96.0.7"]);
        registry.spec.service.name = Some("other".into());
        assert!(addresses(&registry).is_empty());
    }
}
