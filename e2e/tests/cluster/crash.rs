//! The controller is killed in the middle of the walk and the end is the same.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, SystemTime},
};

use e2e::{cluster::Cluster, walk};
use serde_json::Value;

use crate::site::{Place, WITHIN};

#[test]
fn a_controller_that_is_killed_at_any_moment_of_the_walk_ends_in_the_same_state() {
    let undisturbed = walk_with(None, None);
    let seed = std::env::var("E2E_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    println!("E2E_SEED={seed}");
    let mut state = seed;
    for _ in 0..3 {
        // Numerical Recipes' generator is plenty for three moments.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % (1 << 32);
        let moment = Duration::from_millis(state % 4_000);
        let disturbed = walk_with(Some(moment), Some(&undisturbed));
        assert_eq!(disturbed, undisturbed, "killed after {moment:?} (E2E_SEED={seed})");
    }
}

/// Kinds of what the operator makes in a namespace, and the two that it is told.
const KINDS: [&str; 8] =
    ["deployment", "service", "serviceaccount", "rolebinding", "configmap", "pvc", "packageregistry", "package"];

/// Walks, with the controller's pod killed after a while, and says what there is in the end: what is expected, or what there is
/// when that doesn't come.
fn walk_with(kill_after: Option<Duration>, expected: Option<&BTreeMap<String, Value>>) -> BTreeMap<String, Value> {
    let place = Place::new("crash");
    place.registry("nodeTrust: {mirrors: [docker.io]}");
    place.hello();
    if let Some(moment) = kill_after {
        thread::sleep(moment);
        let over = place.get("package", "hello").is_some_and(|package| package.has("Ready", "True"));
        println!(
            "killed after {} ms, {}",
            moment.as_millis(),
            if over { "when all was done" } else { "in the middle" }
        );
        kill_controller(place.cluster());
    }
    place.registry_has("Ready", "True");
    place.registry_has("NodesTrusted", "True");
    place.package_has("hello", "Ready", "True");
    walk::wait_until("the controller", WITHIN, || {
        let pods = walk::get_all(place.cluster(), "pod", "package-registry-system", "")?;
        Ok(pods.iter().any(|pod| pod.has("Ready", "True")).then_some(()))
    })
    .unwrap();
    let is_expected = || Ok(expected.is_none_or(|expected| state_of(&place) == *expected).then_some(()));
    let _ = walk::wait_until("the same end", WITHIN, is_expected);
    let state = state_of(&place);
    place.leave();
    state
}

/// Kills the controller's process where it can be reached; elsewhere its pod, with no time to end in order.
fn kill_controller(cluster: &Cluster) {
    if cluster.is_ours() {
        let node = &cluster.nodes().unwrap()[0];
        let killed = cluster.run_on_node(node, &["pkill", "-KILL", "-f", "^/package-registry-controller"]).unwrap();
        assert!(killed.status.success(), "no controller was there to be killed");
    } else {
        let operator = ["delete", "pod", "-n", "package-registry-system", "--all", "--force", "--grace-period=0"];
        cluster.kubectl(&operator).unwrap();
    }
}

/// Everything in the namespace that the operator made, without what differs from run to run.
fn state_of(place: &Place) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    for kind in KINDS {
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
            let owners =
                object.0.pointer("/metadata/ownerReferences").and_then(Value::as_array).cloned().unwrap_or_default();
            let owners: Vec<Value> = owners.iter().map(|owner| owner["name"].clone()).collect();
            let keys = object.0["data"].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>());
            let binding = [object.0["subjects"].clone(), object.0["roleRef"].clone()];
            let finalizers = object.0.pointer("/metadata/finalizers").cloned().unwrap_or_default();
            let ours = kind.starts_with("package");
            let rest = if ours { serde_json::json!([conditions, finalizers]) } else { Value::Null };
            state.insert(name, serde_json::json!([spec, labels, owners, keys, binding, rest]));
        }
    }
    state.remove("configmap/kube-root-ca.crt");
    for name in ["dcos-registry-ca", "dcos-registry-tls"] {
        let secret = place.get("secret", name).expect(name);
        let keys: Vec<String> = secret.0["data"].as_object().unwrap().keys().cloned().collect();
        state.insert(format!("secret/{name}"), serde_json::json!([keys, secret.0["type"]]));
    }
    let binding = walk::get(place.cluster(), "clusterrolebinding", "", "package-registry:crash:dcos-registry").unwrap();
    state.insert("clusterrolebinding".to_owned(), binding.expect("the cluster-wide binding").0["subjects"].clone());
    for node in place.cluster().nodes().unwrap() {
        // What an earlier test's registry had may still be on its way out.
        let ours = |host: &String| host == "docker.io" || host.starts_with("dcos-registry.crash.");
        let hosts = place.trusted_hosts(&node).map(|hosts| hosts.into_iter().filter(ours).collect::<Vec<_>>());
        state.insert(format!("hosts of {node}"), serde_json::json!(hosts));
    }
    state
}
