//! The controller is killed in the middle of the walk and the end is the same.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, SystemTime},
};

use e2e::walk;
use serde_json::Value;

use crate::site::{Place, WITHIN};

#[test]
fn a_controller_that_is_killed_at_any_moment_of_the_walk_ends_in_the_same_state() {
    let undisturbed = walk_with(None);
    let seed = std::env::var("E2E_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    println!("E2E_SEED={seed}");
    let mut state = seed;
    for _ in 0..3 {
        // Numerical Recipes' generator is plenty for three moments.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % (1 << 32);
        let moment = Duration::from_millis(state % 6_000);
        println!("killed after {} ms", moment.as_millis());
        assert_eq!(walk_with(Some(moment)), undisturbed, "killed after {moment:?} (E2E_SEED={seed})");
    }
}

/// Walks, with the controller's pod killed after a while, and says what there is in the end.
fn walk_with(kill_after: Option<Duration>) -> BTreeMap<String, Value> {
    let place = Place::new("crash");
    place.registry("nodeTrust: {mirrors: [docker.io]}");
    place.hello();
    if let Some(moment) = kill_after {
        thread::sleep(moment);
        let operator = ["delete", "pod", "-n", "package-registry-system", "--all", "--force", "--grace-period=0"];
        place.cluster().kubectl(&operator).unwrap();
    }
    place.registry_has("Ready", "True");
    place.registry_has("NodesTrusted", "True");
    place.package_has("hello", "Ready", "True");
    walk::wait_until("the controller", WITHIN, || {
        let pods = walk::get_all(place.cluster(), "pod", "package-registry-system", "")?;
        Ok(pods.iter().any(|pod| pod.has("Ready", "True")).then_some(()))
    })
    .unwrap();
    let state = state_of(&place);
    place.leave();
    state
}

/// Everything in the namespace that the operator made, without what differs from run to run.
fn state_of(place: &Place) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    for kind in
        ["deployment", "service", "serviceaccount", "rolebinding", "configmap", "pvc", "packageregistry", "package"]
    {
        for object in walk::get_all(place.cluster(), kind, &place.namespace, "").unwrap() {
            let name = format!("{kind}/{}", object.text("/metadata/name"));
            let mut spec = object.0.get("spec").cloned().unwrap_or_default();
            if let Some(fields) = spec.as_object_mut() {
                for run in ["clusterIP", "clusterIPs", "volumeName"] {
                    fields.remove(run);
                }
            }
            let conditions =
                object.0.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let conditions: BTreeMap<String, Value> =
                conditions.iter().map(|c| (c["type"].to_string(), c["status"].clone())).collect();
            let labels = object.0.pointer("/metadata/labels").cloned().unwrap_or_default();
            let finalizers = object.0.pointer("/metadata/finalizers").cloned().unwrap_or_default();
            let ours = kind.starts_with("package");
            let rest = if ours { serde_json::json!([conditions, finalizers]) } else { Value::Null };
            state.insert(name, serde_json::json!([spec, labels, rest]));
        }
    }
    state.remove("configmap/kube-root-ca.crt");
    state
}
