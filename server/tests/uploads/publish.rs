//! From the announcement to the catalogue.

use std::sync::Arc;
use std::time::Duration;

use api::{FailureReason, State};
use axum::body::Body;
use http::{Method, StatusCode};
use server::storage::memory::MemoryStorage;
use tokio::sync::Semaphore;

use crate::common::Setup;
use crate::common::bundles::{Package, package};
use crate::common::faulty::Faulty;
use crate::common::sender::{announce, announced, bring, complete, send, settled};
use crate::common::site::{Reach, Site};
use crate::common::source::Source;
use crate::common::spec;
use crate::common::until::until;

crate::on_stores! {
    only_what_the_registry_lacks_is_asked_for_and_the_package_is_published
    the_same_content_again_is_a_success_at_once
    other_content_under_the_same_name_and_version_is_a_conflict_that_names_remove
    of_two_contents_that_are_brought_at_once_the_second_fails_as_a_conflict
    a_name_and_version_that_is_declared_is_a_conflict_that_names_the_declaration
    what_is_missing_is_said_before_anything_is_published
    a_package_that_breaks_a_rule_fails_with_the_place_and_leaves_nothing
    a_content_that_can_not_be_published_is_refused_at_once
    blobs_of_an_upload_stay_while_other_packages_come_and_go
    a_package_without_files_and_images_needs_no_blob
}

async fn only_what_the_registry_lacks_is_asked_for_and_the_package_is_published(site: Site) {
    let (one, two) = (package("redis", "1", "redis:5"), package("redis", "2", "redis:5").file("b", "b.txt", b"b"));
    let first = bring(&site, &one).await;
    assert_eq!(first.state, State::Added, "{first:?}");
    assert_eq!(first.progress.bytes_done, first.progress.bytes_total.unwrap());
    let same_layer = two.image("also", "redis:4", b"layer of redis 1");
    let answer = announce(&site, &same_layer.content()).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let upload: api::Upload = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/uploads/{}", upload.id));
    let there = one.parts();
    assert!(!upload.missing.is_empty() && upload.missing.iter().all(|blob| !there.contains_key(&blob.digest)));
    assert!(upload.missing.is_sorted_by_key(|blob| &blob.digest));
    send(&site, &same_layer, &upload).await;
    assert_eq!(complete(&site, &upload.id).await.status, StatusCode::ACCEPTED);
    let second = settled(&site, &upload.id).await;
    assert!(second.release_version > first.release_version);
    site.shows(&["redis 2", "redis 1"]).await;
    for (digest, content) in same_layer.parts() {
        let path = format!("/api/v1/packages/redis/2/blobs/{digest}");
        assert_eq!(site.get(&path).await.body, content, "{digest}");
    }
}

async fn the_same_content_again_is_a_success_at_once(site: Site) {
    // universe.md 13; faults.md 35.
    let redis = package("redis", "1", "redis:5");
    let first = bring(&site, &redis).await;
    let again = announce(&site, &redis.content()).await;
    assert_eq!(again.status, StatusCode::OK);
    let again: api::Upload = serde_json::from_slice(&again.body).unwrap();
    assert_eq!((again.state, again.id.as_str()), (State::Added, first.id.as_str()));
    assert!(again.missing.is_empty());
    assert_eq!(again.release_version, first.release_version);
    assert_eq!(complete(&site, &first.id).await.status, StatusCode::ACCEPTED);
    site.shows(&["redis 1"]).await;
}

async fn other_content_under_the_same_name_and_version_is_a_conflict_that_names_remove(site: Site) {
    // universe.md 13; faults.md 35.
    bring(&site, &package("redis", "1", "redis:5")).await;
    let other = announce(&site, &package("redis", "1", "redis:6").content()).await;
    assert_eq!((other.status, &other.json()["type"]), (StatusCode::CONFLICT, &"Conflict".into()));
    assert!(other.text().contains("registry remove --package-name=redis --package-version=1"), "{}", other.text());
    site.shows(&["redis 1"]).await;
}

async fn of_two_contents_that_are_brought_at_once_the_second_fails_as_a_conflict(site: Site) {
    let (one, two) = (package("redis", "1", "redis:5"), Package::new("redis", "1").file("b", "b.txt", b"other"));
    let (first, second) = (announced(&site, &one.content()).await, announced(&site, &two.content()).await);
    send(&site, &one, &first).await;
    send(&site, &two, &second).await;
    assert_eq!(complete(&site, &first.id).await.status, StatusCode::ACCEPTED);
    assert_eq!(settled(&site, &first.id).await.state, State::Added);
    assert_eq!(complete(&site, &second.id).await.status, StatusCode::ACCEPTED);
    let failed = settled(&site, &second.id).await;
    assert_eq!((failed.state, failed.reason), (State::Failed, Some(FailureReason::Conflict)), "{failed:?}");
    assert!(failed.message.unwrap().contains("registry remove"));
}

async fn a_name_and_version_that_is_declared_is_a_conflict_that_names_the_declaration(site: Site) {
    let source = Source::start().await;
    site.client().add("u1", &spec(&source.bytes("x", package("redis", "1", "redis:5").bytes()))).await;
    let other = announce(&site, &package("redis", "1", "redis:6").content()).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert!(other.text().contains("apps/it") && other.text().contains("u1"), "{}", other.text());
    let same = announced(&site, &package("redis", "1", "redis:5").content()).await;
    assert_eq!(same.state, State::Added);
}

async fn what_is_missing_is_said_before_anything_is_published(site: Site) {
    let redis = package("redis", "1", "redis:5");
    let upload = announced(&site, &redis.content()).await;
    assert_eq!(upload.state, State::Pending);
    let answer = complete(&site, &upload.id).await;
    assert_eq!((answer.status, &answer.json()["type"]), (StatusCode::CONFLICT, &"Incomplete".into()));
    let said: api::Upload = serde_json::from_value(answer.json()["data"].clone()).unwrap();
    assert_eq!(said.missing, upload.missing);
    site.shows(&[]).await;
}

async fn a_package_that_breaks_a_rule_fails_with_the_place_and_leaves_nothing(site: Site) {
    // faults.md 34: layers absent of an image that the package names.
    let redis = package("redis", "1", "redis:5");
    let mut content = redis.content();
    let layer = server::digest::Digest::sha256(b"layer of redis 1").to_string();
    content.blobs.retain(|blob| blob.digest != layer);
    let upload = announced(&site, &content).await;
    send(&site, &redis, &upload).await;
    assert_eq!(complete(&site, &upload.id).await.status, StatusCode::ACCEPTED);
    let failed = settled(&site, &upload.id).await;
    assert_eq!((failed.state, failed.reason), (State::Failed, Some(FailureReason::InvalidBundle)));
    assert!(failed.message.unwrap().contains(&format!("layer {layer} is not there")));
    let described = site.get("/api/v1/packages/redis/1").await.json();
    assert_eq!(described["status"], "Failed");
    assert!(described["message"].as_str().unwrap().contains("is not there"));
    assert_eq!(site.get("/api/v1/packages").await.json()["packages"][0]["status"], "Failed");
    site.shows(&[]).await;
    // The failure is answered just before what nobody needs is swept.
    until("nothing is left but what is said of it", async || {
        site.keys_after_collection().await.iter().all(|key| key.starts_with("package-uploads/"))
    })
    .await;
    assert_eq!(bring(&site, &redis).await.state, State::Added, "the right one can be brought at once");
}

async fn a_content_that_can_not_be_published_is_refused_at_once(site: Site) {
    let right = package("redis", "1", "redis:5").content();
    let refused = async |change: &dyn Fn(&mut api::PackageContent), words: &str| {
        let mut content = right.clone();
        change(&mut content);
        let answer = announce(&site, &content).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    };
    refused(&|content| content.digest = "sha256:0".into(), "digest: ").await;
    refused(&|content| content.name = "other".into(), "name: ").await;
    refused(&|content| content.files[0].name = "..".into(), "file name").await;
    refused(&|content| content.metadata = content.metadata.replace("4.0", "6.0"), "packagingVersion").await;
    refused(&|content| content.index = None, "images/index.json").await;
    let answer = site.call(Method::POST, "/api/v1/uploads", &[], Body::from("{\"name\":1}")).await;
    assert_eq!((answer.status, &answer.json()["type"]), (StatusCode::BAD_REQUEST, &"Invalid".into()));
    assert!(site.keys().await.is_empty());
}

async fn blobs_of_an_upload_stay_while_other_packages_come_and_go(site: Site) {
    let (redis, other) = (package("redis", "1", "redis:5"), package("other", "1", "other:1"));
    let upload = announced(&site, &redis.content()).await;
    send(&site, &redis, &upload).await;
    bring(&site, &other).await;
    let gone = site.call(Method::DELETE, "/api/v1/packages/other/1", &[], Body::empty()).await;
    assert_eq!(gone.status, StatusCode::ACCEPTED);
    let answer = complete(&site, &upload.id).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    assert_eq!(settled(&site, &upload.id).await.state, State::Added);
}

async fn a_package_without_files_and_images_needs_no_blob(site: Site) {
    let bare = Package::new("bare", "1");
    let upload = announced(&site, &bare.content()).await;
    assert!(upload.missing.is_empty() && upload.state == State::Pending);
    assert_eq!(bring(&site, &bare).await.state, State::Added);
}

#[tokio::test]
async fn a_publication_that_is_asked_for_twice_at_once_is_worked_on_once() {
    let gate = Arc::new(Semaphore::new(1000));
    let storage = Faulty::gated(Arc::new(MemoryStorage::new()), "package-uploads/", Arc::clone(&gate));
    let client = Setup::on(Arc::new(storage)).start().await.unwrap();
    let redis = package("redis", "1", "redis:5");
    let upload = announced(&client, &redis.content()).await;
    send(&client, &redis, &upload).await;
    gate.forget_permits(gate.available_permits());
    let open = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        gate.add_permits(1000);
    };
    let (one, two, ()) = tokio::join!(complete(&client, &upload.id), complete(&client, &upload.id), open);
    assert_eq!((one.status, two.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED), "{} {}", one.text(), two.text());
    assert_eq!(settled(&client, &upload.id).await.state, State::Added);
    // A second piece of work would end about now.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let lines = client.audit.kept();
    assert_eq!(lines.iter().filter(|line| line.contains(r#""action":"add""#)).count(), 1, "{lines:?}");
}
