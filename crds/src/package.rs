//! The `Package` kind: one package that a registry should have.

#![expect(clippy::duplicated_attributes, reason = "printer columns share their attributes' names")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A package in a registry of the same namespace: fetched, checked, and served whole or not at all.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "registry.dcos.io",
    version = "v1alpha1",
    kind = "Package",
    namespaced,
    doc = "A package (metadata, files, container images) that a registry of the same namespace should serve.",
    status = "PackageStatus",
    shortname = "regpkg",
    category = "all",
    category = "package-registry",
    derive = "PartialEq",
    selectable = ".spec.registryRef.name",
    cel,
    printcolumn(name = "Package", type_ = "string", json_path = ".status.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Registry", type_ = "string", json_path = ".spec.registryRef.name"),
    printcolumn(name = "Size", type_ = "integer", json_path = ".status.size"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.summary"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct PackageSpec {
    /// The registry that should have the package; it lives in the same namespace.
    pub registry_ref: RegistryReference,

    /// Number that orders the versions of one package name; the highest is the default one. Unless set: the object's
    /// creation time in Unix seconds, raised until it is above every other of that name, and kept from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_611_686_018_427_387_904_i64))]
    pub release_version: Option<i64>,

    /// Where the package comes from: exactly one of its fields.
    pub source: PackageSource,

    /// While true nothing is fetched or changed for this object; what is published stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// A `PackageRegistry` of the same namespace.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name == oldSelf.name").message("registryRef is immutable: make a new Package for another registry"))]
pub struct RegistryReference {
    /// Name of the PackageRegistry.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Where a bundle comes from.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.url) ? 1 : 0) + (has(self.upload) ? 1 : 0) == 1").message("exactly one source must be set: url or upload"))]
#[x_kube(validation = Rule::new("has(self.upload) == has(oldSelf.upload)")
    .message("an upload can't become another kind of source, nor the other way: delete the Package and make a new one"))]
pub struct PackageSource {
    /// A `.dcos` file behind an address. The registry's `packages.sources` must allow its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlSource>,

    /// What came in through the command line or the web pages. The operator makes such Packages by itself; deleting one takes
    /// the package out of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadSource>,
}

/// A package that was uploaded.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UploadSource {
    /// Content digest of the package: `sha256:` and 64 lower-case hexadecimal digits, as the registry says it.
    #[schemars(length(min = 71, max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
}

/// A `.dcos` file behind an address.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UrlSource {
    /// Address of the file, `http://` or `https://`, without user and password.
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://[^/@\\s]+(/[^\\s]*)?$"))]
    pub url: String,

    /// SHA-256 of the file, 64 lower-case hexadecimal digits. Needed unless the registry's
    /// `packages.sources.requireDigest` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,

    /// A Secret of this namespace with `username` and `password`, or with `token`, for that host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// A Secret of this namespace whose `ca.crt` (PEM) is trusted for that host instead of the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretReference>,
}

/// A Secret of the same namespace.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What became of a package.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PackageStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Fetched`, `Published`, `InUse`, `Ready`; `Reconciling` and `Stalled` only while True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Name of the package, from the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Version of the package, from the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Number that orders the versions of that name; used again when the content must be fetched again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_version: Option<i64>,

    /// Content digest, `sha256:` and 64 hexadecimal digits: the same content has the same digest however it was zipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,

    /// Bytes of the content, each file and image layer counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,

    /// Images of the package, at most 64 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub images: Vec<ImageStatus>,

    /// Workloads that use the package's images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<WorkloadsStatus>,

    /// How far the transfer is, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,

    /// Value of the annotation `registry.dcos.io/requested-at` that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// An image that can be pulled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// Name of the image in the package.
    pub name: String,
    /// What to write into a pod: registry host, upstream host, repository, tag and digest.
    pub reference: String,
    /// Digest of the manifest or index.
    pub digest: String,
    /// Platforms, as `linux/amd64`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
}

/// Workloads that use a package.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadsStatus {
    /// How many there are.
    pub count: i32,
    /// Some of them, as `Pod apps/web-1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub examples: Vec<String>,
}

/// Bytes of a transfer.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProgressStatus {
    /// Bytes taken in, rounded.
    pub bytes_done: i64,
    /// Bytes in all, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<i64>,
    /// The same for people: `12 MB of 206 MB`.
    pub summary: String,
}
