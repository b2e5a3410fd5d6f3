//! Registries on volumes that exist already: a folder of a node, and somebody's claim.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf};

use e2e::walk;

use crate::site::{Place, WITHIN};

const NODE: &str = "node1";
const FOLDER: &str = "/srv/package-registry-e2e";
const VOLUME: &str = "package-registry.folder.dcos-registry";
const CLAIM: &str = "dcos-registry-volume";
const SELECTOR: &str = "registry.dcos.io/registry=dcos-registry";
/// Group of the serving pods, to which the kubelet hands the folder.
const GROUP: u32 = 65532;

fn registry(place: &Place, storage: &str, more: &str) {
    place.apply(&format!(
        "apiVersion: registry.dcos.io/v1alpha1\nkind: PackageRegistry\nmetadata: {{name: dcos-registry, namespace: {}}}\n\
         spec: {{storage: {{volume: {{{storage}}}}}, deletionPolicy: Delete, {more}}}\n",
        place.namespace,
    ));
}

fn on_folder(place: &Place, more: &str) {
    registry(place, &format!("hostPath: {FOLDER}, nodeName: {NODE}"), more);
}

const SOURCES: &str = "packages: {sources: {allowedHosts: ['files.site.svc:8080']}}";

fn delete_registry(place: &Place) {
    walk::delete(place.cluster(), "packageregistry", &place.namespace, "dcos-registry").unwrap();
    walk::wait_gone(place.cluster(), "packageregistry", &place.namespace, "dcos-registry", WITHIN).unwrap();
}

/// Packages that nobody serves go at once.
fn delete_package(place: &Place) {
    walk::delete(place.cluster(), "package", &place.namespace, "hello").unwrap();
    walk::wait_gone(place.cluster(), "package", &place.namespace, "hello", WITHIN).unwrap();
}

fn serves_hello(place: &Place) {
    assert_eq!(place.catalogue(), ["hello"]);
    assert!(place.read("/v2/docker.io/example/hello/manifests/1.0").is_some());
}

/// Blobs alone: the rest is what a server writes while it runs.
fn blobs(place: &Place) -> Vec<PathBuf> {
    place.files_on_node(NODE, FOLDER).into_iter().filter(|file| file.starts_with("blobs")).collect()
}

fn on_node(place: &Place, command: &[&str]) {
    let output = place.cluster().run_on_node(NODE, command).unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_registry_on_a_folder_runs_on_its_node_and_leaves_its_content_to_the_next_one() {
    let place = Place::new("folder");
    if !place.cluster().is_ours() {
        println!("skipped: folders of another cluster's nodes can't be looked at");
        return place.leave();
    }
    on_node(&place, &["rm", "-rf", FOLDER]);
    on_folder(&place, SOURCES);
    // Nobody has made the folder yet, and the registry says so.
    let registry = place.reason("packageregistry", "dcos-registry", "StorageReady", "ProgressingWithRetry");
    let (_, _, message) = registry.condition("StorageReady").unwrap();
    assert!(message.contains(FOLDER) && message.contains(NODE) && message.contains("does not exist"), "{message}");
    on_node(&place, &["mkdir", "-p", FOLDER]);
    place.registry_has("Ready", "True");
    let pods = walk::get_all(place.cluster(), "pod", &place.namespace, SELECTOR).unwrap();
    assert_eq!(pods[0].text("/spec/nodeName"), NODE);
    let root = place.cluster().node_root_path(NODE, FOLDER).unwrap();
    assert_eq!(std::fs::metadata(root).unwrap().gid(), GROUP);

    place.hello();
    place.package_has("hello", "Ready", "True");
    serves_hello(&place);
    let kept = blobs(&place);
    assert!(kept.len() > 3, "{kept:?}");
    delete_registry(&place);
    for (kind, namespace, name) in [("pvc", place.namespace.as_str(), CLAIM), ("pv", "", VOLUME)] {
        walk::wait_gone(place.cluster(), kind, namespace, name, WITHIN).unwrap();
    }
    assert_eq!(blobs(&place), kept, "what is in the folder stays");
    delete_package(&place);

    // Nothing can be fetched now: what is served was there.
    on_folder(&place, "");
    place.registry_has("Ready", "True");
    serves_hello(&place);
    a_claim_that_is_made_anew_gets_the_volume(&place);
    serves_hello(&place);
    delete_registry(&place);
    walk::wait_gone(place.cluster(), "pv", "", VOLUME, WITHIN).unwrap();
    on_node(&place, &["rm", "-rf", FOLDER]);
    place.leave();
}

/// The volume of a claim that is gone is "released", and would never be bound again by itself.
fn a_claim_that_is_made_anew_gets_the_volume(place: &Place) {
    let before = place.get("pvc", CLAIM).unwrap();
    let deletion = ["delete", "pvc", CLAIM, "-n", &place.namespace, "--wait=false"];
    place.cluster().kubectl(&deletion).unwrap();
    place.cluster().kubectl(&["delete", "pod", "-n", &place.namespace, "-l", SELECTOR]).unwrap();
    walk::wait_until("another claim to be bound", WITHIN, || {
        let claim = walk::get(place.cluster(), "pvc", &place.namespace, CLAIM)?;
        Ok(claim.filter(|claim| claim.uid() != before.uid() && claim.text("/status/phase") == "Bound"))
    })
    .unwrap();
    place.registry_has("Ready", "True");
}

#[test]
fn a_registry_on_somebodys_claim_never_takes_it_along() {
    let place = Place::new("claim");
    registry(&place, "claimName: packages, containerPath: /srv/packages", SOURCES);
    place.reason("packageregistry", "dcos-registry", "StorageReady", "DependencyNotReady");
    place.apply(
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: packages, namespace: claim}, spec: {accessModes: \
         [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
    );
    place.registry_has("Ready", "True");
    place.hello();
    place.package_has("hello", "Ready", "True");
    serves_hello(&place);
    delete_registry(&place);
    delete_package(&place);
    let claim = place.get("pvc", "packages").unwrap();
    assert!(claim.text("/metadata/deletionTimestamp").is_empty());

    registry(&place, "claimName: packages", "");
    place.registry_has("Ready", "True");
    serves_hello(&place);
    place.leave();
}
