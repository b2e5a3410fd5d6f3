//! The controller dies at any moment.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use e2e::api_server::Moment;

use crate::{
    seed::Chance,
    stage::{Place, Stage, must},
    state::{self, difference},
};

/// How many registries have their controller killed under them.
const KILLS: u64 = 8;

#[test]
fn a_controller_that_is_killed_at_any_moment_of_a_creation_ends_in_the_same_state() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let undisturbed = stage.place("crash-none");
    let moment = stage.audit_log().now().unwrap();
    undisturbed.registry("");
    undisturbed.settle();
    let expected = state::of(&undisturbed);
    let writes = creation_writes(&stage, moment, &undisturbed);
    assert!(writes >= 10, "{writes} writes make a registry?");
    must(controller.kill());

    let mut chance = Chance::new();
    let mut places = Vec::new();
    for number in 0..KILLS {
        let place = stage.place(&format!("crash-{number}"));
        let after = chance.below(writes);
        let pause = Duration::from_millis(chance.below(30));
        println!("{}: killed {} ms after write {after} of {writes}", place.namespace, pause.as_millis());
        let moment = stage.audit_log().now().unwrap();
        place.registry("");
        let controller = stage.controller("one");
        let begin = Instant::now();
        while creation_writes(&stage, moment, &place) < after && begin.elapsed() < Duration::from_secs(20) {
            sleep(Duration::from_millis(20));
        }
        sleep(pause);
        must(controller.kill());
        places.push(place);
    }
    let controller = stage.controller("one");
    for place in &places {
        let registry = place.settle();
        let found = state::of(place);
        assert!(found == expected, "{}: {}", place.namespace, difference(&expected, &found));
        let bundle = place.get("configmap", "main-ca").unwrap();
        assert_eq!(bundle.text("/data/ca.crt"), registry.text("/status/caBundle"), "{}", place.namespace);
    }
    stage.finish(controller);
}

/// How many writes the operator has made for a registry, wherever they go.
fn creation_writes(stage: &Stage, since: Moment, place: &Place<'_>) -> u64 {
    let changes = stage.changes(since);
    let binding = format!("package-registry:{}:", place.namespace);
    let about =
        changes.iter().filter(|change| change.namespace == place.namespace || change.name.starts_with(&binding));
    u64::try_from(about.count()).unwrap()
}
