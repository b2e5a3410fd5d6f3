//! Scenarios of the PackageRegistry reconciler on a cluster in this process.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod registry_volume;
mod registry_world;

use std::{sync::Arc, time::Duration};

use controller::{
    error::{Classified, Policy},
    trust::writer,
};
use kube::runtime::controller::Action;
use registry_world::{
    ACCOUNT, AGENTS, AUTHORITY, BUDGET, CA_CONFIG_MAP, CLAIM, CREDENTIALS, DEPLOYMENT, PUBLISHER, PUBLISHER_BINDING,
    REGISTRY, REVIEWER, SERVICE, SERVING, TRUST_LIST, World,
};
use serde_json::{Value, json};

const CHILDREN: [&str; 8] =
    [SERVICE, CLAIM, DEPLOYMENT, AUTHORITY, SERVING, CA_CONFIG_MAP, REVIEWER, PUBLISHER_BINDING];

fn no_trust() -> Value {
    json!({"nodeTrust": {"enabled": false}})
}

#[tokio::test]
async fn a_new_registry_gets_every_child_and_undisturbed_passes_write_nothing() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    for child in CHILDREN {
        assert!(world.object(child).is_some(), "{child} is missing");
    }
    for _ in 0..2 {
        world.pass().await.unwrap();
        assert_eq!(world.writes(), Vec::<String>::new());
    }
    assert_eq!(world.condition("Ready").1, "Progressing");

    world.start();
    world.pass().await.unwrap();
    assert_eq!(world.writes(), [format!("PATCH {REGISTRY}/status")]);
    let (status, reason, message) = world.condition("Ready");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Succeeded"));
    assert_eq!(message, "serves at https://registry.demo.svc");
    world.pass().await.unwrap();
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_registry_that_starts_is_looked_at_every_three_seconds_and_a_ready_one_every_thirty() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    assert_eq!(world.pass().await.unwrap(), Action::requeue(Duration::from_secs(3)));
    world.start();
    assert_eq!(world.pass().await.unwrap(), Action::requeue(Duration::from_secs(30)));
}

#[tokio::test]
async fn edited_children_are_repaired_and_only_they_are_written() {
    let edits = [
        (SERVICE, "/spec/ports/0/port", json!(80)),
        (SERVICE, "/spec/selector", json!({"app": "evil"})),
        (SERVICE, "/spec/selector/x", json!("y")),
        (SERVICE, "/spec/internalTrafficPolicy", json!("Local")),
        (SERVICE, "/spec/sessionAffinity", json!("ClientIP")),
        (DEPLOYMENT, "/spec/template/spec/nodeSelector", json!({"x": "y"})),
        (DEPLOYMENT, "/spec/paused", json!(true)),
        (CA_CONFIG_MAP, "/data/ca.crt", json!("evil")),
        (DEPLOYMENT, "/spec/template/spec/containers/0/image", json!("evil:1")),
        (DEPLOYMENT, "/spec/replicas", json!(0)),
        (REVIEWER, "/subjects/0/name", json!("default")),
        (CLAIM, "/spec/accessModes", json!(["ReadWriteMany"])),
    ];
    let mut world = World::begin(&no_trust());
    world.settle().await;
    for (path, pointer, value) in edits {
        let before = world.object(path).unwrap();
        world.edit(path, pointer, value);
        world.pass().await.unwrap();
        let writes: Vec<String> = world.writes().into_iter().filter(|write| !write.contains("/status")).collect();
        assert_eq!(writes, [format!("PATCH {path}")], "{pointer}");
        let after = world.object(path).unwrap();
        for part in ["spec", "data", "subjects"] {
            assert_eq!(after[part], before[part], "{pointer}");
        }
    }
}

#[tokio::test]
async fn deleted_children_come_back_and_the_service_with_its_address() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let address = world.object(SERVICE).unwrap()["spec"]["clusterIPs"].clone();
    for child in CHILDREN.into_iter().filter(|child| *child != AUTHORITY) {
        let before = world.remove(child);
        world.pass().await.unwrap();
        let after = world.object(child).unwrap();
        assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"], "{child}");
        if child != SERVING {
            assert_eq!(after["data"], before["data"], "{child}");
        }
    }
    assert_eq!(world.object(SERVICE).unwrap()["spec"]["clusterIPs"], address);
    world.writes();
    world.pass().await.unwrap();
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_service_of_somebody_else_is_never_taken_over() {
    let mut world = World::begin(&no_trust());
    let foreign = json!({"metadata": {"name": "registry", "namespace": "demo", "uid": "foreign"}, "spec": {"clusterIP": "10.96.9.9"}});
    world.put(SERVICE, foreign.clone());
    world.pass().await.unwrap();
    let error = world.pass().await.unwrap_err();
    assert_eq!(error.reason(), "NameTaken");
    assert_eq!(world.object(SERVICE).unwrap(), foreign);
    for condition in ["Ready", "ServingReady", "Stalled"] {
        assert_eq!(world.condition(condition).1, "NameTaken", "{condition}");
    }
    let status = &world.object(REGISTRY).unwrap()["status"];
    assert!(status.get("clusterIPs").is_none(), "nodes must not be sent to somebody else's Service");
    assert!(world.object(SERVING).is_none());

    world.remove(SERVICE);
    world.settle().await;
    assert_eq!(world.condition("Ready").1, "Progressing");
    assert!(world.object(SERVING).is_some());
}

#[tokio::test]
async fn a_broken_authority_is_said_and_left_alone_and_recovers_by_itself() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    world.start();
    let good = world.object(AUTHORITY).unwrap();
    let serving = world.object(SERVING).unwrap();
    world.edit(AUTHORITY, "/data/tls.key", json!("bm8ga2V5"));
    let broken = world.object(AUTHORITY).unwrap();
    let error = world.pass().await.unwrap_err();
    assert_eq!(error.reason(), "SecretInvalid");
    let (status, reason, message) = world.condition("CertificateReady");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "SecretInvalid"));
    assert!(message.contains("Secret registry-ca can't be used: tls.key is not a private key"), "{message}");
    assert_eq!(world.object(AUTHORITY).unwrap(), broken);
    assert_eq!(world.object(SERVING).unwrap(), serving);
    assert_eq!(world.condition("ServingReady").0, "True");

    world.put(AUTHORITY, good);
    world.pass().await.unwrap();
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.object(SERVING).unwrap(), serving);
}

#[tokio::test]
async fn a_deleted_authority_is_made_anew_and_clients_have_time_to_hear_of_it() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let before = world.remove(AUTHORITY);
    let serving = world.object(SERVING).unwrap();
    world.settle().await;
    let after = world.object(AUTHORITY).unwrap();
    assert_ne!(after["data"]["tls.crt"], before["data"]["tls.crt"]);
    assert_eq!(after["data"]["previous.crt"], before["data"]["tls.crt"]);
    assert_eq!(world.object(SERVING).unwrap(), serving, "the new authority doesn't sign yet");
    let bundle = world.object(REGISTRY).unwrap()["status"]["caBundle"].clone();
    assert_eq!(bundle.as_str().unwrap().matches("BEGIN").count(), 2);
    assert_eq!(world.object(CA_CONFIG_MAP).unwrap()["data"]["ca.crt"], bundle);
}

#[tokio::test]
async fn a_requested_rotation_begins_once_and_shows_in_the_status() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let serving = world.object(SERVING).unwrap();
    let mut object = world.object(REGISTRY).unwrap();
    object["metadata"]["annotations"] = json!({"registry.dcos.io/rotate-ca": "2026-07"});
    world.put(REGISTRY, object);
    world.settle().await;
    let authority = world.object(AUTHORITY).unwrap();
    assert!(authority["data"]["next.crt"].is_string());
    let status = world.object(REGISTRY).unwrap()["status"].clone();
    assert_eq!(status["lastHandledCaRotation"], "2026-07");
    assert_eq!(status["caBundle"].as_str().unwrap().matches("BEGIN").count(), 2);
    assert_eq!(world.object(SERVING).unwrap(), serving, "the next authority doesn't sign yet");
    assert!(world.condition("CertificateReady").2.contains("a new authority signs"));
    world.pass().await.unwrap();
    assert_eq!(world.object(AUTHORITY).unwrap(), authority);
}

#[tokio::test]
async fn a_broken_serving_secret_is_replaced_under_the_same_authority() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let bundle = world.object(REGISTRY).unwrap()["status"]["caBundle"].clone();
    world.edit(SERVING, "/data", json!({"tls.crt": "bm8=", "tls.key": "bm8="}));
    world.pass().await.unwrap();
    assert_ne!(world.object(SERVING).unwrap()["data"]["tls.crt"], "bm8=");
    assert_eq!(world.object(REGISTRY).unwrap()["status"]["caBundle"], bundle);
}

#[tokio::test]
async fn a_renamed_service_replaces_the_old_one_and_the_certificate_follows() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let before = world.object(SERVING).unwrap();
    let authority = world.object(AUTHORITY).unwrap();
    world.edit(REGISTRY, "/spec", json!({"nodeTrust": {"enabled": false}, "service": {"name": "images"}}));
    world.settle().await;
    assert!(world.object(SERVICE).is_none());
    assert!(world.object("/api/v1/namespaces/demo/services/images").is_some());
    assert_ne!(world.object(SERVING).unwrap()["data"], before["data"]);
    assert_eq!(world.object(AUTHORITY).unwrap(), authority);
    let status = &world.object(REGISTRY).unwrap()["status"];
    assert_eq!(status["url"], "https://images.demo.svc");
}

#[tokio::test]
async fn a_service_renamed_to_one_of_somebody_else_keeps_the_old_one_and_its_address() {
    const TAKEN: &str = "/api/v1/namespaces/demo/services/images";
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let before = world.object(SERVICE).unwrap();
    let foreign = json!({"metadata": {"name": "images", "namespace": "demo", "uid": "foreign"}, "spec": {}});
    world.put(TAKEN, foreign.clone());
    world.edit(REGISTRY, "/spec", json!({"nodeTrust": {"enabled": false}, "service": {"name": "images"}}));
    for _ in 0..2 {
        assert_eq!(world.pass().await.unwrap_err().reason(), "NameTaken");
    }
    assert_eq!(world.object(SERVICE).unwrap(), before);
    assert_eq!(world.object(TAKEN).unwrap(), foreign);

    world.edit(REGISTRY, "/spec", no_trust());
    world.settle().await;
    assert_eq!(world.object(SERVICE).unwrap(), before);
    assert_eq!(world.object(REGISTRY).unwrap()["status"]["clusterIPs"], before["spec"]["clusterIPs"]);
}

#[tokio::test]
async fn a_renamed_account_replaces_the_old_one_once_the_pods_have_it() {
    const RENAMED: &str = "/api/v1/namespaces/demo/serviceaccounts/server";
    let mut world = World::begin(&no_trust());
    world.settle().await;
    world.start();
    world.pass().await.unwrap();
    assert_eq!(world.condition("Ready").0, "True");
    world.edit(REGISTRY, "/spec", json!({"nodeTrust": {"enabled": false}, "serviceAccount": {"name": "server"}}));
    world.cluster.lock().unwrap().forbidden.insert(DEPLOYMENT.to_owned());
    world.pass().await.unwrap_err();
    assert!(world.object(RENAMED).is_some());
    assert!(world.object(ACCOUNT).is_some(), "pods still run under the old account");

    world.cluster.lock().unwrap().forbidden.clear();
    world.settle().await;
    let pod = &world.object(DEPLOYMENT).unwrap()["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "server");
    let reviewers = |world: &World| {
        let subjects = world.object(REVIEWER).unwrap()["subjects"].clone();
        subjects.as_array().unwrap().iter().map(|subject| subject["name"].clone()).collect::<Vec<_>>()
    };
    assert!(world.object(ACCOUNT).is_some(), "the Deployment's status is about the generation before");
    assert_eq!(reviewers(&world), ["server", "registry"], "older pods still ask for reviews");
    world.pass().await.unwrap();
    assert_eq!(world.writes(), Vec::<String>::new());

    world.start();
    world.pass().await.unwrap();
    assert!(world.object(ACCOUNT).is_none());
    world.settle().await;
    assert_eq!(reviewers(&world), ["server"]);
    assert!(world.object(PUBLISHER).is_some());
}

#[tokio::test]
async fn an_account_that_only_carries_the_labels_gets_no_rights_and_is_left_alone() {
    const LABELLED: &str = "/api/v1/namespaces/demo/serviceaccounts/labelled";
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let mut labelled = world.object(ACCOUNT).unwrap();
    labelled["metadata"]["name"] = json!("labelled");
    labelled["metadata"]["uid"] = json!("foreign");
    labelled["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    world.put(LABELLED, labelled.clone());
    world.start();
    world.settle().await;
    assert_eq!(world.object(REVIEWER).unwrap()["subjects"].as_array().unwrap().len(), 1);
    assert_eq!(world.object(LABELLED).unwrap(), labelled);
}

#[tokio::test]
async fn an_account_of_somebody_else_gets_neither_pods_nor_rights() {
    const FOREIGN: &str = "/api/v1/namespaces/demo/serviceaccounts/deployer";
    let foreign = json!({"metadata": {"name": "deployer", "namespace": "demo", "uid": "foreign"}});
    let spec = json!({"nodeTrust": {"enabled": false}, "serviceAccount": {"name": "deployer"}});
    let mut world = World::begin(&spec);
    world.put(FOREIGN, foreign.clone());
    world.pass().await.unwrap();
    assert_eq!(world.pass().await.unwrap_err().reason(), "NameTaken");
    for child in [DEPLOYMENT, REVIEWER] {
        assert!(world.object(child).is_none(), "{child}");
    }
    for child in [SERVICE, CLAIM, SERVING, PUBLISHER_BINDING] {
        assert!(world.object(child).is_some(), "{child} needs no account of the pods");
    }
    assert_eq!(world.object(FOREIGN).unwrap(), foreign);
    let (_, reason, message) = world.condition("ServingReady");
    assert_eq!(reason, "NameTaken");
    assert!(message.contains("ServiceAccount deployer"), "{message}");

    world.remove(FOREIGN);
    world.settle().await;
    assert!(world.object(DEPLOYMENT).is_some());
    assert_eq!(world.object(REVIEWER).unwrap()["subjects"][0]["name"], "deployer");
}

#[tokio::test]
async fn a_running_registry_that_names_an_account_of_somebody_else_runs_on_as_it_was() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    world.start();
    world.pass().await.unwrap();
    let before = [DEPLOYMENT, REVIEWER, ACCOUNT].map(|child| world.object(child));
    world.put(
        "/api/v1/namespaces/demo/serviceaccounts/deployer",
        json!({"metadata": {"name": "deployer", "namespace": "demo", "uid": "foreign"}}),
    );
    world.edit(REGISTRY, "/spec", json!({"nodeTrust": {"enabled": false}, "serviceAccount": {"name": "deployer"}}));
    assert_eq!(world.pass().await.unwrap_err().reason(), "NameTaken");
    assert_eq!([DEPLOYMENT, REVIEWER, ACCOUNT].map(|child| world.object(child)), before);
    assert_eq!(world.object(REGISTRY).unwrap()["status"]["instances"]["ready"], 1);
}

#[tokio::test]
async fn an_account_of_somebody_else_does_not_get_the_right_to_publish() {
    let mut world = World::begin(&no_trust());
    world.put(PUBLISHER, json!({"metadata": {"name": "registry-publisher", "namespace": "demo", "uid": "foreign"}}));
    world.pass().await.unwrap();
    assert_eq!(world.pass().await.unwrap_err().reason(), "NameTaken");
    assert!(world.object(PUBLISHER_BINDING).is_none());
    for child in [DEPLOYMENT, REVIEWER] {
        assert!(world.object(child).is_some(), "{child}");
    }
}

#[tokio::test]
async fn a_source_that_the_server_would_not_take_never_reaches_a_running_registry() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let before = world.object(DEPLOYMENT);
    world.edit(
        REGISTRY,
        "/spec",
        json!({"nodeTrust": {"enabled": false}, "packages": {"sources": {"allowedHosts": ["a:99999"]}}}),
    );
    assert_eq!(world.pass().await.unwrap_err().reason(), "InvalidSpec");
    assert_eq!(world.object(DEPLOYMENT), before);
    assert!(world.condition("Ready").2.contains("spec.packages.sources.allowedHosts: \"a:99999\""));
}

#[tokio::test]
async fn a_suspended_registry_is_not_repaired_and_says_so() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    world.edit(REGISTRY, "/spec", json!({"nodeTrust": {"enabled": false}, "suspend": true}));
    world.remove(SERVICE);
    world.pass().await.unwrap();
    assert_eq!(world.writes(), [format!("PATCH {REGISTRY}/status")]);
    assert!(world.object(SERVICE).is_none());
    assert_eq!(world.condition("Ready").1, "Suspended");
}

#[tokio::test]
async fn the_deletion_policy_decides_who_owns_the_volume_and_the_authority() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let owners = |world: &World, path: &str| world.object(path).unwrap()["metadata"]["ownerReferences"].clone();
    for path in [CLAIM, AUTHORITY] {
        assert!(owners(&world, path).is_null());
    }
    world.edit(REGISTRY, "/spec", json!({"nodeTrust": {"enabled": false}, "deletionPolicy": "Delete"}));
    world.pass().await.unwrap();
    for path in [CLAIM, AUTHORITY] {
        assert_eq!(owners(&world, path)[0]["uid"], "registry-uid");
    }
    world.edit(REGISTRY, "/spec", no_trust());
    world.pass().await.unwrap();
    for path in [CLAIM, AUTHORITY] {
        assert!(owners(&world, path).is_null());
    }
}

#[tokio::test]
async fn what_a_policy_keeps_that_no_pass_applied_is_kept_all_the_same() {
    for unapplied in [json!({"suspend": true}), json!({"packages": {"sources": {"allowedHosts": ["a:99999"]}}})] {
        let mut world = World::begin(&json!({"nodeTrust": {"enabled": false}, "deletionPolicy": "Delete"}));
        world.settle().await;
        let owners = |world: &World, path: &str| world.object(path).unwrap()["metadata"]["ownerReferences"].clone();
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "other-uid"});
        for path in [CLAIM, AUTHORITY] {
            assert_eq!(owners(&world, path)[0]["uid"], "registry-uid");
        }
        world.edit(CLAIM, "/metadata/ownerReferences", json!([owners(&world, CLAIM)[0], other]));
        let data = world.object(AUTHORITY).unwrap()["data"].clone();
        let mut spec = unapplied;
        spec["nodeTrust"] = json!({"enabled": false});
        spec["deletionPolicy"] = json!("Retain");
        world.edit(REGISTRY, "/spec", spec);
        world.pass().await.ok();

        world.edit(REGISTRY, "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
        world.cluster.lock().unwrap().forbidden.insert(AUTHORITY.to_owned());
        for _ in 0..2 {
            assert_eq!(world.pass().await.unwrap_err().reason(), "ApplyFailed");
            assert!(world.object(REGISTRY).is_some(), "the garbage collector would take the authority");
        }
        world.cluster.lock().unwrap().forbidden.clear();
        world.pass().await.unwrap();
        assert!(world.object(REGISTRY).is_none());
        assert_eq!(owners(&world, CLAIM), json!([other]), "only our own");
        assert_eq!(owners(&world, AUTHORITY), json!([]));
        assert_eq!(world.object(AUTHORITY).unwrap()["data"], data);
    }
}

#[tokio::test]
async fn nothing_of_a_registry_to_be_kept_need_be_there_when_it_goes() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    for path in [CLAIM, AUTHORITY] {
        world.remove(path);
    }
    world.edit(REGISTRY, "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    world.pass().await.unwrap();
    assert!(world.object(REGISTRY).is_none());
}

#[tokio::test]
async fn a_policy_of_deletion_leaves_the_owners_to_the_garbage_collector() {
    let mut world = World::begin(&json!({"nodeTrust": {"enabled": false}, "deletionPolicy": "Delete"}));
    world.settle().await;
    world.edit(REGISTRY, "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    world.pass().await.unwrap();
    assert!(world.object(REGISTRY).is_none());
    for path in [CLAIM, AUTHORITY] {
        assert_eq!(world.object(path).unwrap()["metadata"]["ownerReferences"][0]["uid"], "registry-uid");
    }
}

#[tokio::test]
async fn a_registry_of_the_same_name_adopts_volume_and_authority() {
    let mut world = World::begin(&no_trust());
    world.settle().await;
    let authority = world.object(AUTHORITY).unwrap();
    let claim = world.object(CLAIM).unwrap();
    for path in CHILDREN.into_iter().filter(|path| ![CLAIM, AUTHORITY].contains(path)) {
        world.remove(path);
    }
    for account in [ACCOUNT, PUBLISHER] {
        world.remove(account);
    }
    let mut next = world.object(REGISTRY).unwrap();
    next["metadata"] = json!({"name": "registry", "namespace": "demo", "uid": "second-uid", "generation": 1});
    next.as_object_mut().unwrap().remove("status");
    world.put(REGISTRY, next);
    world.settle().await;
    assert_eq!(world.object(AUTHORITY).unwrap()["data"], authority["data"]);
    assert_eq!(world.object(CLAIM).unwrap()["metadata"]["uid"], claim["metadata"]["uid"]);
    assert!(world.object(SERVING).is_some());
}

/// Waits until `is` holds, for two seconds at most.
async fn until(world: &World, is: impl Fn(&World) -> bool) -> bool {
    for _ in 0..200 {
        if is(world) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn listed(world: &World) -> Option<Vec<Value>> {
    let text = world.object(TRUST_LIST)?["data"]["trust.json"].as_str()?.to_owned();
    let list: Value = serde_json::from_str(&text).ok()?;
    list["registries"].as_array().cloned()
}

#[tokio::test]
async fn nodes_are_told_of_a_registry_and_told_to_forget_it_before_it_goes() {
    let mut world = World::begin(&json!({"nodeTrust": {"mirrors": ["docker.io"]}}));
    let trust = Arc::clone(&world.context.trust);
    let writer = tokio::spawn(writer::run(Arc::clone(&world.context.shared), Arc::clone(&trust), world.store.clone()));
    world.settle().await;
    trust.ring();
    assert!(until(&world, |world| listed(world).is_some_and(|list| list.len() == 1)).await);
    let entry = &listed(&world).unwrap()[0];
    assert_eq!(entry["hosts"], json!(["registry.demo.svc", "registry.demo.svc.cluster.local"]));
    assert_eq!(entry["mirrors"], json!([]), "the namespace isn't privileged");
    assert_eq!(entry["addresses"], world.object(SERVICE).unwrap()["spec"]["clusterIPs"]);
    assert_eq!(entry["caBundle"], world.object(CA_CONFIG_MAP).unwrap()["data"]["ca.crt"]);
    assert!(until(&world, |world| world.object(AGENTS).is_some()).await);
    world.pass().await.unwrap();
    assert_eq!(world.condition("NodesTrusted").0, "False");
    let snapshot = trust.snapshot();
    let refusal = &snapshot.refusals.values().next().unwrap()[0];
    assert_eq!((refusal.name.as_str(), refusal.reason), ("docker.io", "NotAllowed"));

    // Somebody edits both by hand.
    world.edit(TRUST_LIST, "/data", json!({"trust.json": "{}"}));
    world.edit(AGENTS, "/spec/template/spec/hostNetwork", json!(false));
    trust.ring();
    let repaired = |world: &World| {
        let network = world.object(AGENTS).unwrap()["spec"]["template"]["spec"]["hostNetwork"].clone();
        network == true && listed(world).is_some_and(|list| list.len() == 1)
    };
    assert!(until(&world, repaired).await);

    let mut going = world.object(REGISTRY).unwrap();
    going["metadata"]["deletionTimestamp"] = serde_json::to_value(jiff::Timestamp::now()).unwrap();
    world.put(REGISTRY, going);
    let mut passes = 0;
    while world.object(REGISTRY).is_some() {
        passes += 1;
        assert!(passes < 200, "the finalizer never goes");
        if let Err(error) = world.pass().await {
            assert_eq!(error.reason(), "StillTrusted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(passes > 1, "nodes were told first");
    assert_eq!(listed(&world), Some(Vec::new()));
    assert!(world.object(REVIEWER).is_none());
    assert!(world.object(AGENTS).is_some(), "agents clean up and stay");
    writer.abort();
}

#[tokio::test]
async fn a_pass_that_gets_no_answer_is_given_up_and_the_next_one_ends_it() {
    let mut world = World::begin(&no_trust());
    world.hurry(Duration::from_millis(100));
    world.pass().await.unwrap();
    for path in [CLAIM, DEPLOYMENT] {
        world.cluster.lock().unwrap().silent.insert(path.to_owned());
        let given_up = tokio::time::timeout(Duration::from_secs(10), world.pass()).await.unwrap().unwrap_err();
        assert_eq!((given_up.reason(), given_up.policy()), ("TimedOut", Policy::Transient));
        world.cluster.lock().unwrap().silent.clear();
    }
    world.hurry(Duration::from_mins(1));
    world.settle().await;
    for child in CHILDREN {
        assert!(world.object(child).is_some(), "{child} is missing");
    }
}

#[tokio::test]
async fn what_nodes_trust_is_written_although_one_answer_never_came() {
    let mut world = World::begin(&json!({}));
    world.hurry(Duration::from_millis(100));
    world.cluster.lock().unwrap().silent.insert(TRUST_LIST.to_owned());
    let trust = Arc::clone(&world.context.trust);
    let writer = tokio::spawn(writer::run(Arc::clone(&world.context.shared), Arc::clone(&trust), world.store.clone()));
    assert!(until(&world, |_| trust.snapshot().failure.is_some()).await);
    assert!(trust.snapshot().failure.as_ref().unwrap().contains("no answer"), "{:?}", trust.snapshot().failure);
    world.cluster.lock().unwrap().silent.clear();
    trust.ring();
    assert!(until(&world, |_| trust.snapshot().looked).await);
    writer.abort();
}

fn on_a_bucket(instances: u32) -> Value {
    json!({"nodeTrust": {"enabled": false}, "instances": instances,
        "storage": {"s3": {"bucket": "packages", "credentialsSecretRef": {"name": "store"}, "profile": "blue"}}})
}

fn credentials(file: &str) -> Value {
    json!({"metadata": {"name": "store", "namespace": "demo", "uid": "store"},
        "data": {"credentials": k8s_openapi::ByteString(file.as_bytes().to_vec())}})
}

const BLUE: &str = "[blue]\naws_access_key_id = A\naws_secret_access_key = hunter2\n";

#[tokio::test]
async fn a_registry_on_a_bucket_claims_no_volume_and_of_several_pods_one_may_be_evicted() {
    let mut world = World::begin(&on_a_bucket(3));
    world.put(CREDENTIALS, credentials(BLUE));
    world.settle().await;
    assert!(world.object(CLAIM).is_none());
    assert_eq!(world.object(DEPLOYMENT).unwrap()["spec"]["replicas"], 3);
    assert_eq!(world.object(BUDGET).unwrap()["spec"]["maxUnavailable"], 1);
    assert_eq!(world.object(REGISTRY).unwrap()["status"]["storage"]["kind"], "s3");
    world.pass().await.unwrap();
    assert_eq!(world.writes(), Vec::<String>::new());

    world.remove(BUDGET);
    world.pass().await.unwrap();
    assert!(world.object(BUDGET).is_some());

    world.edit(REGISTRY, "/spec", on_a_bucket(1));
    world.pass().await.unwrap();
    assert!(world.object(BUDGET).is_none(), "a budget would keep the one pod's node from being drained");
}

#[tokio::test]
async fn credentials_that_break_are_said_without_a_value_and_the_pods_stay_as_they_are() {
    let mut world = World::begin(&on_a_bucket(3));
    world.put(CREDENTIALS, credentials(BLUE));
    world.settle().await;
    let before = world.object(DEPLOYMENT).unwrap();
    for (file, words) in [
        ("[red]\naws_access_key_id = A\naws_secret_access_key = hunter2\n", "has no profile [blue]"),
        ("[blue]\naws_secret_access_key = hunter2\n", "has no aws_access_key_id in the profile [blue]"),
    ] {
        world.put(CREDENTIALS, credentials(file));
        world.pass().await.unwrap();
        let (status, reason, message) = world.condition("StorageReady");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "SecretInvalid"));
        assert!(message.contains(words) && !message.contains("hunter2"), "{message}");
        assert_eq!(world.condition("Ready").1, "SecretInvalid");
        assert_eq!(world.object(DEPLOYMENT).unwrap(), before);
    }
    world.put(CREDENTIALS, credentials(&BLUE.replace("hunter2", "hunter3")));
    world.pass().await.unwrap();
    assert_ne!(world.condition("StorageReady").1, "SecretInvalid");
    assert_eq!(world.object(DEPLOYMENT).unwrap(), before, "new credentials reach the pods without a roll-out");
}
