//! What is deleted is gone: children, cluster-wide bindings, files on nodes; and what `deletionPolicy` keeps is kept.

use e2e::walk;

use crate::site::{Place, WITHIN};

#[test]
fn a_deleted_package_leaves_the_catalogue_and_the_storage() {
    let place = Place::new("deleted-package");
    place.registry("");
    place.registry_has("Ready", "True");
    let empty = place.stored_files();
    place.hello();
    place.package_has("hello", "Ready", "True");
    if let (Some(before), Some(now)) = (&empty, place.stored_files()) {
        assert!(now.len() > before.len() + 3, "{now:?}");
    }
    walk::delete(place.cluster(), "package", &place.namespace, "hello").unwrap();
    walk::wait_gone(place.cluster(), "package", &place.namespace, "hello", WITHIN).unwrap();
    assert!(place.catalogue().is_empty());
    walk::wait_until("the storage to be empty again", WITHIN, || Ok((place.stored_files() == empty).then_some(())))
        .unwrap();
    place.leave();
}

#[test]
fn a_package_that_a_pod_uses_stays_and_names_it_until_the_removal_is_forced() {
    let place = Place::new("in-use");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    place.registry_has("NodesTrusted", "True");
    let nodes = place.cluster().nodes().unwrap();
    place.pod_answers("user", &nodes[0], "dcos-registry.in-use.svc/docker.io/example/hello:1.0");
    walk::delete(place.cluster(), "package", &place.namespace, "hello").unwrap();
    let package = place.package_has("hello", "InUse", "True");
    assert_eq!(package.text("/status/workloads/examples/0"), "Pod in-use/user");
    assert_eq!(place.catalogue(), ["hello"]);
    let force = "registry.dcos.io/force-removal=true";
    place.cluster().kubectl(&["annotate", "-n", &place.namespace, "package/hello", force]).unwrap();
    walk::wait_gone(place.cluster(), "package", &place.namespace, "hello", WITHIN).unwrap();
    assert!(place.catalogue().is_empty());
    place.leave();
}

#[test]
fn a_deleted_registry_leaves_no_child_and_no_node_file_but_its_volume_and_authority_which_a_successor_adopts() {
    let place = Place::new("retained");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    place.registry_has("NodesTrusted", "True");
    let authority = place.get("configmap", "dcos-registry-ca").unwrap().text("/data/ca.crt").to_owned();
    walk::delete(place.cluster(), "package", &place.namespace, "hello").unwrap();
    delete_registry(&place);
    assert!(place.get("pvc", "dcos-registry").is_some(), "Retain keeps the claim");
    assert!(place.get("secret", "dcos-registry-ca").is_some(), "Retain keeps the authority");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    assert_eq!(place.get("configmap", "dcos-registry-ca").unwrap().text("/data/ca.crt"), authority);
    place.leave();
}

#[test]
fn a_registry_with_deletion_policy_delete_takes_its_volume_and_authority_with_it() {
    let place = Place::new("unretained");
    place.registry("deletionPolicy: Delete");
    place.registry_has("NodesTrusted", "True");
    place.registry_has("Ready", "True");
    delete_registry(&place);
    for (kind, name) in [("pvc", "dcos-registry"), ("secret", "dcos-registry-ca")] {
        walk::wait_gone(place.cluster(), kind, &place.namespace, name, WITHIN).unwrap();
    }
    place.leave();
}

#[test]
fn a_package_whose_registry_is_gone_can_be_deleted() {
    let place = Place::new("orphan");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    walk::delete(place.cluster(), "packageregistry", &place.namespace, "dcos-registry").unwrap();
    walk::wait_gone(place.cluster(), "packageregistry", &place.namespace, "dcos-registry", WITHIN).unwrap();
    walk::delete(place.cluster(), "package", &place.namespace, "hello").unwrap();
    walk::wait_gone(place.cluster(), "package", &place.namespace, "hello", WITHIN).unwrap();
    place.leave();
}

/// Deletes the registry and checks that everything that must go goes.
fn delete_registry(place: &Place) {
    let cluster = place.cluster();
    walk::delete(cluster, "packageregistry", &place.namespace, "dcos-registry").unwrap();
    walk::wait_gone(cluster, "packageregistry", &place.namespace, "dcos-registry", WITHIN).unwrap();
    for (kind, name) in [
        ("deployment", "dcos-registry"),
        ("service", "dcos-registry"),
        ("serviceaccount", "dcos-registry"),
        ("serviceaccount", "dcos-registry-publisher"),
        ("rolebinding", "dcos-registry-publisher"),
        ("configmap", "dcos-registry-ca"),
        ("secret", "dcos-registry-tls"),
    ] {
        walk::wait_gone(cluster, kind, &place.namespace, name, WITHIN).unwrap();
    }
    let binding = format!("package-registry:{}:dcos-registry", place.namespace);
    walk::wait_gone(cluster, "clusterrolebinding", "", &binding, WITHIN).unwrap();
    let host = format!("dcos-registry.{}.svc", place.namespace);
    for node in cluster.nodes().unwrap() {
        walk::wait_until(&format!("{node}'s files to go"), WITHIN, || {
            Ok(place.trusted_hosts(&node).is_none_or(|hosts| !hosts.contains(&host)).then_some(()))
        })
        .unwrap();
    }
}
