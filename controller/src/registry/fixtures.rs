//! What the tests of this crate start from.

use crds::{PackageRegistry, PackageRegistrySpec};

use crate::arguments::Settings;

/// Settings of an operator in the namespace `ops`.
pub(crate) fn settings() -> Settings {
    Settings {
        operator_namespace: "ops".into(),
        node_trust_namespace: "ops-node-trust".into(),
        image: "registry.example/all:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        privileged_namespaces: vec!["ops".into()],
        cluster_domain: Some("cluster.local".into()),
        containerd_certs_dir: "/etc/containerd/certs.d".into(),
        containerd_config_dir: "/etc/containerd".into(),
    }
}

/// The registry `registry` in the namespace `demo` with that spec (YAML).
pub(crate) fn registry(spec: &str) -> PackageRegistry {
    let spec: PackageRegistrySpec = serde_saphyr::from_str(spec).unwrap();
    let mut registry = PackageRegistry::new("registry", spec);
    registry.metadata.namespace = Some("demo".into());
    registry.metadata.uid = Some("6b2f8e4e-0000-4000-8000-000000000001".into());
    registry.metadata.generation = Some(3);
    registry
}
