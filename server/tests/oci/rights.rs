//! Who may push, move and delete, and what those who may not are told.

use std::sync::Arc;

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use server::digest::Digest;
use server::storage::memory::MemoryStorage;

use crate::common::bundles::package;
use crate::common::kubernetes::{ApiServer, user};
use crate::common::site::{Reach, Site};
use crate::common::source::Source;
use crate::common::stores::Stores;
use crate::common::{Answer, Setup, spec};
use crate::registry::{CONFIG, LAYER, MANIFEST, descriptor, error, refused};

const REDIS: &str = "docker.io/library/redis";

/// An API server on which a user's name is the list of rights: `get-create`.
fn api_server() -> ApiServer {
    ApiServer::new(user, |user, verb| user.split('-').any(|right| right == verb))
}

struct Guarded {
    registry: Site,
    /// The same store, where nobody is asked.
    open: Site,
}

impl Guarded {
    async fn new(anonymous_pull: bool) -> Self {
        let stores = Stores::of(vec![Arc::new(MemoryStorage::new())]);
        let guarded = |storage| Setup { auth: api_server().auth(), anonymous_pull, ..Setup::on(storage) };
        Self { registry: Site::with(stores.clone(), guarded).await, open: Site::with(stores, Setup::on).await }
    }

    async fn ask(&self, user: &str, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let bearer = format!("Bearer {user}");
        let headers = [("authorization", bearer.as_str()), ("content-type", MANIFEST)];
        self.registry.call(method, path, &headers, body).await
    }

    /// Pushes an image as a user, with what it needs.
    async fn push(&self, user: &str, repository: &str, tag: &str, word: &str) -> Answer {
        for content in ["c", word] {
            let digest = Digest::sha256(content.as_bytes());
            let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
            assert_eq!(self.ask(user, Method::POST, &path, content.to_owned()).await.status, 201);
        }
        let image = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(CONFIG, b"c"), "layers": [descriptor(LAYER, word.as_bytes())],
        });
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.ask(user, Method::PUT, &path, image.to_string()).await
    }
}

#[tokio::test]
async fn pushing_needs_create_and_deleting_needs_delete() {
    let guarded = Guarded::new(true).await;
    assert_eq!(guarded.push("create", "mine", "1", "a").await.status, 201);
    let layer = Digest::sha256(b"a");
    for (method, path) in [
        (Method::POST, "/v2/mine/blobs/uploads/".to_owned()),
        (Method::PUT, "/v2/mine/manifests/1".to_owned()),
        (Method::DELETE, "/v2/mine/manifests/1".to_owned()),
        (Method::DELETE, format!("/v2/mine/blobs/{layer}")),
    ] {
        let user = if method == Method::DELETE { "get-create-update" } else { "get-update-delete" };
        let answer = guarded.ask(user, method.clone(), &path, "x").await;
        assert_eq!(refused(&answer), error(403, "DENIED"), "{method} {path}");
        let answer = guarded.registry.call(method.clone(), &path, &[], "x").await;
        assert_eq!(refused(&answer), error(401, "UNAUTHORIZED"), "{method} {path}");
    }
    // As CVE-2026-41888: a tag is no easier to delete than a manifest.
    assert_eq!(guarded.ask("delete", Method::DELETE, "/v2/mine/manifests/1", "").await.status, 202);
}

#[tokio::test]
async fn an_upload_is_the_business_of_those_who_may_push() {
    let guarded = Guarded::new(true).await;
    let begun = guarded.ask("create", Method::POST, "/v2/mine/blobs/uploads/", "").await;
    let location = begun.header("location");
    for method in [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE] {
        assert_eq!(guarded.registry.call(method.clone(), location, &[], "").await.status, 401, "{method}");
        assert_eq!(guarded.ask("get-delete", method.clone(), location, "").await.status, 403, "{method}");
    }
    assert_eq!(guarded.ask("create", Method::GET, location, "").await.status, 204);
    assert_eq!(guarded.ask("create", Method::DELETE, location, "").await.status, 204);
}

/// As CVE-2026-31801 of zot: with the right to create alone, no tag of a package is overwritten.
#[tokio::test]
async fn a_tag_that_a_package_publishes_is_moved_only_with_update() {
    let guarded = Guarded::new(true).await;
    let source = Source::start().await;
    let redis = package("redis", "1.0", "redis:5");
    guarded.open.client().add("u1", &spec(&source.bytes("redis", redis.bytes()))).await;
    let path = format!("/v2/{REDIS}/manifests/5");
    let digest = || async { guarded.open.get(&path).await.header("docker-content-digest").to_owned() };
    let published = digest().await;

    let refusal = guarded.push("get-create", REDIS, "5", "other").await;
    assert_eq!(refused(&refusal), error(403, "DENIED"));
    assert!(refusal.text().contains("may not update packages.registry.dcos.io"), "{}", refusal.text());
    assert_eq!(digest().await, published);
    let denials = guarded.registry.client().audit.kept();
    assert!(denials.iter().any(|line| line.contains(r#""denied":true"#) && line.contains(&path)), "{denials:?}");

    // A push of the same doesn't open a way around.
    let same = guarded.open.get(&path).await.body;
    assert_eq!(guarded.ask("get-create", Method::PUT, &path, same).await.status, 201);
    assert_eq!(guarded.push("get-create", REDIS, "5", "other").await.status, 403);

    assert_eq!(guarded.push("get-create-update", REDIS, "5", "other").await.status, 201);
    assert_ne!(digest().await, published);
}

#[tokio::test]
async fn tags_that_pushes_made_are_moved_with_create() {
    let guarded = Guarded::new(true).await;
    for word in ["a", "b"] {
        assert_eq!(guarded.push("create", "mine", "latest", word).await.status, 201);
    }
}

/// Fault 37: who may push, but not pull, doesn't learn by mounting what is there.
#[tokio::test]
async fn a_mount_does_not_tell_what_exists_to_who_may_not_pull() {
    let guarded = Guarded::new(false).await;
    let digest = guarded.open.blob("secret", b"content").await;
    let there = format!("/v2/mine/blobs/uploads/?mount={digest}&from=secret");
    let not_there = there.replace(digest.hex(), Digest::sha256(b"none").hex());
    for path in [&there, &not_there] {
        assert_eq!(guarded.ask("create", Method::POST, path, "").await.status, 202);
        assert_eq!(guarded.ask("get", Method::POST, path, "").await.status, 403);
    }
    assert_eq!(guarded.ask("get-create", Method::POST, &there, "").await.status, 201);
    for method in [Method::GET, Method::HEAD] {
        let path = format!("/v2/secret/blobs/{digest}");
        assert_eq!(guarded.ask("create", method, &path, "").await.status, 403);
    }
}

#[tokio::test]
async fn a_push_stands_in_the_audit_trail_with_who_and_which_digest() {
    let guarded = Guarded::new(true).await;
    let pushed = guarded.push("create", "mine", "1", "a").await;
    let lines = guarded.registry.client().audit.kept();
    let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!((&line["who"], &line["path"]), (&json!("create"), &json!("/v2/mine/manifests/1")));
    assert_eq!(line["digest"], pushed.header("docker-content-digest"));
}
