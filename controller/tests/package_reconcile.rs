//! The Package reconciler against a cluster and a registry's server in this process.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod package_world;

use std::time::{Duration, Instant};

use api::{FailureReason, State};
use controller::{
    error::{Classified, Policy},
    package::{Error, adoption, sweep, validate},
};
use kube::runtime::{controller::Action, reflector::ObjectRef};
use package_world::{World, uid};
use serde_json::{Value, json};

fn source() -> Value {
    json!({"url": "https://files.test/redis.dcos"})
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

/// A world with the Package `redis`, published.
async fn published() -> World {
    let mut world = World::begin().await;
    world.create("redis", 1, &source());
    world.pass("redis").await.unwrap();
    world.pass("redis").await.unwrap();
    world.publish("redis", "redis", "5.0.0");
    world.pass("redis").await.unwrap();
    assert_eq!(world.condition("redis", "Ready"), pair("True", "Succeeded"));
    world.calls();
    world.writes();
    world
}

fn delete(world: &mut World, name: &str, when: &str) {
    let mut object = world.object(name).unwrap();
    object["metadata"]["deletionTimestamp"] = json!(when);
    world.put(object);
}

fn serving(world: &World) -> validate::ServingRegistry {
    let registry = world.context.shared.registries.get(&ObjectRef::new("main").within("apps")).unwrap();
    validate::serving(&registry).unwrap()
}

/// Lets uploads and objects be brought together once.
async fn adopt(world: &mut World) -> usize {
    let steps = adoption::adopt(&serving(world), &world.context.shared).await.unwrap();
    world.observe_all();
    steps
}

const LONG_AGO: &str = "2026-01-01T00:00:00Z";
const NEVER: &str = "2999-01-01T00:00:00Z";

#[tokio::test]
async fn a_pass_that_gets_no_answer_is_given_up_and_the_next_one_asks_the_server_anew() {
    const STATUS: &str = "/apis/registry.dcos.io/v1alpha1/namespaces/apps/packages/redis/status";
    let mut world = published().await;
    world.hurry(Duration::from_millis(100));
    world.cluster.lock().unwrap().silent.push(STATUS.to_owned());
    let mut object = world.object("redis").unwrap();
    object["status"]["conditions"] = json!([]);
    world.put(object);
    let given_up = tokio::time::timeout(Duration::from_secs(10), world.pass("redis")).await.unwrap().unwrap_err();
    assert_eq!((given_up.reason(), given_up.policy()), ("TimedOut", Policy::Transient));
    world.calls();
    world.cluster.lock().unwrap().silent.clear();
    world.hurry(Duration::from_mins(1));
    world.pass("redis").await.unwrap();
    assert_eq!(world.calls(), [format!("GET {}", uid("redis"))], "what is known may be old");
}

#[tokio::test]
async fn a_package_goes_from_its_declaration_to_ready_and_is_then_left_alone() {
    let mut world = World::begin().await;
    world.create("redis", 1, &source());
    world.pass("redis").await.unwrap();
    assert_eq!(world.object("redis").unwrap()["metadata"]["finalizers"], json!(["registry.dcos.io/withdraw-content"]));
    assert!(world.calls().is_empty(), "the finalizer comes before the declaration");

    assert_eq!(world.pass("redis").await.unwrap(), Action::requeue(Duration::from_secs(1)));
    assert_eq!(world.calls(), [format!("PUT {}", uid("redis"))]);
    assert_eq!(world.condition("redis", "Ready"), pair("False", "Progressing"));
    assert_eq!(world.condition("redis", "Reconciling"), pair("True", "Progressing"));
    let spec = world.server.lock().unwrap().specs[&uid("redis")].clone();
    assert_eq!((spec.declared_by.as_str(), spec.release_version_from), ("apps/redis", 1_767_225_601));

    if let Some(declaration) = world.server.lock().unwrap().declarations.get_mut(&uid("redis")) {
        declaration.state = State::Storing;
        declaration.progress = api::Progress { bytes_done: 300_000_000, bytes_total: Some(300_000_000) };
    }
    world.pass("redis").await.unwrap();
    assert_eq!(world.condition("redis", "Fetched"), pair("True", "Succeeded"));

    world.publish("redis", "redis", "5.0.0");
    world.pass("redis").await.unwrap();
    assert_eq!(world.condition("redis", "Ready"), pair("True", "Succeeded"));
    assert_eq!(world.object("redis").unwrap()["status"]["releaseVersion"], 1_767_225_999);

    world.calls();
    world.writes();
    for _ in 0..3 {
        world.pass("redis").await.unwrap();
    }
    assert!(world.calls().is_empty() && world.writes().is_empty(), "an undisturbed pass asks and writes nothing");
}

#[tokio::test]
async fn lost_content_comes_back_with_its_release_version() {
    let mut world = published().await;
    world.server.lock().unwrap().declarations.clear();
    let url = world.server_url();
    world.set_registry(&url, "2026-01-02T00:00:00Z", "True");
    world.pass("redis").await.unwrap();
    let id = uid("redis");
    assert_eq!(world.calls(), [format!("GET {id}"), format!("PUT {id}")]);
    assert_eq!(world.server.lock().unwrap().specs[&id].release_version, Some(1_767_225_999));
}

#[tokio::test]
async fn what_only_an_edit_can_help_is_not_tried_again_until_somebody_asks() {
    let mut world = World::begin().await;
    world.create("redis", 1, &source());
    world.server.lock().unwrap().refuses = Some((FailureReason::DigestMismatch, "other bytes".into()));
    world.pass("redis").await.unwrap();
    world.pass("redis").await.unwrap();
    assert_eq!(world.condition("redis", "Ready"), pair("False", "DigestMismatch"));
    assert_eq!(world.condition("redis", "Stalled"), pair("True", "DigestMismatch"));
    world.calls();
    world.pass("redis").await.unwrap();
    world.pass("redis").await.unwrap();
    assert!(world.calls().is_empty());

    world.server.lock().unwrap().refuses = None;
    let mut object = world.object("redis").unwrap();
    object["metadata"]["annotations"] = json!({"registry.dcos.io/requested-at": "now"});
    world.put(object);
    world.pass("redis").await.unwrap();
    assert_eq!(world.calls(), [format!("PUT {}", uid("redis"))]);
    assert_eq!(world.object("redis").unwrap()["status"]["lastHandledReconcileAt"], "now");
    assert_eq!(world.condition("redis", "Stalled"), pair("", ""));
}

#[tokio::test]
async fn an_edited_spec_is_declared_again() {
    let mut world = published().await;
    let mut object = world.object("redis").unwrap();
    object["metadata"]["generation"] = json!(2);
    object["spec"]["source"]["url"]["url"] = json!("https://files.test/redis-6.dcos");
    world.put(object);
    world.pass("redis").await.unwrap();
    let spec = world.server.lock().unwrap().specs[&uid("redis")].clone();
    assert_eq!((spec.url.url.as_str(), spec.release_version), ("https://files.test/redis-6.dcos", None));
}

#[tokio::test]
async fn a_missing_secret_is_named_and_once_it_is_there_the_package_is_declared() {
    let mut world = World::begin().await;
    world.create("redis", 1, &json!({"url": "https://files.test/redis.dcos", "secretRef": {"name": "login"}}));
    world.pass("redis").await.unwrap();
    let error = world.pass("redis").await.unwrap_err();
    assert!(error.to_string().contains("there is no Secret login"), "{error}");
    assert_eq!(world.condition("redis", "Fetched"), pair("False", "SecretInvalid"));
    world.secret("login", &json!({"username": "YW5u", "password": "c2VjcmV0"}));
    world.pass("redis").await.unwrap();
    let spec = world.server.lock().unwrap().specs[&uid("redis")].clone();
    assert_eq!(
        spec.url.credentials,
        Some(api::Credentials::Basic { username: "ann".into(), password: "secret".into() })
    );
}

#[tokio::test]
async fn a_registry_that_does_not_serve_is_waited_for() {
    let mut world = World::begin().await;
    let url = world.server_url();
    world.set_registry(&url, LONG_AGO, "False");
    world.create("redis", 1, &source());
    world.pass("redis").await.unwrap();
    assert!(matches!(world.pass("redis").await.unwrap_err(), Error::RegistryNotServing { .. }));
    assert_eq!(world.condition("redis", "Ready"), pair("False", "DependencyNotReady"));
    world.set_registry(&url, "2026-01-02T00:00:00Z", "True");
    world.pass("redis").await.unwrap();
    assert_eq!(world.calls(), [format!("PUT {}", uid("redis"))]);
}

#[tokio::test]
async fn a_suspended_package_asks_nothing_and_can_still_be_deleted() {
    let mut world = published().await;
    let mut object = world.object("redis").unwrap();
    object["metadata"]["generation"] = json!(2);
    object["spec"]["suspend"] = json!(true);
    world.put(object);
    world.pass("redis").await.unwrap();
    assert_eq!(world.condition("redis", "Ready"), pair("True", "Suspended"));
    assert!(world.calls().is_empty());
    delete(&mut world, "redis", NEVER);
    world.pass("redis").await.unwrap_err();
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
}

#[tokio::test]
async fn a_deleted_package_stays_until_its_content_is_withdrawn() {
    let mut world = published().await;
    delete(&mut world, "redis", NEVER);
    assert!(matches!(world.pass("redis").await.unwrap_err(), Error::Withdrawing));
    assert!(world.object("redis").is_some());
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
    assert!(world.server.lock().unwrap().declarations.is_empty());
}

#[tokio::test]
async fn a_deletion_does_not_wait_for_a_registry_that_is_gone() {
    let mut world = published().await;
    world.delete_registry();
    delete(&mut world, "redis", NEVER);
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none() && world.calls().is_empty());
}

#[tokio::test]
async fn a_deletion_gives_up_in_time_and_what_it_left_is_swept_later() {
    let mut world = published().await;
    let url = world.server_url();
    world.set_registry("http://127.0.0.1:9", LONG_AGO, "True");
    delete(&mut world, "redis", NEVER);
    assert!(matches!(world.pass("redis").await.unwrap_err(), Error::Withdrawing));
    delete(&mut world, "redis", LONG_AGO);
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
    assert_eq!(world.server.lock().unwrap().declarations.len(), 1);

    world.set_registry(&url, "2026-01-02T00:00:00Z", "True");
    world.create("other", 2, &source());
    world.pass("other").await.unwrap();
    world.pass("other").await.unwrap();
    world.publish("other", "other", "1");
    let (mut seen, now) = (sweep::Seen::default(), Instant::now());
    let mut sweep = async |now| sweep::sweep(&serving(&world), &world.context.shared, &mut seen, now).await.unwrap();
    assert!(sweep(now).await.is_empty(), "an object of that name may be made anew");
    assert_eq!(sweep(now + sweep::PATIENCE).await, [uid("redis")]);
    let left: Vec<String> = world.server.lock().unwrap().declarations.keys().cloned().collect();
    assert_eq!(left, [uid("other")]);
}

#[tokio::test]
async fn what_an_object_had_serves_until_the_one_that_was_made_anew_has_its_own() {
    // A cluster that was restored: the volume came with its content, the object has another uid, its source may be gone.
    let mut world = World::begin().await;
    world.create("redis", 1, &source());
    world.pass("redis").await.unwrap();
    world.pass("redis").await.unwrap();
    {
        let mut server = world.server.lock().unwrap();
        let (declaration, spec) = (server.declarations[&uid("redis")].clone(), server.specs[&uid("redis")].clone());
        server.declarations.insert(uid("before"), api::Declaration { id: uid("before"), ..declaration });
        server.specs.insert(uid("before"), spec);
    }
    world.publish("before", "redis", "5.0.0");
    let (mut seen, now) = (sweep::Seen::default(), Instant::now());
    for periods in 0..3 {
        let later = now + periods * sweep::PATIENCE;
        assert!(sweep::sweep(&serving(&world), &world.context.shared, &mut seen, later).await.unwrap().is_empty());
    }
    world.publish("redis", "redis", "6.0.0");
    world.pass("redis").await.unwrap();
    assert_eq!(world.condition("redis", "Published"), pair("True", "Succeeded"));
    let swept = sweep::sweep(&serving(&world), &world.context.shared, &mut seen, now).await.unwrap();
    assert_eq!(swept, [uid("before")]);
}

#[tokio::test]
async fn an_older_object_that_a_younger_one_kept_out_gets_its_coordinate_back() {
    let mut world = World::begin().await;
    world.create("younger", 9, &source());
    world.pass("younger").await.unwrap();
    world.pass("younger").await.unwrap();
    world.publish("younger", "redis", "5.0.0");
    world.pass("younger").await.unwrap();

    world.create("older", 1, &source());
    world.server.lock().unwrap().refuses =
        Some((FailureReason::AlreadyDeclared, "redis 5.0.0 is declared already".into()));
    world.pass("older").await.unwrap();
    assert_eq!(world.pass("older").await.unwrap(), Action::requeue(Duration::from_secs(3)));
    assert_eq!(world.condition("older", "Published"), pair("False", "AlreadyDeclared"));

    let gives_way = async |world: &mut World| loop {
        match world.pass("younger").await {
            Err(Error::Withdrawing) => {}
            other => return other.unwrap_err(),
        }
    };
    assert!(matches!(gives_way(&mut world).await, Error::AlreadyDeclared { .. }));
    assert_eq!(world.condition("younger", "Ready"), pair("False", "AlreadyDeclared"));
    assert!(!world.server.lock().unwrap().declarations.contains_key(&uid("younger")));

    world.calls();
    world.pass("younger").await.unwrap_err();
    assert!(world.calls().is_empty(), "the younger one asks nothing while the older one stands");
}

#[tokio::test]
async fn a_refused_token_is_made_anew() {
    let mut world = published().await;
    world.server.lock().unwrap().denies = true;
    let url = world.server_url();
    world.set_registry(&url, "2026-01-02T00:00:00Z", "True");
    assert!(matches!(world.pass("redis").await.unwrap_err(), Error::Server { .. }));
    assert_eq!(world.condition("redis", "Ready"), pair("True", "Succeeded"));
    world.server.lock().unwrap().denies = false;
    world.pass("redis").await.unwrap();
    assert_eq!(world.cluster.lock().unwrap().tokens, 2);
}

fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

/// A world in which `kafka` 2.0 was uploaded and has its Package.
async fn uploaded() -> World {
    let mut world = World::begin().await;
    world.upload("kafka", "2.0", &digest("a"));
    assert_eq!(adopt(&mut world).await, 1);
    world.pass("kafka-2.0").await.unwrap();
    world.pass("kafka-2.0").await.unwrap();
    world.calls();
    world.writes();
    world
}

#[tokio::test]
async fn an_upload_gets_a_package_that_becomes_ready_and_is_then_left_alone() {
    let mut world = uploaded().await;
    assert_eq!(world.condition("kafka-2.0", "Ready"), pair("True", "Succeeded"));
    let status = world.object("kafka-2.0").unwrap()["status"].clone();
    assert_eq!((&status["name"], &status["version"], &status["size"]), (&json!("kafka"), &json!("2.0"), &json!(10)));
    assert_eq!(adopt(&mut world).await, 0);
    world.calls();
    world.pass("kafka-2.0").await.unwrap();
    assert!(world.calls().is_empty() && world.writes().is_empty());
}

#[tokio::test]
async fn a_catalogue_that_did_not_change_is_not_sent_again() {
    let mut world = uploaded().await;
    assert_eq!(adopt(&mut world).await, 0);
    assert_eq!(world.calls(), ["LIST", "KNOWN"]);
    world.upload("kafka", "2.1", &digest("b"));
    assert_eq!(adopt(&mut world).await, 1);
    assert_eq!(world.calls(), ["LIST"]);
    assert!(world.object("kafka-2.0").is_some() && world.object("kafka-2.1").is_some());
}

#[tokio::test]
async fn deleting_the_package_of_an_upload_takes_it_out_of_the_registry() {
    let mut world = uploaded().await;
    delete(&mut world, "kafka-2.0", NEVER);
    assert!(matches!(world.pass("kafka-2.0").await.unwrap_err(), Error::Withdrawing));
    assert_eq!(world.calls(), ["GET kafka/2.0", "DELETE kafka/2.0?by=controller"]);
    world.pass("kafka-2.0").await.unwrap();
    assert!(world.object("kafka-2.0").is_none() && world.server.lock().unwrap().uploads.is_empty());
}

#[tokio::test]
async fn a_removal_that_was_asked_for_at_the_registry_deletes_the_package_and_then_the_content() {
    let mut world = uploaded().await;
    let coordinate = ("kafka".to_owned(), "2.0".to_owned());
    world.server.lock().unwrap().uploads.get_mut(&coordinate).unwrap()["removalRequested"] = json!(true);
    assert_eq!(adopt(&mut world).await, 1);
    assert!(world.object("kafka-2.0").unwrap()["metadata"]["deletionTimestamp"].is_string());
    world.pass("kafka-2.0").await.unwrap_err();
    world.pass("kafka-2.0").await.unwrap();
    assert!(world.object("kafka-2.0").is_none() && world.server.lock().unwrap().uploads.is_empty());
}

#[tokio::test]
async fn an_upload_that_was_lost_is_said_and_its_package_stays() {
    let mut world = uploaded().await;
    world.server.lock().unwrap().uploads.clear();
    let url = world.server_url();
    world.set_registry(&url, "2026-01-02T00:00:00Z", "True");
    assert_eq!(adopt(&mut world).await, 0);
    assert!(matches!(world.pass("kafka-2.0").await.unwrap_err(), Error::ContentMissing { .. }));
    assert_eq!(world.condition("kafka-2.0", "Published"), pair("False", "ContentMissing"));
    assert_eq!(world.condition("kafka-2.0", "Stalled"), pair("True", "ContentMissing"));

    world.upload("kafka", "2.0", &digest("a"));
    world.pass("kafka-2.0").await.unwrap();
    assert_eq!(world.condition("kafka-2.0", "Ready"), pair("True", "Succeeded"));
}

#[tokio::test]
async fn deleting_the_package_of_an_upload_leaves_what_another_one_names_or_a_declaration_has() {
    let mut world = uploaded().await;
    let mut second = world.object("kafka-2.0").unwrap();
    second["metadata"] = json!({"name": "second", "namespace": "apps", "uid": uid("second"), "generation": 1});
    world.put(second);
    delete(&mut world, "kafka-2.0", NEVER);
    world.pass("kafka-2.0").await.unwrap();
    assert!(world.object("kafka-2.0").is_none());
    assert_eq!(world.server.lock().unwrap().uploads.len(), 1);

    world.pass("second").await.unwrap();
    let coordinate = ("kafka".to_owned(), "2.0".to_owned());
    world.server.lock().unwrap().uploads.get_mut(&coordinate).unwrap()["managedBy"] = json!(uid("redis"));
    delete(&mut world, "second", NEVER);
    world.pass("second").await.unwrap();
    assert!(world.object("second").is_none());
    assert_eq!(world.server.lock().unwrap().uploads.len(), 1);
}
