use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::registry::fixtures::settings;

fn checked_in(namespace: &str, spec: &str, live: &Live) -> Result<ExistingVolume, Error> {
    let spec: VolumeStorage = serde_saphyr::from_str(spec).unwrap();
    check(&spec, live, namespace, &Names::new(namespace, "registry"), &settings())
}

fn objection(spec: &str, live: &Live) -> Option<Objection> {
    checked_in("ops", spec, live).unwrap().objection
}

const FOLDER: &str = "{hostPath: /srv/packages, nodeName: n1}";

fn node(labels: &Value) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "n1", "labels": labels}})).unwrap()
}

fn volume(path: &str, hostname: &str) -> PersistentVolume {
    serde_json::from_value(json!({"metadata": {"name": "package-registry.ops.registry"}, "spec": {
        "local": {"path": path},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": HOSTNAME_LABEL, "operator": "In", "values": [hostname]}
        ]}]}}
    }}))
    .unwrap()
}

fn claim(spec: &Value) -> PersistentVolumeClaim {
    serde_json::from_value(json!({"metadata": {"name": "mine", "uid": "claim-uid"}, "spec": spec})).unwrap()
}

#[test]
fn a_folder_is_bound_to_the_host_name_that_its_node_has_as_a_label() {
    let live = Live {
        node: Some(node(&json!({HOSTNAME_LABEL: "ip-10-0-0-4"}))),
        claim: Some(claim(&json!({}))),
        ..Live::default()
    };
    let volume = checked_in("ops", FOLDER, &live).unwrap();
    assert_eq!(volume.objection, None);
    assert_eq!(volume.container_path, "/var/lib/package-registry");
    let Source::Folder(folder) = volume.source else { panic!("the spec names a folder") };
    assert_eq!((folder.hostname.as_str(), folder.claim_uid.as_deref()), ("ip-10-0-0-4", Some("claim-uid")));
}

#[test]
fn a_folder_is_refused_outside_the_privileged_namespaces_with_what_to_do() {
    let live = Live { node: Some(node(&json!({HOSTNAME_LABEL: "n1"}))), ..Live::default() };
    let refused = checked_in("demo", FOLDER, &live).unwrap().objection.unwrap();
    assert_eq!(refused.reason, reason::NOT_ALLOWED);
    assert!(refused.message.contains("namespace demo") && refused.message.contains("--privileged-namespaces"));
    assert_eq!(
        checked_in("demo", "{claimName: mine}", &live).unwrap().objection.unwrap().reason,
        reason::DEPENDENCY_NOT_READY
    );
}

#[test]
fn a_node_that_is_not_there_or_has_no_host_name_is_named_until_the_volume_is_made() {
    let missing = objection(FOLDER, &Live::default()).unwrap();
    assert_eq!(missing.reason, reason::INVALID_SPEC);
    assert!(missing.message.starts_with("spec.storage.volume.nodeName: there is no node n1"), "{}", missing.message);
    let bare = Live { node: Some(node(&json!({}))), ..Live::default() };
    assert!(objection(FOLDER, &bare).unwrap().message.contains("kubernetes.io/hostname"));
    let lost = Live { volume: Some(volume("/srv/packages", "n1")), ..Live::default() };
    assert_eq!(objection(FOLDER, &lost), None, "a node that is lost changes nothing of the volume");
}

#[test]
fn a_volume_of_before_for_another_folder_or_node_is_an_objection_that_says_how_to_go_on() {
    for (path, hostname) in [("/srv/other", "n1"), ("/srv/packages", "n2")] {
        let live = Live {
            node: Some(node(&json!({HOSTNAME_LABEL: "n1"}))),
            volume: Some(volume(path, hostname)),
            ..Live::default()
        };
        let said = objection(FOLDER, &live).unwrap();
        assert_eq!(said.reason, reason::INVALID_SPEC);
        for word in [path, hostname, "package-registry.ops.registry", "delete PersistentVolumeClaim registry-volume"] {
            assert!(said.message.contains(word), "no {word:?} in: {}", said.message);
        }
    }
}

#[test]
fn a_claim_must_be_there_stay_and_take_files() {
    let objection = |claim| self::objection("{claimName: mine}", &Live { claim, ..Live::default() });
    assert_eq!(objection(Some(claim(&json!({"accessModes": ["ReadWriteOnce"]})))), None);
    assert_eq!(objection(Some(claim(&json!({"accessModes": ["ReadOnlyMany", "ReadWriteMany"]})))), None);
    let mut leaving = claim(&json!({}));
    leaving.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    for (claim, reason, word) in [
        (None, reason::DEPENDENCY_NOT_READY, "there is no PersistentVolumeClaim mine"),
        (Some(leaving), reason::DEPENDENCY_NOT_READY, "is being deleted"),
        (Some(claim(&json!({"volumeMode": "Block"}))), reason::INVALID_SPEC, "volumeMode Filesystem"),
        (Some(claim(&json!({"accessModes": ["ReadOnlyMany"]}))), reason::INVALID_SPEC, "ReadWriteOnce"),
    ] {
        let said = objection(claim).unwrap();
        assert_eq!(said.reason, reason);
        let begins = said.message.starts_with("spec.storage.volume.claimName: ");
        assert!(begins && said.message.contains(word), "{}", said.message);
    }
}

#[test]
fn none_or_several_volumes_are_refused() {
    for spec in ["{}", "{claimName: a, hostPath: /b, nodeName: n}", "{hostPath: /b}", "{claimName: a, nodeName: n}"] {
        let error = checked_in("ops", spec, &Live::default()).unwrap_err().to_string();
        assert!(error.starts_with("spec.storage.volume: exactly one volume must be set"), "{spec}: {error}");
    }
}
