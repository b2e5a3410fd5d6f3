//! Children of a registry that somebody edits or deletes by hand are repaired.

use e2e::walk;
use serde_json::Value;

use crate::site::{Place, WITHIN, chain};

/// Kind and name of each child in the registry's namespace.
const CHILDREN: &[(&str, &str)] = &[
    ("deployment", "dcos-registry"),
    ("service", "dcos-registry"),
    ("serviceaccount", "dcos-registry"),
    ("serviceaccount", "dcos-registry-publisher"),
    ("rolebinding", "dcos-registry-publisher"),
    ("configmap", "dcos-registry-ca"),
    ("secret", "dcos-registry-tls"),
    ("secret", "dcos-registry-ca"),
];

#[test]
fn a_child_that_is_deleted_by_hand_comes_back_and_the_service_with_its_address() {
    let place = Place::new("deleted-child");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    let address = place.get("service", "dcos-registry").unwrap().text("/spec/clusterIP").to_owned();
    for (kind, name) in CHILDREN {
        let uid = place.get(kind, name).unwrap_or_else(|| panic!("no {kind} {name}")).uid().to_owned();
        walk::delete(place.cluster(), kind, &place.namespace, name).unwrap();
        walk::wait_until(&format!("{kind} {name} to come back"), WITHIN, || {
            let again = walk::get(place.cluster(), kind, &place.namespace, name)?;
            Ok(again.filter(|object| object.uid() != uid && object.text("/metadata/deletionTimestamp").is_empty()))
        })
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    assert_eq!(place.get("service", "dcos-registry").unwrap().text("/spec/clusterIP"), address);
    let binding = ("clusterrolebinding", "package-registry:deleted-child:dcos-registry");
    let uid = walk::get(place.cluster(), binding.0, "", binding.1).unwrap().expect(binding.1).uid().to_owned();
    walk::delete(place.cluster(), binding.0, "", binding.1).unwrap();
    walk::wait_until("the cluster-wide binding to come back", WITHIN, || {
        Ok(walk::get(place.cluster(), binding.0, "", binding.1)?.filter(|object| object.uid() != uid))
    })
    .unwrap_or_else(|error| panic!("{}", chain(&error)));
    place.registry_has("Ready", "True");
    place.registry_has("NodesTrusted", "True");
    let nodes = place.cluster().nodes().unwrap();
    let image = "dcos-registry.deleted-child.svc/docker.io/example/hello:1.0";
    assert!(place.pod_answers("after", &nodes[0], image).contains("after"));
    place.leave();
}

#[test]
fn what_tells_the_nodes_is_repaired_when_it_is_edited_or_deleted() {
    let place = Place::new("told");
    place.registry("");
    place.registry_has("NodesTrusted", "True");
    let (cluster, namespace, name) =
        (place.cluster(), "package-registry-system-node-trust", "package-registry-node-trust");
    let list =
        || walk::get(cluster, "configmap", namespace, name).unwrap().map(|map| map.text("/data/trust.json").to_owned());
    let right = list();
    let patch = r#"{"data":{"trust.json":"{\"registries\":[]}"}}"#;
    cluster.kubectl(&["patch", "configmap", "-n", namespace, name, "--type=merge", "-p", patch]).unwrap();
    walk::wait_until("the edited list to be put right", WITHIN, || Ok((list() == right).then_some(()))).unwrap();
    for kind in ["configmap", "daemonset"] {
        let uid = walk::get(cluster, kind, namespace, name).unwrap().unwrap().uid().to_owned();
        walk::delete(cluster, kind, namespace, name).unwrap();
        walk::wait_until(&format!("the {kind} to come back"), WITHIN, || {
            Ok(walk::get(cluster, kind, namespace, name)?.filter(|object| object.uid() != uid))
        })
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    place.registry_has("NodesTrusted", "True");
    place.leave();
}

#[test]
fn a_child_that_is_edited_by_hand_is_put_right() {
    let place = Place::new("edited-child");
    place.registry("");
    place.registry_has("Ready", "True");
    let edits = [
        ("deployment", "dcos-registry", r#"{"spec":{"replicas":0}}"#, "/spec/replicas"),
        (
            "deployment",
            "dcos-registry",
            r#"{"spec":{"template":{"spec":{"serviceAccountName":"default","serviceAccount":"default"}}}}"#,
            "/spec/template/spec/serviceAccountName",
        ),
        ("service", "dcos-registry", r#"{"spec":{"type":"NodePort"}}"#, "/spec/type"),
        ("configmap", "dcos-registry-ca", r#"{"data":{"ca.crt":"nothing"}}"#, "/data/ca.crt"),
        ("secret", "dcos-registry-tls", r#"{"data":{"tls.crt":"bm90aGluZw=="}}"#, "/data/tls.crt"),
        ("rolebinding", "dcos-registry-publisher", r#"{"subjects":[]}"#, "/subjects"),
        (
            "serviceaccount",
            "dcos-registry",
            r#"{"automountServiceAccountToken":true}"#,
            "/automountServiceAccountToken",
        ),
    ];
    for (kind, name, patch, pointer) in edits {
        let before = place.get(kind, name).unwrap();
        let changed: Value = serde_json::from_str(patch).unwrap();
        let wrong = changed.pointer(pointer).unwrap().clone();
        place.cluster().kubectl(&["patch", kind, "-n", &place.namespace, name, "--type=merge", "-p", patch]).unwrap();
        let after = walk::wait_until(&format!("{kind} {name} {pointer} to be put right"), WITHIN, || {
            let now = walk::get(place.cluster(), kind, &place.namespace, name)?;
            Ok(now.filter(|object| object.0.pointer(pointer) != Some(&wrong) && object.0.pointer(pointer).is_some()))
        })
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
        // A certificate is made anew; everything else is as it was.
        if kind != "secret" {
            assert_eq!(after.0.pointer(pointer), before.0.pointer(pointer), "{kind} {name} {pointer}");
        }
    }
    place.registry_has("Ready", "True");
    place.leave();
}

#[test]
fn a_nodes_trust_folder_that_is_edited_or_deleted_is_repaired_in_seconds() {
    let place = Place::new("drift");
    if !place.cluster().is_ours() {
        println!("skipped: the nodes' files of another cluster can't be reached");
        return place.leave();
    }
    place.registry("");
    place.registry_has("NodesTrusted", "True");
    let node = place.cluster().nodes().unwrap().pop().unwrap();
    let folder = place.cluster().node_root_path(&node, "/etc/containerd/certs.d/dcos-registry.drift.svc").unwrap();
    let file = folder.join("hosts.toml");
    let right = std::fs::read_to_string(&file).unwrap();
    // An agent looks every five seconds; the rest is for a machine that is busy.
    let within = std::time::Duration::from_secs(20);
    std::fs::write(&file, "server = \"https://elsewhere.test\"\n").unwrap();
    let repaired = || Ok((std::fs::read_to_string(&file).unwrap_or_default() == right).then_some(()));
    walk::wait_until("an edited hosts.toml to be repaired", within, repaired).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    walk::wait_until("a deleted folder to be repaired", within, repaired).unwrap();
    place.leave();
}
