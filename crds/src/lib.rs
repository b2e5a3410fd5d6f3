//! The API `registry.dcos.io/v1alpha1`: the `PackageRegistry` and `Package` kinds, the words of their conditions, and the
//! generator of what is derived from them (CRD manifests, the options table).
//!
//! Nothing here calls a cluster. `kubectl explain packageregistry --recursive` prints the same descriptions.

pub mod condition;
pub mod names;
pub mod options;
pub mod package;
pub mod reason;
pub mod registry;

pub use package::{
    ImageStatus, Package, PackageSource, PackageSpec, PackageStatus, ProgressStatus, RegistryReference,
    SecretReference, UploadSource, UrlSource, WorkloadsStatus,
};
pub use registry::{
    CaBundleKind, CaBundleReference, CertificateStatus, DEFAULT_CONTAINER_PATH, DeletionPolicy, GarbageCollection,
    InstancesStatus, LocalStorage, NodeTrust, NodesStatus, OnConflict, PackageRegistry, PackageRegistrySpec,
    PackageRegistryStatus, Packages, PackagesStatus, PodTemplate, Removal, S3Storage, SelfManagedTls, Service,
    ServiceAccount, ServiceType, Sources, Storage, StorageStatus, Tls, VolumeStorage,
};

/// Group of both kinds.
pub const GROUP: &str = "registry.dcos.io";

/// Version of both kinds.
pub const VERSION: &str = "v1alpha1";
