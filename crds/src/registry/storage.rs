//! Where a registry keeps its content.

mod volume;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretReference;

pub use volume::{DEFAULT_CONTAINER_PATH, VolumeStorage};

/// Where the content is kept.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.local) ? 1 : 0) + (has(self.volume) ? 1 : 0) + (has(self.s3) ? 1 : 0) == 1")
    .message("exactly one storage must be set: local, volume or s3"))]
#[x_kube(validation = Rule::new("has(self.local) == has(oldSelf.local) && has(self.volume) == has(oldSelf.volume)")
    .message("the kind of storage is immutable: make another registry and add the packages there"))]
pub struct Storage {
    /// A volume that the operator claims. For one serving pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalStorage>,
    /// A volume that exists already: that of a claim, or a folder on a node. For one serving pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeStorage>,
    /// A bucket of Amazon S3, `MinIO` or another store with that interface. For any number of serving pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { local: Some(LocalStorage::default()), volume: None, s3: None }
    }
}

/// A volume claimed from a storage class.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)"
).message("storageClassName is immutable: a claimed volume can't move to another class"))]
pub struct LocalStorage {
    /// Size of the volume. It can grow where the storage class allows it, never shrink.
    #[serde(default = "ten_gibibytes")]
    pub size: Quantity,
    /// Storage class of the claim; unless set, the cluster's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

impl Default for LocalStorage {
    fn default() -> Self {
        Self { size: ten_gibibytes(), storage_class_name: None }
    }
}

/// A bucket, or a folder of one. No two registries may share it. The operator never deletes what is in it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.bucket == oldSelf.bucket")
    .message("bucket is immutable: pods of before and after the change would write to different places"))]
#[x_kube(validation = Rule::new("has(self.path) == has(oldSelf.path) && (!has(self.path) || self.path == oldSelf.path)")
    .message("path is immutable: pods of before and after the change would write to different places"))]
pub struct S3Storage {
    /// Name of the bucket; it must exist.
    #[schemars(length(min = 3, max = 63), regex(pattern = "^[a-z0-9][-.a-z0-9]*[a-z0-9]$"))]
    pub bucket: String,
    /// Where in the bucket everything is kept, as `teams/blue`, without a slash at either end; unless set, at its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = "^[A-Za-z0-9!_'()-][A-Za-z0-9!_.'()-]*(/[A-Za-z0-9!_'()-][A-Za-z0-9!_.'()-]*)*$")
    )]
    pub path: Option<String>,
    /// Address of the store, as `https://minio.example.com:9000`; unless set, Amazon's for the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512), regex(pattern = "^https?://[^/@?#\\s]+/?$"))]
    pub endpoint: Option<String>,
    /// Region that requests are signed for; unless set, that of an endpoint of the form `s3.<region>.…`, else `us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[a-zA-Z0-9][-_a-zA-Z0-9]*$"))]
    pub region: Option<String>,
    /// A Secret of this namespace whose key `credentials` holds an AWS shared credentials file. A new content reaches the
    /// running pods without a restart. Unless set, the pods find credentials as the AWS SDK does, say through an annotation
    /// of their ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
    /// Profile in the credentials file; unless set, `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[^\\[\\]\\s]([^\\[\\]\\r\\n]*[^\\[\\]\\s])?$"))]
    pub profile: Option<String>,
    /// Whether the bucket stands in the path of addresses rather than in front of the host; unless set, for every endpoint
    /// that isn't Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_path_style: Option<bool>,
    /// Certificates (PEM) of the authorities that sign the store's certificate, beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleReference>,
    /// How the store encrypts what it keeps: `AES256`, `aws:kms`, or `aws:kms:<key id>`. Unless set, as the bucket says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = "^(AES256|aws:kms(:[^\\s]+)?)$"))]
    pub server_side_encryption: Option<String>,
    /// Whether clients are sent to the store for the bytes of a blob, by an address that is good for a short time. Saves the
    /// pods the traffic; nodes must then reach the store and trust its certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redirect: bool,
}

/// A key of a ConfigMap or a Secret of the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CaBundleReference {
    /// What it is.
    #[serde(default)]
    pub kind: CaBundleKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key with the certificates.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// What holds certificates of authorities.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CaBundleKind {
    /// A ConfigMap.
    #[default]
    ConfigMap,
    /// A Secret.
    Secret,
}

fn ten_gibibytes() -> Quantity {
    Quantity("10Gi".into())
}

fn ca_key() -> String {
    "ca.crt".into()
}
