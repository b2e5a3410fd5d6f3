//! Edits of the spec, and what comes of taking them back.

use e2e::walk;

use crate::{
    seed::Chance,
    stage::{REGISTRY, Stage, WITHIN},
    state::{self, difference},
};

/// Parts of a spec that can be edited independently of each other.
const EDITS: [&str; 9] = [
    "service: {type: NodePort}",
    "podTemplate: {nodeSelector: {disk: fast}, annotations: {example.com/team: platform}, labels: {team: platform}, \
     tolerations: [{key: dedicated, operator: Exists}], priorityClassName: system-cluster-critical}",
    "resources: {requests: {cpu: 200m}, limits: {memory: 1Gi}}",
    "nodeTrust: {mirrors: [docker.io, quay.io]}",
    "serviceAccount: {name: images, annotations: {example.com/role: images}}",
    "packages: {sources: {allowedHosts: [files.test], allowedCIDRs: [10.9.0.0/16], requireDigest: false}}",
    "image: 'registry.test/other:2'",
    "imagePullSecrets: [{name: pull}]",
    "deletionPolicy: Delete",
];

/// Where a part has another form, it is this.
const OTHERS: [(usize, &str); 2] = [(0, "service: {name: images}"), (3, "nodeTrust: {enabled: false}")];

const ROUNDS: usize = 2;

#[test]
fn a_spec_that_is_edited_and_reverted_has_identical_children() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("edited");
    place.registry("");
    place.settle();
    let before = state::of(&place);
    let mut chance = Chance::new();
    for round in 0..ROUNDS {
        let edits: Vec<&str> = chosen(&mut chance, round);
        println!("{edits:?}");
        place.registry(&edits.join(", "));
        let edited = place.settle();
        walk::wait_until("the edits to show", WITHIN, || Ok((state::of(&place) != before).then_some(()))).unwrap();
        assert!(edited.condition("Stalled").is_none(), "{}", edited.summary());

        place.registry("");
        place.settle();
        let mut last = state::of(&place);
        let same = walk::wait_until("the children to be as before", WITHIN, || {
            last = state::of(&place);
            Ok((last == before).then_some(()))
        });
        assert!(same.is_ok(), "after {edits:?}: {}", difference(&before, &last));
    }
    stage.finish(controller);
}

/// Every part is in a round or another, and chance adds more.
fn chosen(chance: &mut Chance, round: usize) -> Vec<&'static str> {
    let parts = EDITS.iter().enumerate().filter(|(number, _)| number % ROUNDS == round || chance.below(3) == 0);
    let numbers: Vec<usize> = parts.map(|(number, _)| number).collect();
    let other = |number: usize| OTHERS.iter().find(|(part, _)| *part == number).map(|(_, text)| *text);
    numbers.into_iter().map(|number| other(number).filter(|_| chance.below(2) == 0).unwrap_or(EDITS[number])).collect()
}

#[test]
fn a_volume_that_should_shrink_is_refused_with_a_condition_and_stays() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("shrunk");
    place.registry("storage: {local: {size: 10Gi}}");
    place.settle();
    let before = place.get("pvc", REGISTRY).unwrap();
    place.registry("storage: {local: {size: 5Gi}}");
    let registry = place.has("StorageReady", "False");
    assert_eq!(registry.condition("StorageReady").unwrap().1, "InvalidSpec");
    assert!(registry.has("Ready", "False") && registry.has("Stalled", "True"), "{}", registry.summary());
    let (_, _, message) = registry.condition("Ready").unwrap();
    assert!(message.contains("spec.storage.local.size") && message.contains("write 10Gi or more"), "{message}");
    assert_eq!(place.get("pvc", REGISTRY).unwrap().0, before.0);
    // What runs goes on.
    assert!(registry.has("ServingReady", "True"));

    place.registry("storage: {local: {size: 10Gi}}");
    let registry = place.settle();
    assert!(registry.condition("Stalled").is_none());
    stage.finish(controller);
}
