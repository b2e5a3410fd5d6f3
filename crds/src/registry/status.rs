//! The status of a `PackageRegistry`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a registry is like now.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PackageRegistryStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `StorageReady`, `CertificateReady`, `ServingReady`, `NodesTrusted`, `Ready`; `Reconciling` and `Stalled` only while True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Address of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// Every address that its certificate and the nodes know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub urls: Vec<String>,

    /// Cluster addresses of the Service, asked for again when it must be made anew.
    #[serde(default, rename = "clusterIPs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub cluster_ips: Vec<String>,

    /// Certificates (PEM) of the authorities to trust; during a rotation the old and the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,

    /// The serving certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,

    /// The serving pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<InstancesStatus>,

    /// The nodes that trust the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesStatus>,

    /// The Package objects of this registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackagesStatus>,

    /// The storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,

    /// Version of the operator that last reconciled the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Value of the annotation `registry.dcos.io/rotate-ca` that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_ca_rotation: Option<String>,
}

/// The serving certificate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// When it expires (RFC 3339).
    pub not_after: String,
    /// When it is renewed (RFC 3339).
    pub renewal_time: String,
    /// SHA-256 of the certificate (DER), hexadecimal.
    pub fingerprint: String,
}

/// Serving pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstancesStatus {
    /// Pods that serve.
    pub ready: i32,
    /// Pods that should.
    pub desired: i32,
}

/// Nodes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodesStatus {
    /// Nodes that trust the registry.
    pub trusted: i32,
    /// Nodes that should.
    pub desired: i32,
    /// The same for people: `11/12`.
    pub summary: String,
    /// When nodes first trusted the registry so that it could be Ready (RFC 3339); never changed afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_since: Option<String>,
}

/// Package objects.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PackagesStatus {
    /// Package objects that refer to the registry.
    pub total: i32,
    /// Those that are Ready.
    pub ready: i32,
}

/// Storage.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Kind of storage: `local` or `s3`.
    pub kind: String,
}
