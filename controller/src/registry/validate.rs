//! Step 2: what the spec means, checked. Pure.

mod sources;

use std::time::Duration;

use crds::{DeletionPolicy, PackageRegistry, ServiceType, Sources};
use k8s_openapi::{
    api::core::v1::{LocalObjectReference, PersistentVolumeClaim, ResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use kube::{Resource, ResourceExt};
use node_trust::host_name::HostName;
use snafu::{OptionExt, ensure};

use super::{
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
    /// The volume.
    pub volume: Volume,
    /// Life of an authority.
    pub authority_life: Duration,
    /// Life of a serving certificate.
    pub certificate_life: Duration,
    /// The identity of the serving pods.
    pub service_account: crds::ServiceAccount,
    /// The serving pods.
    pub pods: Pods,
    /// From where bundles may be fetched.
    pub sources: Sources,
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

/// The volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its size: never below what is claimed already.
    pub size: Quantity,
    /// Its class.
    pub storage_class_name: Option<String>,
    /// What of the spec can't be done for the volume that is there, in words.
    pub objection: Option<String>,
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

impl Validated {
    /// The host that images are named by.
    #[must_use]
    pub fn host(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }
}

/// Checks `registry`; `claim` is the volume's claim as it is now.
///
/// # Errors
/// [`Error::InvalidSpec`] with the field and what would be right.
pub fn validate(
    registry: &PackageRegistry,
    claim: Option<&PersistentVolumeClaim>,
    settings: &Settings,
) -> Result<Validated, Error> {
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
    sources::check(&spec.packages.sources)?;
    check_mirrors(&spec.node_trust.mirrors)?;
    Ok(Validated {
        service: Service {
            name: spec.service.name.clone().unwrap_or_else(|| registry.name_any()),
            type_: spec.service.type_,
            cluster_ips: known_addresses(registry, &hosts),
        },
        volume: volume(registry, claim)?,
        authority_life: life("spec.tls.selfManaged.caDuration", &tls.ca_duration)?,
        certificate_life: life("spec.tls.selfManaged.duration", &tls.duration)?,
        service_account: service_account(registry, &names)?,
        pods: pods(registry, settings)?,
        sources: spec.packages.sources.clone(),
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

fn volume(registry: &PackageRegistry, claim: Option<&PersistentVolumeClaim>) -> Result<Volume, Error> {
    let field = "spec.storage.local.size";
    let local =
        registry.spec.storage.local.as_ref().context(InvalidSpecSnafu {
            field: "spec.storage",
            problem: "exactly one of its fields must be set: local",
        })?;
    let wanted = quantity::nanos(&local.size.0).filter(|amount| *amount > 0).context(InvalidSpecSnafu {
        field,
        problem: format!("{:?} is no size: write a number of bytes above zero, as 10Gi", local.size.0),
    })?;
    let mut volume =
        Volume { size: local.size.clone(), storage_class_name: local.storage_class_name.clone(), objection: None };
    let Some(claimed) = claim.and_then(|claim| claim.spec.as_ref()) else {
        return Ok(volume);
    };
    let size = claimed.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
    if let Some(size) = size
        && quantity::nanos(&size.0).is_some_and(|amount| amount > wanted)
    {
        volume.objection = Some(format!(
            "{field} is {}, less than the {} that are claimed: a volume can't shrink, so write {} or more",
            local.size.0, size.0, size.0
        ));
        volume.size = size.clone();
    }
    if let Some(class) = &claimed.storage_class_name
        && volume.storage_class_name.as_ref().is_some_and(|wanted| wanted != class)
    {
        volume.objection = Some(format!(
            "spec.storage.local.storageClassName differs from the claim's class {class:?}: a volume can't move to another \
             class, so write {class:?}"
        ));
        volume.storage_class_name = Some(class.clone());
    }
    Ok(volume)
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

fn pods(registry: &PackageRegistry, settings: &Settings) -> Result<Pods, Error> {
    let spec = &registry.spec;
    ensure!(
        spec.instances == 1,
        InvalidSpecSnafu { field: "spec.instances", problem: "local storage is written by one pod alone, so write 1" }
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

/// Nodes refuse a list that they can't make folders from; the user hears of it here.
fn check_mirrors(mirrors: &[String]) -> Result<(), Error> {
    for upstream in mirrors {
        let parsed = upstream.parse::<HostName>();
        parsed
            .map_err(|invalid| invalid.to_string())
            .or_else(|problem| InvalidSpecSnafu { field: "spec.nodeTrust.mirrors", problem }.fail())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures::{registry, settings};

    fn problem(spec: &str) -> String {
        validate(&registry(spec), None, &settings()).unwrap_err().to_string()
    }

    fn claim(size: &str, class: &str) -> PersistentVolumeClaim {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "registry"},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}
        }))
        .unwrap()
    }

    #[test]
    fn an_empty_spec_is_a_registry_with_every_default() {
        let validated = validate(&registry("{}"), None, &settings()).unwrap();
        assert_eq!(validated.host(), "registry.demo.svc");
        assert_eq!(validated.hosts[1], "registry.demo.svc.cluster.local");
        assert_eq!(validated.volume.size.0, "10Gi");
        assert_eq!(validated.pods.image, "registry.example/all:1");
        assert_eq!(validated.service_account.name.as_deref(), Some("registry"));
        assert_eq!(validated.names.audience(), "registry.dcos.io/demo/registry");
    }

    #[test]
    fn what_can_not_work_is_named_with_its_field_and_what_would_be_right() {
        let cases = [
            ("storage: {local: {size: much}}", "spec.storage.local.size: \"much\" is no size"),
            ("storage: {local: {size: \"0\"}}", "spec.storage.local.size: \"0\" is no size"),
            ("storage: {}", "spec.storage: exactly one"),
            ("tls: {}", "spec.tls: exactly one"),
            ("tls: {selfManaged: {duration: 1s}}", "spec.tls.selfManaged.duration: must be"),
            ("serviceAccount: {name: registry-publisher}", "spec.serviceAccount.name: registry-publisher is"),
            ("serviceAccount: {name: default}", "spec.serviceAccount.name: the account \"default\""),
            ("instances: 2", "spec.instances: local storage"),
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
            ("nodeTrust: {mirrors: [\"docker.io:99999\"]}", "spec.nodeTrust.mirrors: \"docker.io:99999\" isn't"),
        ];
        for (spec, expected) in cases {
            let said = problem(spec);
            assert!(said.starts_with(expected), "{spec}: {said}");
        }
    }

    #[test]
    fn a_smaller_size_than_claimed_is_an_objection_and_changes_nothing_else() {
        let validated =
            validate(&registry("storage: {local: {size: 5Gi}}"), Some(&claim("10Gi", "fast")), &settings()).unwrap();
        assert_eq!(validated.volume.size.0, "10Gi");
        assert!(validated.volume.objection.unwrap().contains("write 10Gi or more"));
    }

    #[test]
    fn a_larger_size_and_another_spelling_are_no_objection() {
        for size in ["10240Mi", "20Gi"] {
            let spec = format!("storage: {{local: {{size: {size}}}}}");
            let validated = validate(&registry(&spec), Some(&claim("10Gi", "fast")), &settings()).unwrap();
            assert_eq!(validated.volume.size.0, size);
            assert_eq!(validated.volume.objection, None);
        }
    }

    #[test]
    fn an_adopted_claim_of_another_class_is_an_objection() {
        let spec = "storage: {local: {storageClassName: slow}}";
        let validated = validate(&registry(spec), Some(&claim("10Gi", "fast")), &settings()).unwrap();
        assert_eq!(validated.volume.storage_class_name.as_deref(), Some("fast"));
        assert!(validated.volume.objection.unwrap().contains("\"fast\""));
    }

    #[test]
    fn addresses_are_asked_for_again_only_for_the_service_that_had_them() {
        let mut registry = registry("{}");
        registry.status = Some(crds::PackageRegistryStatus {
            url: Some("https://registry.demo.svc".into()),
            cluster_ips: vec!["10.96.0.7".into()],
            ..Default::default()
        });
        let addresses = |registry: &PackageRegistry| validate(registry, None, &settings()).unwrap().service.cluster_ips;
        assert_eq!(addresses(&registry), ["10.96.0.7"]);
        registry.spec.service.name = Some("other".into());
        assert!(addresses(&registry).is_empty());
    }
}
