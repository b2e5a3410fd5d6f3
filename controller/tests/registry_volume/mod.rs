//! Registries on volumes that exist already.

use controller::error::Classified;
use serde_json::{Value, json};

use crate::registry_world::{CLAIM, DEPLOYMENT, REGISTRY, World};

const VOLUME: &str = "/api/v1/persistentvolumes/package-registry.demo.registry";
const VOLUME_CLAIM: &str = "/api/v1/namespaces/demo/persistentvolumeclaims/registry-volume";
const USERS_CLAIM: &str = "/api/v1/namespaces/demo/persistentvolumeclaims/packages";
const NODE: &str = "/api/v1/nodes/n1";

fn on_folder() -> Value {
    json!({"nodeTrust": {"enabled": false}, "storage": {"volume": {"hostPath": "/srv/packages", "nodeName": "n1"}}})
}

fn on_claim() -> Value {
    json!({"nodeTrust": {"enabled": false}, "storage": {"volume": {"claimName": "packages"}}, "deletionPolicy": "Delete"})
}

fn node() -> Value {
    json!({"metadata": {"name": "n1", "uid": "node", "labels": {"kubernetes.io/hostname": "host-1"}}})
}

/// A registry on a folder of the node `n1`, in a namespace that may have one.
async fn folder_world() -> World {
    let mut world = World::privileged(&on_folder());
    world.put(NODE, node());
    world.settle().await;
    world
}

fn writes_of_children(world: &World) -> Vec<String> {
    world.writes().into_iter().filter(|write| !write.contains("/status")).collect()
}

async fn delete(world: &mut World) {
    let mut going = world.object(REGISTRY).unwrap();
    // Long ago: nobody says here what nodes are told of.
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.put(REGISTRY, going);
    world.pass().await.unwrap();
    assert!(world.object(REGISTRY).is_none());
}

#[tokio::test]
async fn a_folder_gets_a_volume_and_its_claim_and_undisturbed_passes_write_nothing() {
    let mut world = folder_world().await;
    assert!(world.object(CLAIM).is_none(), "no other volume is claimed");
    let claim = world.object(VOLUME_CLAIM).unwrap();
    assert_eq!(claim["spec"]["volumeName"], "package-registry.demo.registry");
    let mount = world.object(DEPLOYMENT).unwrap();
    let mount = &mount["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
    assert_eq!(mount, "registry-volume");

    // The cluster's binder notes which claim has the volume.
    world.pass().await.unwrap();
    world.edit(VOLUME, "/spec/claimRef/uid", claim["metadata"]["uid"].clone());
    world.edit(VOLUME_CLAIM, "/status", json!({"phase": "Bound"}));
    world.pass().await.unwrap();
    world.writes();
    assert_eq!(world.condition("StorageReady").0, "True");
    world.pass().await.unwrap();
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_volume_that_names_a_claim_of_before_is_held_for_the_one_of_now() {
    let mut world = folder_world().await;
    let first = world.remove(VOLUME_CLAIM)["metadata"]["uid"].clone();
    world.edit(VOLUME, "/spec/claimRef/uid", first.clone());
    world.pass().await.unwrap();
    world.pass().await.unwrap();
    let second = world.object(VOLUME_CLAIM).unwrap()["metadata"]["uid"].clone();
    assert_ne!(first, second);
    assert_eq!(world.object(VOLUME).unwrap()["spec"]["claimRef"]["uid"], second);
    world.writes();
    world.pass().await.unwrap();
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn an_edited_or_deleted_volume_is_put_right_also_while_its_node_is_gone() {
    let mut world = folder_world().await;
    world.pass().await.unwrap();
    world.writes();
    world.remove(NODE);
    for (pointer, value) in
        [("/spec/persistentVolumeReclaimPolicy", json!("Delete")), ("/spec/claimRef/namespace", json!("other"))]
    {
        world.edit(VOLUME, pointer, value);
        world.pass().await.unwrap();
        assert_eq!(writes_of_children(&world), [format!("PATCH {VOLUME}")], "{pointer}");
    }
    world.put(NODE, node());
    world.remove(VOLUME);
    world.pass().await.unwrap();
    let spec = world.object(VOLUME).unwrap()["spec"].clone();
    let host = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"][0];
    assert_eq!((&spec["persistentVolumeReclaimPolicy"], host), (&json!("Retain"), &json!("host-1")));
}

#[tokio::test]
async fn a_folder_is_refused_in_an_ordinary_namespace_and_the_rest_is_made() {
    let mut world = World::begin(&on_folder());
    world.put(NODE, node());
    world.settle().await;
    assert!(world.object(VOLUME).is_none() && world.object(VOLUME_CLAIM).is_none());
    assert!(world.object(DEPLOYMENT).is_some());
    for condition in ["StorageReady", "Ready", "Stalled"] {
        let (_, reason, message) = world.condition(condition);
        assert_eq!(reason, "NotAllowed", "{condition}");
        assert!(message.contains("--privileged-namespaces"), "{message}");
    }
    assert_eq!(world.condition("ServingReady").1, "DependencyNotReady");
}

#[tokio::test]
async fn a_volume_of_somebody_else_is_never_taken_over() {
    let mut world = World::privileged(&on_folder());
    world.put(NODE, node());
    let mut foreign = folder_world().await.object(VOLUME).unwrap();
    foreign["metadata"] = json!({"name": "package-registry.demo.registry", "uid": "foreign"});
    world.put(VOLUME, foreign.clone());
    world.pass().await.unwrap();
    assert_eq!(world.pass().await.unwrap_err().reason(), "NameTaken");
    assert_eq!(world.object(VOLUME).unwrap(), foreign);
    assert_eq!(world.condition("StorageReady").1, "NameTaken");
}

#[tokio::test]
async fn a_folders_volume_goes_with_the_registry_only_where_the_policy_says_so() {
    for (policy, stays) in [("Retain", true), ("Delete", false)] {
        let mut world = folder_world().await;
        let mut spec = on_folder();
        spec["deletionPolicy"] = policy.into();
        world.edit(REGISTRY, "/spec", spec);
        world.settle().await;
        let owned = !world.object(VOLUME_CLAIM).unwrap()["metadata"]["ownerReferences"].is_null();
        assert_eq!(owned, !stays, "the claim goes with its owner");
        delete(&mut world).await;
        assert_eq!(world.object(VOLUME).is_some(), stays, "{policy}");
    }
}

#[tokio::test]
async fn a_folders_claim_is_kept_by_a_policy_that_no_pass_applied() {
    let mut world = folder_world().await;
    let mut spec = on_folder();
    spec["deletionPolicy"] = "Delete".into();
    world.edit(REGISTRY, "/spec", spec.clone());
    world.settle().await;
    let claim = world.object(VOLUME_CLAIM).unwrap();
    assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], "registry-uid");
    spec["deletionPolicy"] = "Retain".into();
    spec["suspend"] = true.into();
    world.edit(REGISTRY, "/spec", spec);
    delete(&mut world).await;
    assert_eq!(world.object(VOLUME_CLAIM).unwrap()["metadata"]["ownerReferences"], json!([]));
    assert_eq!(world.object(VOLUME_CLAIM).unwrap()["spec"], claim["spec"]);
    assert!(world.object(VOLUME).is_some());
}

#[tokio::test]
async fn a_claim_of_the_user_is_waited_for_and_never_written() {
    let mut world = World::begin(&on_claim());
    world.settle().await;
    let (_, reason, message) = world.condition("StorageReady");
    assert_eq!(reason, "DependencyNotReady");
    assert!(message.contains("there is no PersistentVolumeClaim packages"), "{message}");
    assert_eq!(world.condition("Ready").2, message, "the cause, and not what follows from it");

    let claim = json!({"metadata": {"name": "packages", "namespace": "demo", "uid": "users"},
        "spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound"}});
    world.put(USERS_CLAIM, claim.clone());
    world.pass().await.unwrap();
    assert_eq!(world.condition("StorageReady").0, "True");
    delete(&mut world).await;
    assert_eq!(world.object(USERS_CLAIM).unwrap(), claim);
    assert!(world.object(CLAIM).is_none() && world.object(VOLUME).is_none());
}
