//! Names that are somebody else's.

use e2e::walk;

use crate::stage::{REGISTRY, Stage};

#[test]
fn a_service_of_the_same_name_that_somebody_else_made_is_left_alone_until_it_goes() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("taken");
    place.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {REGISTRY}, namespace: taken, labels: {{app: other}}}}\n\
         spec: {{selector: {{app: other}}, ports: [{{port: 80}}]}}\n"
    ));
    let before = place.get("service", REGISTRY).unwrap();
    place.registry("");
    let registry = place.reason("Ready", "NameTaken");
    assert!(registry.has("Ready", "False") && registry.has("Stalled", "True"), "{}", registry.summary());
    let (_, _, message) = registry.condition("Ready").unwrap();
    assert!(message.contains("Service main"), "{message}");
    assert_eq!(registry.condition("ServingReady").unwrap().1, "NameTaken");
    // The rest is made all the same, and nodes aren't told of an address that isn't the registry's.
    place.touch();
    walk::wait_until("the claim", crate::stage::WITHIN, || walk::get(place.cluster, "pvc", "taken", REGISTRY)).unwrap();
    assert!(registry.0.pointer("/status/clusterIPs/0").is_none(), "{}", registry.0);
    assert_eq!(crate::state::of(&place)["trust"], serde_json::json!([]));
    assert_eq!(place.get("service", REGISTRY).unwrap().0, before.0);

    walk::delete(place.cluster, "service", "taken", REGISTRY).unwrap();
    let registry = place.settle();
    assert!(registry.condition("Stalled").is_none(), "{}", registry.summary());
    let service = place.get("service", REGISTRY).unwrap();
    assert_eq!(service.text("/metadata/ownerReferences/0/uid"), registry.uid());
    stage.finish(controller);
}
