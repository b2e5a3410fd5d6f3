//! Who uses a package, and what its deletion does about them.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod package_world;

use package_world::{World, uid};
use serde_json::{Value, json};

const POD: &str = "/api/v1/namespaces/web/pods/cache";

fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cache", "namespace": "web"},
        "spec": {"containers": [{"name": "main", "image": image}]}, "status": {"phase": "Running"}})
}

/// A world with the Package `redis`, published, in a namespace that stays.
async fn published(spec: Value) -> World {
    published_in(World::begin().await, spec).await
}

async fn published_in(mut world: World, spec: Value) -> World {
    world
        .add("/api/v1/namespaces/apps", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}}));
    world.set_registry_spec(spec);
    world.create("redis", 1, &json!({"url": "https://files.test/redis.dcos"}));
    world.pass("redis").await.unwrap();
    world.pass("redis").await.unwrap();
    world.publish("redis", "redis", "5");
    world.pass("redis").await.unwrap();
    world.calls();
    world
}

fn delete(world: &mut World) {
    delete_at(world, "2999-01-01T00:00:00Z");
}

fn delete_at(world: &mut World, when: &str) {
    let mut object = world.object("redis").unwrap();
    object["metadata"]["deletionTimestamp"] = json!(when);
    object["metadata"]["generation"] = json!(2);
    world.put(object);
}

/// The name of the image in the registry, whose host is the fake server's.
fn by_registry(world: &World) -> String {
    let url = world.server_url();
    format!("{}/docker.io/library/redis:5", url.strip_prefix("http://").unwrap())
}

fn condition(world: &World) -> (String, String) {
    world.condition("redis", "InUse")
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn a_published_package_says_that_nothing_uses_it() {
    let world = published(json!({})).await;
    assert_eq!(condition(&world), pair("False", "NotInUse"));
    assert_eq!(world.object("redis").unwrap()["status"]["workloads"], json!({"count": 0}));
}

#[tokio::test]
async fn a_package_in_use_stays_until_its_user_is_gone() {
    let mut world = published(json!({})).await;
    world.add(POD, pod(&by_registry(&world)));
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    assert_eq!(condition(&world), pair("True", "InUse"));
    let status = world.object("redis").unwrap()["status"].clone();
    assert_eq!(status["workloads"], json!({"count": 1, "examples": ["Pod web/cache"]}));
    assert_eq!(status["observedGeneration"], 2, "the status is about the deletion");
    let message = status["conditions"].as_array().unwrap().iter().find(|found| found["type"] == "InUse").unwrap();
    assert!(message["message"].as_str().unwrap().contains("registry.dcos.io/force-removal"), "{message}");
    assert!(world.calls().is_empty(), "nothing was withdrawn");

    world.take(POD);
    // What was seen a moment ago is believed for a moment.
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    world.pass("redis").await.unwrap_err();
    assert_eq!(world.calls(), [format!("DELETE {}", uid("redis"))]);
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
}

#[tokio::test]
async fn the_annotation_ends_the_wait() {
    let mut world = published(json!({})).await;
    world.add(POD, pod(&by_registry(&world)));
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    assert!(world.calls().is_empty());
    let mut object = world.object("redis").unwrap();
    object["metadata"]["annotations"] = json!({"registry.dcos.io/force-removal": "true"});
    world.put(object);
    world.pass("redis").await.unwrap_err();
    assert_eq!(world.calls(), [format!("DELETE {}", uid("redis"))]);
}

#[tokio::test]
async fn with_warn_if_in_use_the_package_goes() {
    let mut world = published(json!({"packages": {"removal": "WarnIfInUse"}})).await;
    world.add(POD, pod(&by_registry(&world)));
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    assert_eq!(world.calls(), [format!("DELETE {}", uid("redis"))]);
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
}

#[tokio::test]
async fn a_mirrored_upstream_name_counts_only_where_the_registry_mirrors_it() {
    for (spec, held) in [(json!({"nodeTrust": {"mirrors": ["docker.io"]}}), true), (json!({}), false)] {
        let mut world = published(spec).await;
        world.add(POD, pod("redis:5"));
        delete(&mut world);
        world.pass("redis").await.unwrap_err();
        assert_eq!(world.calls().is_empty(), held);
    }
}

#[tokio::test]
async fn an_upstream_that_the_registry_may_not_mirror_is_not_what_pods_get_from_it() {
    let mirrors = json!({"nodeTrust": {"mirrors": ["docker.io"]}});
    let mut world = published_in(World::begin_with(&["ops"]).await, mirrors).await;
    world.add(POD, pod("redis:5"));
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    assert_eq!(world.calls(), [format!("DELETE {}", uid("redis"))]);
}

/// A world whose Package has 101 images, of which its status names 64.
async fn published_with_many_images() -> World {
    let mut world = World::begin().await;
    world
        .add("/api/v1/namespaces/apps", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}}));
    world.create("redis", 1, &json!({"url": "https://files.test/redis.dcos"}));
    world.pass("redis").await.unwrap();
    world.pass("redis").await.unwrap();
    world.publish("redis", "redis", "5");
    world.add_images("redis", 100);
    world.pass("redis").await.unwrap();
    assert_eq!(world.object("redis").unwrap()["status"]["images"].as_array().unwrap().len(), 64);
    let url = world.server_url();
    world.add(POD, pod(&format!("{}/docker.io/library/redis-100:5", url.strip_prefix("http://").unwrap())));
    world.calls();
    world
}

#[tokio::test]
async fn an_image_that_the_status_has_no_room_for_keeps_its_package_too() {
    let mut world = published_with_many_images().await;
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    assert_eq!(condition(&world), pair("True", "InUse"));
    assert!(!world.calls().iter().any(|call| call.starts_with("DELETE")), "it was withdrawn");
    world.take(POD);
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    world.pass("redis").await.unwrap_err();
    assert!(world.calls().contains(&format!("DELETE {}", uid("redis"))));
}

#[tokio::test]
async fn while_nobody_can_say_which_images_a_package_has_its_deletion_waits_and_says_so() {
    let mut world = published_with_many_images().await;
    world.server.lock().unwrap().denies = true;
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    assert_eq!(condition(&world), pair("Unknown", "ProgressingWithRetry"));
    assert!(!world.calls().iter().any(|call| call.starts_with("DELETE")), "it was withdrawn");
    // Whoever deletes the registry wants its content gone.
    world.delete_registry();
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
}

#[tokio::test]
async fn a_deletion_that_is_overdue_goes_on_although_the_registry_can_not_be_asked() {
    let mut world = published_with_many_images().await;
    world.server.lock().unwrap().denies = true;
    delete_at(&mut world, LONG_AGO);
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
}

#[tokio::test]
async fn what_is_scaled_to_zero_or_waits_in_a_cron_job_keeps_a_package_too() {
    let template = |image: &str| json!({"spec": {"containers": [{"name": "main", "image": image}]}});
    let mut world = published(json!({})).await;
    let image = by_registry(&world);
    let sleeping = [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "idle", "namespace": "web"},
            "spec": {"replicas": 0, "selector": {}, "template": template(&image)}}),
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": "web"},
            "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template(&image)}}}}),
    ];
    for object in sleeping {
        world.add(object["metadata"]["name"].as_str().unwrap(), object.clone());
    }
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    let users = world.object("redis").unwrap()["status"]["workloads"]["examples"].clone();
    assert_eq!(users, json!(["CronJob web/nightly", "Deployment web/idle"]));
}

#[tokio::test]
async fn users_hold_nothing_up_when_the_namespace_goes() {
    let mut world = published(json!({})).await;
    world.add(POD, pod(&by_registry(&world)));
    let leaving = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "apps", "deletionTimestamp": "2999-01-01T00:00:00Z"}});
    world.add("/api/v1/namespaces/apps", leaving);
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    assert_eq!(world.calls(), [format!("DELETE {}", uid("redis"))]);
}

/// Longer ago than any deletion waits for the server.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

#[tokio::test]
async fn a_package_known_to_be_in_use_is_not_let_go_since_nobody_can_look() {
    let mut world = published(json!({})).await;
    world.add(POD, pod(&by_registry(&world)));
    delete_at(&mut world, LONG_AGO);
    world.pass("redis").await.unwrap_err();
    assert_eq!(condition(&world), pair("True", "InUse"));
    world.cluster.lock().unwrap().forbidden.push("/api/v1/pods".into());
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    world.pass("redis").await.unwrap_err();
    assert!(world.calls().is_empty(), "nothing was withdrawn");
    assert!(world.object("redis").is_some());
}

#[tokio::test]
async fn the_time_that_a_package_was_held_is_none_that_the_server_had() {
    let mut world = published(json!({})).await;
    world.add(POD, pod(&by_registry(&world)));
    delete_at(&mut world, LONG_AGO);
    world.pass("redis").await.unwrap_err();
    world.take(POD);
    world.server.lock().unwrap().denies = true;
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    world.pass("redis").await.unwrap_err();
    assert!(world.object("redis").is_some(), "the server was asked for the first time just now");
    world.server.lock().unwrap().denies = false;
    world.calls();
    world.pass("redis").await.unwrap_err();
    assert_eq!(world.calls(), [format!("DELETE {}", uid("redis"))]);
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
}

#[tokio::test]
async fn what_is_half_gone_is_not_held_for_a_user_that_comes_now() {
    let mut world = published(json!({})).await;
    delete(&mut world);
    world.pass("redis").await.unwrap_err();
    assert_eq!(world.calls(), [format!("DELETE {}", uid("redis"))]);
    world.add(POD, pod(&by_registry(&world)));
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    world.pass("redis").await.unwrap();
    assert!(world.object("redis").is_none());
}
