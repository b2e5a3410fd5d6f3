//! Labels, annotations and finalizers.

/// Label on every object that belongs to a registry: its name.
pub const REGISTRY_LABEL: &str = "registry.dcos.io/registry";
/// Label on objects outside the registry's namespace: the registry's namespace.
pub const REGISTRY_NAMESPACE_LABEL: &str = "registry.dcos.io/registry-namespace";
/// Finalizer of a `PackageRegistry`: takes back what lives outside its namespace.
pub const REGISTRY_FINALIZER: &str = "registry.dcos.io/withdraw-trust";
/// Finalizer of a `Package`: takes its content out of the registry.
pub const PACKAGE_FINALIZER: &str = "registry.dcos.io/withdraw-content";
/// Annotation: a new value asks for another attempt now.
pub const REQUESTED_AT: &str = "registry.dcos.io/requested-at";
/// Annotation on a `Package` with the value `true`: its removal doesn't wait for the workloads that use it.
pub const FORCE_REMOVAL: &str = "registry.dcos.io/force-removal";
/// Annotation on a `PackageRegistry`: a new value asks for a new certificate authority.
pub const ROTATE_CA: &str = "registry.dcos.io/rotate-ca";
