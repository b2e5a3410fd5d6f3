//! A registry goes, and what stays of it.

use e2e::{api_server::TRUST_NAMESPACE, walk};

use crate::{
    creation::CHILDREN,
    stage::{Place, REGISTRY, Stage, WITHIN, wait},
    state,
};

/// Checks that nothing is left but what is kept.
fn is_gone(place: &Place<'_>, kept: bool) {
    for (kind, name, owned) in CHILDREN {
        if owned || !kept {
            walk::wait_gone(place.cluster, kind, &place.namespace, name, WITHIN).unwrap();
        }
    }
    let binding = format!("package-registry:{}:{REGISTRY}", place.namespace);
    assert!(!walk::exists(place.cluster, "clusterrolebinding", "", &binding).unwrap());
    assert_eq!(state::of(place)["trust"], serde_json::json!([]));
}

#[test]
fn deletion_policy_retain_keeps_the_claim_and_the_authority_and_a_successor_adopts_them() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("retained");
    place.registry("");
    let first = place.settle();
    let claim = place.get("pvc", REGISTRY).unwrap();
    place.delete_registry();
    is_gone(&place, true);
    for (kind, name) in [("pvc", "main"), ("secret", "main-ca")] {
        let kept = place.get(kind, name).unwrap_or_else(|| panic!("{kind} {name} is kept"));
        assert!(kept.0.pointer("/metadata/ownerReferences").is_none());
        assert!(kept.text("/metadata/deletionTimestamp").is_empty());
    }
    place.registry("");
    let second = place.settle();
    assert_ne!(first.uid(), second.uid());
    assert_eq!(place.get("pvc", REGISTRY).unwrap().uid(), claim.uid());
    assert_eq!(first.text("/status/caBundle"), second.text("/status/caBundle"));
    stage.finish(controller);
}

#[test]
fn deletion_policy_delete_takes_the_claim_and_the_authority_and_can_be_chosen_late() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("unretained");
    place.registry("");
    place.settle();
    for (policy, owned) in [("Delete", true), ("Retain", false), ("Delete", true)] {
        place.registry(&format!("deletionPolicy: {policy}"));
        for (kind, name) in [("pvc", "main"), ("secret", "main-ca")] {
            wait(&format!("{kind} {name} to be owned: {owned}"), || {
                let child = walk::get(place.cluster, kind, &place.namespace, name)?;
                let is_owned = |child: &walk::Object| !child.text("/metadata/ownerReferences/0/uid").is_empty();
                Ok(child.filter(|child| is_owned(child) == owned))
            });
        }
    }
    place.delete_registry();
    is_gone(&place, false);
    stage.finish(controller);
}

#[test]
fn a_registry_can_be_deleted_when_the_agents_namespace_is_gone_and_the_next_one_works_once_it_is_back() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("untrusted");
    place.registry("");
    place.settle();
    walk::delete(place.cluster, "namespace", "", TRUST_NAMESPACE).unwrap();
    walk::wait_gone(place.cluster, "namespace", "", TRUST_NAMESPACE, WITHIN).unwrap();
    place.delete_registry();
    is_gone(&place, true);
    stage.apply_manifests();
    // The roles were gone with their namespace.
    stage.forget_refusals();
    place.registry("");
    place.settle();
    stage.finish(controller);
}
