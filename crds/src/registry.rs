//! The `PackageRegistry` kind: one registry, its storage, certificates, identities and serving pods.

mod packages;
mod status;
mod storage;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    packages::{GarbageCollection, OnConflict, Packages, Removal, Sources},
    status::{CertificateStatus, InstancesStatus, NodesStatus, PackageRegistryStatus, PackagesStatus, StorageStatus},
    storage::{
        CaBundleKind, CaBundleReference, DEFAULT_CONTAINER_PATH, LocalStorage, S3Storage, Storage, VolumeStorage,
    },
};

/// A package registry in its namespace.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "registry.dcos.io",
    version = "v1alpha1",
    kind = "PackageRegistry",
    plural = "packageregistries",
    namespaced,
    doc = "A registry that serves packages: their container images to every node, their files and the catalogue.",
    status = "PackageRegistryStatus",
    shortname = "pkgreg",
    category = "all",
    category = "package-registry",
    derive = "PartialEq",
    cel,
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must have at most 40 characters, begin with a letter and hold only a-z, 0-9 and '-'"),
    validation = Rule::new("self.spec.instances == 1 || has(self.spec.storage.s3)")
        .message("spec.instances above 1 needs spec.storage.s3: a volume is written by one pod alone"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".status.storage.kind"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Packages", type_ = "integer", json_path = ".status.packages.ready"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes.summary"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PackageRegistrySpec {
    /// Serving pods. A volume is written by one pod alone; more of them need `storage.s3`.
    #[schemars(range(min = 1, max = 64))]
    #[serde(default = "one")]
    pub instances: i32,

    /// Image of the serving pods; unless set, the operator's own, so that an upgrade of the operator upgrades them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// Secrets of this namespace with which the nodes pull the serving pods' image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// CPU and memory of the serving container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Where and how the serving pods are scheduled.
    #[serde(default, skip_serializing_if = "PodTemplate::is_empty")]
    pub pod_template: PodTemplate,

    /// Where the content is kept: exactly one of its fields. The kind can't be changed later.
    #[serde(default)]
    pub storage: Storage,

    /// The Service in front of the pods; its name and the namespace make the registry's host name.
    #[serde(default)]
    pub service: Service,

    /// Where the serving certificate comes from: exactly one of its fields.
    #[serde(default)]
    pub tls: Tls,

    /// Whether and for which names the nodes' container runtimes trust the registry.
    #[serde(default)]
    pub node_trust: NodeTrust,

    /// The identity of the serving pods.
    #[serde(default, skip_serializing_if = "ServiceAccount::is_empty")]
    pub service_account: ServiceAccount,

    /// Rules for packages.
    #[serde(default)]
    pub packages: Packages,

    /// When and how content is collected that nothing refers to any more.
    #[serde(default, skip_serializing_if = "GarbageCollection::is_empty")]
    pub garbage_collection: GarbageCollection,

    /// What happens to the volume and to the Secret of the certificate authority when the object is deleted. `Retain`:
    /// they stay, and a registry of the same name adopts them. `Delete`: they go too. What is in a bucket, in the volume of
    /// `storage.volume.claimName` or in the folder `storage.volume.hostPath` always stays.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// While true the operator changes nothing of this registry; what runs goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

impl Default for PackageRegistrySpec {
    fn default() -> Self {
        Self {
            instances: one(),
            image: None,
            image_pull_secrets: Vec::new(),
            resources: None,
            pod_template: PodTemplate::default(),
            storage: Storage::default(),
            service: Service::default(),
            tls: Tls::default(),
            node_trust: NodeTrust::default(),
            service_account: ServiceAccount::default(),
            packages: Packages::default(),
            garbage_collection: GarbageCollection::default(),
            deletion_policy: DeletionPolicy::default(),
            suspend: false,
        }
    }
}

/// Scheduling, labels and annotations of the serving pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Affinity of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the pods spread.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Annotations of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// More labels of the pods; those of the operator win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl PodTemplate {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The Service in front of the serving pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Name of the Service; unless set, the object's. The registry's host is `<name>.<namespace>.svc`. Pods name images by
    /// that host, so keep it when a registry is replaced by another object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Type of the Service. Nodes use the cluster address whatever the type.
    #[serde(rename = "type")]
    pub type_: ServiceType,
}

/// Type of a Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ServiceType {
    /// Reached from inside the cluster.
    #[default]
    ClusterIP,
    /// Reached on a port of every node, too.
    NodePort,
    /// Reached through a load balancer, too.
    LoadBalancer,
}

/// Where the serving certificate comes from.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.selfManaged)").message("exactly one of tls must be set: selfManaged"))]
pub struct Tls {
    /// The operator makes an authority for this registry and signs its certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_managed: Option<SelfManagedTls>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { self_managed: Some(SelfManagedTls::default()) }
    }
}

/// Lives of the operator's certificates. Both are renewed when two thirds of their life are over.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.duration) >= duration('1h') && duration(self.caDuration) >= duration(self.duration)")
    .message("duration must be at least 1h, and caDuration at least duration"))]
pub struct SelfManagedTls {
    /// Life of the authority's certificate, as `87600h`.
    #[schemars(length(max = 32))]
    #[serde(default = "ten_years")]
    pub ca_duration: Duration,
    /// Life of the serving certificate, as `2160h`.
    #[schemars(length(max = 32))]
    #[serde(default = "ninety_days")]
    pub duration: Duration,
}

impl Default for SelfManagedTls {
    fn default() -> Self {
        Self { ca_duration: ten_years(), duration: ninety_days() }
    }
}

/// What nodes trust.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeTrust {
    /// Whether the nodes' container runtimes are told of this registry.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Upstream registries (`docker.io`) for which nodes ask this registry first, so that unchanged image names run from it.
    /// Works only in namespaces that the operator's `--privileged-namespaces` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub mirrors: Vec<String>,
}

impl Default for NodeTrust {
    fn default() -> Self {
        Self { enabled: true, mirrors: Vec::new() }
    }
}

/// The identity of the serving pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccount {
    /// Name of the ServiceAccount that the operator makes; unless set, the object's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Annotations of the ServiceAccount, say for a cloud's workload identity.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ServiceAccount {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens to kept content when the object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It goes too.
    Delete,
}

fn one() -> i32 {
    1
}

fn yes() -> bool {
    true
}

fn ten_years() -> Duration {
    Duration::from(std::time::Duration::from_hours(87_600))
}

fn ninety_days() -> Duration {
    Duration::from(std::time::Duration::from_hours(2_160))
}
