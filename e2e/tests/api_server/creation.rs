//! A registry comes up.

use e2e::{api_server::TRUST_NAMESPACE, walk};

use crate::{
    nodes,
    stage::{REGISTRY, Stage, wait},
};

/// What a registry has in its namespace, and whether it goes with the registry.
pub const CHILDREN: [(&str, &str, bool); 9] = [
    ("deployment", "main", true),
    ("service", "main", true),
    ("serviceaccount", "main", true),
    ("serviceaccount", "main-publisher", true),
    ("rolebinding", "main-publisher", true),
    ("configmap", "main-ca", true),
    ("secret", "main-tls", true),
    ("secret", "main-ca", false),
    ("pvc", "main", false),
];

#[test]
fn a_registry_gets_every_child_and_is_ready_once_its_volume_its_pods_and_the_agents_are() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("created");
    place.registry("");
    for (kind, name, _) in CHILDREN {
        wait(&format!("{kind} {name}"), || walk::get(place.cluster, kind, &place.namespace, name));
    }
    let binding = format!("package-registry:{}:{REGISTRY}", place.namespace);
    wait("the cluster-wide binding", || walk::get(place.cluster, "clusterrolebinding", "", &binding));
    let agents = "package-registry-node-trust";
    wait("the agents", || walk::get(place.cluster, "daemonset", TRUST_NAMESPACE, agents));

    let registry = place.has("CertificateReady", "True");
    assert!(registry.has("Ready", "False") && registry.has("Reconciling", "True"), "{}", registry.summary());
    nodes::bind(place.cluster, &place.get("pvc", REGISTRY).unwrap()).unwrap();
    assert!(place.has("StorageReady", "True").has("Ready", "False"));
    nodes::serve(place.cluster, &place.get("deployment", REGISTRY).unwrap()).unwrap();
    assert!(place.has("ServingReady", "True").has("Ready", "False"));
    nodes::trust(place.cluster).unwrap();
    let registry = place.settle();

    let uid = registry.uid();
    for (kind, name, owned) in CHILDREN {
        let child = place.get(kind, name).unwrap();
        let owner = if owned { uid } else { "" };
        assert_eq!(child.text("/metadata/ownerReferences/0/uid"), owner, "{kind} {name}");
    }
    let service = place.get("service", REGISTRY).unwrap();
    assert_eq!(registry.text("/status/clusterIPs/0"), service.text("/spec/clusterIP"));
    assert_eq!(registry.text("/status/url"), "https://main.created.svc");
    assert_eq!(registry.text("/status/nodes/summary"), "2/2");
    let authority = place.get("configmap", "main-ca").unwrap();
    assert!(authority.text("/data/ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(registry.text("/status/caBundle"), authority.text("/data/ca.crt"));
    assert!(registry.condition("Reconciling").is_none() && registry.condition("Stalled").is_none());
    stage.finish(controller);
}
