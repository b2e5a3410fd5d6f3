//! What the catalogue says of uploads, their removal, and bringing them elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{PackageContent, State};
use axum::body::Body;
use futures::future::join_all;
use http::{Method, StatusCode};
use server::digest::Digest;
use server::storage::memory::MemoryStorage;

use crate::common::bundles::package;
use crate::common::faulty::{Faulty, When};
use crate::common::sender::{announced, bring, complete, patch, settled};
use crate::common::site::{Reach, Site};
use crate::common::source::Source;
use crate::common::stores::Stores;
use crate::common::until::until;
use crate::common::{Answer, Client, Setup, client, spec};

async fn delete(site: &Site, path: &str) -> Answer {
    site.call(Method::DELETE, &format!("/api/v1/packages/{path}"), &[], Body::empty()).await
}

crate::on_stores! {
    an_uploaded_package_is_described_as_one
    the_list_of_packages_is_sent_again_when_something_of_it_changed_and_only_then
    a_package_that_comes_again_with_signatures_has_them_then
    a_removed_package_leaves_nothing_and_can_come_again
    an_unknown_package_is_told_in_the_words_of_the_command_line
    a_declared_package_is_not_removed_but_its_declaration_named
    where_an_operator_has_objects_for_packages_a_removal_is_a_mark_that_it_carries_out
    what_a_package_consists_of_can_be_brought_to_another_registry
}

async fn an_uploaded_package_is_described_as_one(site: Site) {
    let redis = package("redis", "1", "redis:5");
    announced(&site, &redis.content()).await;
    let waiting = site.get("/api/v1/packages/redis/1").await.json();
    assert_eq!((&waiting["status"], &waiting["source"]), (&"Pending".into(), &"upload".into()));
    let upload = bring(&site, &redis).await;
    let added = site.get("/api/v1/packages/redis/1").await.json();
    assert_eq!((&added["status"], &added["source"]), (&"Added".into(), &"upload".into()));
    assert_eq!(added["releaseVersion"], upload.release_version.unwrap());
    assert_eq!(added["digest"], upload.digest);
    assert!(added.get("managedBy").is_none() && added.get("removalRequested").is_none());
    let list = site.get("/api/v1/packages").await.json();
    assert_eq!(list["packages"].as_array().unwrap().len(), 1);
}

/// How many packages an instance lists, and the list's tag; `None`: it is the one of that tag.
async fn listed(instance: &Client, tag: &str) -> Option<(usize, String)> {
    let answer = instance.call(Method::GET, "/api/v1/packages", &[("if-none-match", tag)], Body::empty()).await;
    if answer.status == StatusCode::NOT_MODIFIED {
        assert_eq!(answer.header("etag"), tag);
        return None;
    }
    let packages = answer.json()["packages"].as_array().unwrap().len();
    Some((packages, answer.header("etag").to_owned()))
}

async fn the_list_of_packages_is_sent_again_when_something_of_it_changed_and_only_then(site: Site) {
    // The operator asks every few seconds, and a list is read from one entry per package.
    let mut tag = "\"other\"".to_owned();
    let mut becomes = async |count: usize| {
        let mut tags = BTreeSet::new();
        // A list may be newer than its tag, by as much as an instance's look at a shared store may be old.
        until(&format!("every instance lists {count} with one tag"), async || {
            let lists = join_all(site.instances().iter().map(|instance| listed(instance, &tag))).await;
            tags = lists.iter().flatten().map(|(_, tag)| tag.clone()).collect();
            tags.len() == 1 && lists.iter().all(|list| list.as_ref().is_some_and(|(packages, _)| *packages == count))
        })
        .await;
        tag = tags.pop_first().unwrap();
        for instance in site.instances() {
            assert_eq!(listed(instance, &tag).await, None);
        }
    };
    let redis = package("redis", "1", "redis:5");
    announced(&site, &redis.content()).await;
    becomes(1).await;
    bring(&site, &redis).await;
    becomes(1).await;
    bring(&site, &package("redis", "2", "redis:6")).await;
    becomes(2).await;
    delete(&site, "redis/1").await;
    becomes(1).await;
}

async fn a_package_that_comes_again_with_signatures_has_them_then(site: Site) {
    let redis = package("redis", "1", "redis:5");
    let kind = "application/vnd.example.signature";
    let signed = package("redis", "1", "redis:5").referrer("redis:5", kind, b"signature");
    assert_eq!(signed.content().digest, redis.content().digest, "a signature is no content");
    let path = format!("/v2/docker.io/library/redis/referrers/{}", redis.manifest_digest("redis:5"));
    let listed = async |instance: &Client| instance.get(&path).await.json()["manifests"].as_array().unwrap().len();
    let first = bring(&site, &redis).await;
    assert_eq!(listed(site.client()).await, 0);
    // Without them once more: what was brought stays.
    for again in [&signed, &redis] {
        let again = bring(&site, again).await;
        assert_eq!((again.state, again.release_version), (State::Added, first.release_version));
        for instance in site.instances() {
            until("an instance lists the signature", async || listed(instance).await == 1).await;
        }
    }
    delete(&site, "redis/1").await;
    site.shows(&[]).await;
    let left = site.keys_after_collection().await;
    assert!(left.iter().all(|key| key.starts_with("package-uploads/")), "{left:?}");
}

async fn a_removed_package_leaves_nothing_and_can_come_again(site: Site) {
    // universe.md 12.7.
    let redis = package("redis", "1", "redis:5");
    bring(&site, &redis).await;
    let answer = delete(&site, "redis/1").await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::ACCEPTED, &"Removing".into()));
    site.shows(&[]).await;
    let left = site.keys_after_collection().await;
    assert!(left.iter().all(|key| key.starts_with("package-uploads/")), "{left:?}");
    let again = delete(&site, "redis/1").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert_eq!(bring(&site, &redis).await.state, State::Added);
    site.shows(&["redis 1"]).await;
}

async fn an_unknown_package_is_told_in_the_words_of_the_command_line(site: Site) {
    // universe.md 12.6.
    for answer in [
        site.get("/api/v1/packages/redis/1").await,
        delete(&site, "redis/1").await,
        site.get("/api/v1/packages/redis/1/content").await,
    ] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json()["message"], "Version [1] of package [redis] not found");
    }
}

async fn a_declared_package_is_not_removed_but_its_declaration_named(site: Site) {
    let source = Source::start().await;
    site.client().add("u1", &spec(&source.bytes("x", package("redis", "1", "redis:5").bytes()))).await;
    for path in ["redis/1", "redis/1?by=controller"] {
        let answer = delete(&site, path).await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
        assert!(answer.text().contains("apps/it") && answer.text().contains("u1"), "{}", answer.text());
    }
    site.shows(&["redis 1"]).await;
}

async fn where_an_operator_has_objects_for_packages_a_removal_is_a_mark_that_it_carries_out(stores: Stores) {
    let site = Site::with(stores, |storage| Setup { operator_managed: true, ..Setup::on(storage) }).await;
    let redis = package("redis", "1", "redis:5");
    bring(&site, &redis).await;
    let answer = delete(&site, "redis/1").await;
    assert_eq!((answer.status, &answer.json()["removalRequested"]), (StatusCode::ACCEPTED, &true.into()));
    assert_eq!(delete(&site, "redis/1").await.status, StatusCode::ACCEPTED);
    assert_eq!(site.get("/api/v1/packages/redis/1").await.json()["removalRequested"], true);
    assert_eq!(site.get("/api/v1/packages").await.json()["packages"][0]["removalRequested"], true);
    site.shows(&["redis 1"]).await;
    assert_eq!(delete(&site, "redis/1?by=somebody").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(delete(&site, "redis/1?by=controller").await.status, StatusCode::ACCEPTED);
    site.shows(&[]).await;
    bring(&site, &redis).await;
    let again = site.get("/api/v1/packages/redis/1").await.json();
    assert!(again.get("removalRequested").is_none(), "the mark went with the package");
}

async fn what_a_package_consists_of_can_be_brought_to_another_registry(from: Site) {
    let to = client().await;
    let redis = package("redis", "1", "redis:5");
    bring(&from, &redis).await;
    let content = from.get("/api/v1/packages/redis/1/content").await;
    let content: PackageContent = serde_json::from_slice(&content.body).unwrap();
    assert_eq!(content, redis.content());
    let upload = announced(&to, &content).await;
    for blob in &upload.missing {
        let path = format!("/api/v1/packages/redis/1/blobs/{}", blob.digest);
        let half = from.client().get_with(&path, &[("range", "bytes=0-3")]).await;
        assert_eq!((half.status, half.body.len()), (StatusCode::PARTIAL_CONTENT, 4));
        let bytes = from.get(&path).await.body;
        assert_eq!(patch(&to, &upload.id, &blob.digest, 0, bytes).await.status, StatusCode::NO_CONTENT);
    }
    complete(&to, &upload.id).await;
    assert_eq!(settled(&to, &upload.id).await.state, State::Added);
    let foreign = server::digest::Digest::sha256(b"another's");
    let foreign = from.get(&format!("/api/v1/packages/redis/1/blobs/{foreign}")).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_list_without_what_could_not_be_read_for_now_is_never_given() {
    let storage = Arc::new(MemoryStorage::new());
    let first = Setup::on(Arc::clone(&storage) as Arc<_>).start().await.unwrap();
    bring(&first, &package("redis", "1", "redis:5")).await;
    announced(&first, &package("other", "1", "other:1").content()).await;
    let start = async |when| {
        let faulty = Arc::new(Faulty::new(Arc::clone(&storage) as Arc<_>, when));
        (Setup::on(Arc::clone(&faulty) as Arc<_>).start().await.unwrap(), faulty)
    };
    let (client, sound) = start(When::Never).await;
    let before = sound.calls();
    let whole = client.get("/api/v1/packages").await.json();
    assert_eq!(whole["packages"].as_array().unwrap().len(), 2);
    assert!(sound.calls() >= before + 4, "a package and an upload are listed and read");
    let mut failed = 0;
    for call in before + 1..=sound.calls() {
        let (client, _) = start(When::Only(call)).await;
        let answer = client.get("/api/v1/packages").await;
        // A look that was for the tag alone may fail without harm.
        assert!(
            answer.status == StatusCode::SERVICE_UNAVAILABLE || answer.json() == whole,
            "call {call}: {}",
            answer.text()
        );
        failed += usize::from(answer.status == StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(client.get("/api/v1/packages").await.json(), whole);
    }
    assert!(failed >= 4, "what the list is made of was read without");
}

#[tokio::test]
async fn what_an_uploaded_package_says_of_its_images_is_listed() {
    let client = client().await;
    let redis = package("redis", "1", "redis:5").referrer("redis:5", "application/vnd.example.signature", b"signature");
    assert_eq!(bring(&client, &redis).await.state, State::Added);
    let path = format!("/v2/docker.io/library/redis/referrers/{}", redis.manifest_digest("redis:5"));
    let listed = client.get(&path).await.json();
    assert_eq!(listed["manifests"][0]["digest"], Digest::sha256(&redis.referrer_bytes(0)).to_string());
}
