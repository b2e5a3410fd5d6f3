//! Types of conditions (`metav1.Condition`), after the conventions of kstatus.

/// Sums up: True when the object does its job. On both kinds.
pub const READY: &str = "Ready";
/// Work is under way. Present only while True. On both kinds.
pub const RECONCILING: &str = "Reconciling";
/// Nothing will change until somebody acts. Present only while True. On both kinds.
pub const STALLED: &str = "Stalled";

/// `PackageRegistry`: the storage is there.
pub const STORAGE_READY: &str = "StorageReady";
/// `PackageRegistry`: certificate authority and serving certificate are valid and in place.
pub const CERTIFICATE_READY: &str = "CertificateReady";
/// `PackageRegistry`: the pods serve.
pub const SERVING_READY: &str = "ServingReady";
/// `PackageRegistry`: every node trusts the registry's hosts and mirrored upstreams.
pub const NODES_TRUSTED: &str = "NodesTrusted";

/// `Package`: the bundle's bytes were read from the source.
pub const FETCHED: &str = "Fetched";
/// `Package`: workloads use its images.
pub const IN_USE: &str = "InUse";
/// `Package`: the package is in the catalogue, whole.
pub const PUBLISHED: &str = "Published";
