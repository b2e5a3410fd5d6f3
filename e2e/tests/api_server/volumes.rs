//! Registries on volumes that exist already: claims of users, and folders of nodes.

use e2e::walk::{self, Object};

use crate::{
    nodes,
    stage::{Place, REGISTRY, Stage, WITHIN, must, wait},
};

/// A node whose host name is another one than its name, as on some clouds.
const NODE: &str =
    "{apiVersion: v1, kind: Node, metadata: {name: n1.example, labels: {kubernetes.io/hostname: host-1}}}";
const FOLDER: &str = "storage: {volume: {hostPath: /srv/packages, nodeName: n1.example}}";
/// The claim of a folder.
const CLAIM: &str = "main-volume";

fn volume(place: &Place<'_>) -> Option<Object> {
    walk::get(place.cluster, "pv", "", &volume_name(place)).unwrap()
}

fn volume_name(place: &Place<'_>) -> String {
    format!("package-registry.{}.{REGISTRY}", place.namespace)
}

fn remove_node(place: &Place<'_>) {
    walk::delete(place.cluster, "node", "", "n1.example").unwrap();
}

#[test]
fn a_folder_of_a_node_becomes_a_volume_for_one_claim_that_is_repaired_and_goes_with_its_registry() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("folder");
    place.registry(&format!("{FOLDER}, deletionPolicy: Delete"));
    let registry = place.reason("StorageReady", "InvalidSpec");
    let (_, _, message) = registry.condition("StorageReady").unwrap();
    assert!(message.contains("there is no node n1.example"), "{message}");

    must(walk::apply(place.cluster, NODE));
    let registry = place.settle();
    assert_eq!(registry.text("/status/storage/kind"), "volume");
    let made = volume(&place).unwrap();
    let host = "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0";
    for (pointer, value) in [
        (host, "host-1"),
        ("/spec/local/path", "/srv/packages"),
        ("/spec/persistentVolumeReclaimPolicy", "Retain"),
        ("/spec/claimRef/namespace", "folder"),
        ("/spec/claimRef/name", CLAIM),
    ] {
        assert_eq!(made.text(pointer), value, "{pointer}");
    }
    assert!(place.get("pvc", REGISTRY).is_none(), "nothing else is claimed");

    held_for_its_claim(&place);
    put_right(&place, r#"{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}"#, "/spec/persistentVolumeReclaimPolicy");
    put_right(&place, r#"{"metadata":{"labels":{"registry.dcos.io/registry":null}}}"#, "/metadata/labels");
    comes_back(&place);

    place.delete_registry();
    walk::wait_gone(place.cluster, "pvc", &place.namespace, CLAIM, WITHIN).unwrap();
    walk::wait_gone(place.cluster, "pv", "", &volume_name(&place), WITHIN).unwrap();
    remove_node(&place);
    stage.finish(controller);
}

/// A claim that is made anew is another one, to which a volume that names the first would never be bound.
fn held_for_its_claim(place: &Place<'_>) {
    for _ in 0..2 {
        let claim = place.get("pvc", CLAIM).unwrap();
        let uid = claim.uid().to_owned();
        wait("the volume to be held for its claim", || {
            Ok(volume(place).filter(|volume| volume.text("/spec/claimRef/uid") == uid))
        });
        walk::delete(place.cluster, "pvc", &place.namespace, CLAIM).unwrap();
        wait("another claim", || Ok(place.get("pvc", CLAIM).filter(|claim| claim.uid() != uid)));
    }
    place.settle();
}

fn put_right(place: &Place<'_>, patch: &str, pointer: &str) {
    let field = || volume(place).and_then(|volume| volume.0.pointer(pointer).cloned());
    let before = field();
    place.cluster.kubectl(&["patch", "pv", &volume_name(place), "--type=merge", "-p", patch]).unwrap();
    wait(&format!("{pointer} to be put right"), || Ok((field() == before).then_some(())));
}

fn comes_back(place: &Place<'_>) {
    let uid = volume(place).unwrap().uid().to_owned();
    walk::delete(place.cluster, "pv", "", &volume_name(place)).unwrap();
    wait("the volume to come back", || Ok(volume(place).filter(|volume| volume.uid() != uid)));
}

#[test]
fn a_folder_that_was_kept_is_adopted_and_another_one_is_refused_with_what_to_do() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("folder-kept");
    must(walk::apply(place.cluster, NODE));
    place.registry(FOLDER);
    place.settle();
    let (made, claim) = (volume(&place).unwrap(), place.get("pvc", CLAIM).unwrap());
    place.delete_registry();
    assert!(volume(&place).is_some() && place.get("pvc", CLAIM).is_some(), "Retain keeps both");
    place.registry(FOLDER);
    place.settle();
    assert_eq!(volume(&place).unwrap().uid(), made.uid());
    assert_eq!(place.get("pvc", CLAIM).unwrap().uid(), claim.uid());
    place.delete_registry();

    place.registry("storage: {volume: {hostPath: /srv/other, nodeName: n1.example}}");
    let registry = place.reason("StorageReady", "InvalidSpec");
    let (_, _, message) = registry.condition("StorageReady").unwrap();
    assert!(message.contains("/srv/packages") && message.contains("/srv/other"), "{message}");
    walk::delete(place.cluster, "pvc", &place.namespace, CLAIM).unwrap();
    walk::wait_gone(place.cluster, "pvc", &place.namespace, CLAIM, WITHIN).unwrap();
    walk::delete(place.cluster, "pv", "", &volume_name(&place)).unwrap();
    place.settle();
    assert_eq!(volume(&place).unwrap().text("/spec/local/path"), "/srv/other");
    place.delete_registry();
    walk::delete(place.cluster, "pvc", &place.namespace, CLAIM).unwrap();
    walk::delete(place.cluster, "pv", "", &volume_name(&place)).unwrap();
    remove_node(&place);
    stage.finish(controller);
}

#[test]
fn a_folder_is_not_allowed_in_an_ordinary_namespace() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("folder-refused");
    must(walk::apply(place.cluster, NODE));
    place.registry(FOLDER);
    let registry = place.reason("StorageReady", "NotAllowed");
    let (_, _, message) = registry.condition("StorageReady").unwrap();
    assert!(message.contains("namespace folder-refused") && message.contains("--privileged-namespaces"), "{message}");
    let registry = place.reason("Ready", "NotAllowed");
    assert!(registry.has("Stalled", "True"), "{}", registry.summary());
    assert!(volume(&place).is_none() && place.get("pvc", CLAIM).is_none());
    place.delete_registry();
    remove_node(&place);
    stage.finish(controller);
}

#[test]
fn a_claim_that_the_spec_names_is_waited_for_and_outlives_the_registry() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("claim");
    place.registry("storage: {volume: {claimName: packages}}, deletionPolicy: Delete");
    let registry = place.reason("StorageReady", "DependencyNotReady");
    let (_, _, message) = registry.condition("StorageReady").unwrap();
    assert!(message.contains("there is no PersistentVolumeClaim packages"), "{message}");
    place.apply(
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: packages, namespace: claim}, spec: {accessModes: \
         [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
    );
    nodes::bind(place.cluster, &place.get("pvc", "packages").unwrap()).unwrap();
    place.settle();
    let before = place.get("pvc", "packages").unwrap();
    assert!(place.get("pvc", REGISTRY).is_none(), "nothing else is claimed");
    place.delete_registry();
    walk::wait_gone(place.cluster, "deployment", &place.namespace, REGISTRY, WITHIN).unwrap();
    assert_eq!(place.get("pvc", "packages").unwrap().0, before.0, "it is the user's");
    stage.finish(controller);
}
