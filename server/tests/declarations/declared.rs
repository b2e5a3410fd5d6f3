//! Declarations from `PUT` to withdrawal.

use std::sync::Arc;

use crate::common::bundles::{Package, package};
use crate::common::faulty::Faulty;
use crate::common::source::{Serve, Source};
use crate::common::until::{found, until};
use crate::common::{Client, Setup, client, spec};
use api::{Credentials, DeclarationSpec, FailureReason, State};
use axum::body::Body;
use http::{Method, StatusCode};
use server::digest::Digest;
use server::ingest::policy::SourcePolicy;
use server::storage::memory::MemoryStorage;
use tokio::sync::Semaphore;

async fn start() -> (Client, Source) {
    (client().await, Source::start().await)
}

fn digest_of(bytes: &[u8]) -> String {
    Digest::sha256(bytes).hex().to_owned()
}

/// Declares what must fail, and nothing may be left of it.
async fn refused(client: &Client, id: &str, spec: &DeclarationSpec) -> (FailureReason, String) {
    let before = client.keys().await;
    let declaration = client.declare(id, spec).await;
    assert_eq!(declaration.state, State::Failed, "{declaration:?}");
    assert_eq!(client.keys().await, before);
    (declaration.reason.unwrap(), declaration.message.unwrap())
}

async fn tag_of(client: &Client, tag: &str) -> Option<String> {
    let answer = client.get(&format!("/v2/docker.io/library/redis/manifests/{tag}")).await;
    (answer.status == StatusCode::OK).then(|| answer.header("docker-content-digest").to_owned())
}

#[tokio::test]
async fn a_declared_package_is_added_whole_and_described() {
    let (client, source) = start().await;
    let redis = package("redis", "1.0", "redis:5");
    let bytes = redis.bytes();
    let mut wanted = spec(&source.bytes("x", bytes.clone()));
    wanted.url.sha256 = Some(digest_of(&bytes));
    let declaration = client.add("u1", &wanted).await;
    assert_eq!(declaration.progress.bytes_done, bytes.len() as u64);
    assert_eq!(declaration.progress.bytes_total, Some(bytes.len() as u64));
    let published = declaration.package.unwrap();
    assert_eq!((published.name.as_str(), published.version.as_str()), ("redis", "1.0"));
    assert_eq!(published.release_version, 1_700_000_000);
    assert_eq!(client.catalogue().await, ["redis 1.0"]);
    assert!(tag_of(&client, "5").await.is_some());
}

#[tokio::test]
async fn the_same_declaration_again_fetches_nothing() {
    let (client, source) = start().await;
    let wanted = spec(&source.bytes("x", package("redis", "1.0", "redis:5").bytes()));
    client.add("u1", &wanted).await;
    let mut kept = wanted.clone();
    kept.release_version = Some(1_700_000_000);
    kept.url.credentials = Some(Credentials::Bearer { token: "new".into() });
    for again in [&wanted, &kept, &wanted] {
        assert_eq!(client.put("u1", again).await.json()["state"], "Added");
    }
    assert_eq!(source.requests(), 1);
}

#[tokio::test]
async fn a_withdrawn_package_leaves_nothing() {
    let (client, source) = start().await;
    client.add("u1", &spec(&source.bytes("x", package("redis", "1.0", "redis:5").bytes()))).await;
    client.withdraw("u1").await;
    assert!(client.catalogue().await.is_empty());
    assert!(client.keys().await.is_empty());
    let gone = client.call(Method::DELETE, "/api/v1/declarations/u1", &[], Body::empty()).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_answered_with_what_is_withdrawn() {
    let (client, source) = start().await;
    let wanted = spec(&source.bytes("x", package("redis", "1.0", "redis:5").bytes()));
    for _ in 0..20 {
        client.add("u1", &wanted).await;
        let answer = client.call(Method::DELETE, "/api/v1/declarations/u1", &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!((&answer.json()["state"], &answer.json()["package"]["name"]), (&"Removing".into(), &"redis".into()));
        let gone = async || client.get("/api/v1/declarations/u1").await.status == StatusCode::NOT_FOUND;
        until("it is gone", gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_while_another_source_is_being_published_ends_with_what_is_wanted() {
    let (storage, source) = (Arc::new(MemoryStorage::new()), Source::start().await);
    let gate = Arc::new(Semaphore::new(1));
    let gated = Faulty::gated(storage, "packages/", Arc::clone(&gate));
    let client = Setup::on(Arc::new(gated)).start().await.unwrap();
    let one = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    let two = spec(&source.bytes("2", package("redis", "2", "redis:6").bytes()));
    client.add("u1", &one).await;
    client.put("u1", &two).await;
    // Its links and tags are there, its entry is about to be.
    until("the tag is there", async || tag_of(&client, "6").await.is_some()).await;
    assert_eq!(client.put("u1", &one).await.json()["state"], "Added");
    gate.add_permits(2);
    until("the first source is back", async || {
        client.catalogue().await == ["redis 1"] && source.requests() >= 3 && tag_of(&client, "6").await.is_none()
    })
    .await;
    assert_eq!(client.settled("u1").await.package.unwrap().version, "1");
}

#[tokio::test]
async fn what_another_package_needs_stays_when_one_is_withdrawn() {
    let (client, source) = start().await;
    let shared = |version| Package::new("redis", version).image("main", "redis:5", b"same").file("a", "a.txt", b"same");
    client.add("u1", &spec(&source.bytes("1", shared("1").bytes()))).await;
    let alone = client.keys().await.len();
    client.add("u2", &spec(&source.bytes("2", shared("2").bytes()))).await;
    // Its entry and the claim of its number.
    assert_eq!(client.keys().await.len(), alone + 2);
    client.withdraw("u1").await;
    assert_eq!(client.keys().await.len(), alone);
    let digest = shared("2").manifest_digest("redis:5");
    assert_eq!(tag_of(&client, "5").await, Some(digest));
}

#[tokio::test]
async fn a_tag_points_at_what_was_published_last_and_moves_back() {
    let (client, source) = start().await;
    let (one, two) = (package("redis", "1", "redis:5"), package("redis", "2", "redis:5"));
    client.add("u1", &spec(&source.bytes("1", one.bytes()))).await;
    client.add("u2", &spec(&source.bytes("2", two.bytes()))).await;
    assert_eq!(tag_of(&client, "5").await, Some(two.manifest_digest("redis:5")));
    client.withdraw("u2").await;
    assert_eq!(tag_of(&client, "5").await, Some(one.manifest_digest("redis:5")));
    client.withdraw("u1").await;
    assert_eq!(tag_of(&client, "5").await, None);
}

#[tokio::test]
async fn another_source_is_published_before_the_old_package_goes() {
    let (client, source) = start().await;
    client.add("u1", &spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()))).await;
    let gate = Arc::new(Semaphore::new(0));
    let next = Serve::Waiting(package("redis", "2", "redis:6").bytes().into(), Arc::clone(&gate));
    let wanted = spec(&source.serve("2", next));
    assert_ne!(client.put("u1", &wanted).await.json()["state"], "Added");
    let during = client.get("/api/v1/declarations/u1").await.json();
    assert_eq!(during["package"]["version"], "1");
    assert_eq!(client.catalogue().await, ["redis 1"]);
    gate.add_permits(1);
    let declaration = client.settled("u1").await;
    assert_eq!(declaration.package.unwrap().version, "2");
    assert_eq!(client.catalogue().await, ["redis 2"]);
    assert_eq!((tag_of(&client, "5").await.is_some(), tag_of(&client, "6").await.is_some()), (false, true));
    client.withdraw("u1").await;
    assert!(client.keys().await.is_empty());
}

#[tokio::test]
async fn a_replacement_that_fails_keeps_what_was_there() {
    let (client, source) = start().await;
    let good = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    client.add("u1", &good).await;
    let (reason, _) = refused(&client, "u1", &spec(&source.bytes("2", "no zip"))).await;
    assert_eq!(reason, FailureReason::InvalidBundle);
    assert_eq!(client.settled("u1").await.package.unwrap().version, "1");
    assert_eq!(client.put("u1", &good).await.json()["state"], "Added");
}

#[tokio::test]
async fn one_coordinate_has_one_declaration_until_it_is_withdrawn() {
    let (client, source) = start().await;
    let one = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    let other = spec(&source.bytes("2", package("redis", "1", "redis:6").bytes()));
    client.add("u1", &one).await;
    let by_another = DeclarationSpec { declared_by: "apps/other".into(), ..one.clone() };
    for second in [&by_another, &other] {
        let (reason, message) = refused(&client, "u2", second).await;
        assert_eq!(reason, FailureReason::AlreadyDeclared);
        assert!(message.contains("apps/it"), "{message}");
    }
    client.withdraw("u1").await;
    client.add("u2", &other).await;
}

#[tokio::test]
async fn release_versions_rise_above_the_others_of_the_name() {
    let (client, source) = start().await;
    let number = async |id: &str, name: &str, exactly: Option<u64>| {
        let mut wanted = spec(&source.bytes(id, package(name, id, "redis:5").bytes()));
        wanted.release_version = exactly;
        client.add(id, &wanted).await.package.unwrap().release_version
    };
    assert_eq!(number("1", "redis", None).await, 1_700_000_000);
    assert_eq!(number("2", "redis", None).await, 1_700_000_001);
    assert_eq!(number("3", "other", None).await, 1_700_000_000);
    assert_eq!(number("4", "redis", Some(7)).await, 7);
    assert_eq!(number("5", "redis", Some(1_800_000_000)).await, 1_800_000_000);
    assert_eq!(number("6", "redis", None).await, 1_800_000_001);
}

#[tokio::test]
async fn another_release_version_of_the_same_package_replaces_its_entry() {
    let (client, source) = start().await;
    let mut wanted = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    client.add("u1", &wanted).await;
    let before = client.keys().await.len();
    wanted.release_version = Some(9);
    let published = client.add("u1", &wanted).await.package.unwrap();
    assert_eq!((published.release_version, client.keys().await.len()), (9, before));
    assert_eq!(client.catalogue().await, ["redis 1"]);
}

#[tokio::test]
async fn a_file_with_another_digest_is_refused_whatever_is_in_it() {
    let (client, source) = start().await;
    for (name, bytes) in [("good", package("redis", "1.0", "redis:5").bytes()), ("page", b"<html>".to_vec())] {
        let mut wanted = spec(&source.bytes(name, bytes.clone()));
        wanted.url.sha256 = Some("0".repeat(64));
        let (reason, message) = refused(&client, "u1", &wanted).await;
        assert_eq!(reason, FailureReason::DigestMismatch);
        assert!(message.contains(Digest::sha256(&bytes).hex()), "{message}");
    }
}

#[tokio::test]
async fn a_source_that_fails_is_told_apart_from_one_that_wants_credentials() {
    let (client, source) = start().await;
    for (status, wanted) in [
        (StatusCode::NOT_FOUND, FailureReason::FetchFailed),
        (StatusCode::INTERNAL_SERVER_ERROR, FailureReason::FetchFailed),
        (StatusCode::UNAUTHORIZED, FailureReason::AuthenticationFailed),
        (StatusCode::FORBIDDEN, FailureReason::AuthenticationFailed),
    ] {
        let url = source.serve(status.as_str(), Serve::Status(status));
        let (reason, message) = refused(&client, "u1", &spec(&url)).await;
        assert_eq!(reason, wanted);
        assert!(message.contains(status.as_str()), "{message}");
    }
    let (reason, _) = refused(&client, "u1", &spec("http://127.0.0.1:1/x")).await;
    assert_eq!(reason, FailureReason::FetchFailed);
}

#[tokio::test]
async fn only_listed_sources_are_asked() {
    let source = Source::start().await;
    let bytes = package("redis", "1.0", "redis:5").bytes();
    let url = source.bytes("x", bytes.clone());
    let port = source.address.port();
    let loopback = vec!["127.0.0.1/32".parse().unwrap()];
    let hosts = |host: String| vec![host.parse().unwrap()];
    let base = SourcePolicy { require_digest: true, ..SourcePolicy::default() };
    let nothing = base.clone();
    let host_alone = SourcePolicy { hosts: hosts("127.0.0.1".into()), ..base.clone() };
    let other_port = SourcePolicy { hosts: hosts("127.0.0.1:1".into()), ..base.clone() };
    let no_digest = SourcePolicy { ranges: loopback.clone(), ..base.clone() };
    let both = SourcePolicy { hosts: hosts(format!("127.0.0.1:{port}")), ranges: loopback, ..base };
    for (policy, with_digest, words) in [
        (nothing, true, "spec.packages.sources.allowedHosts"),
        (host_alone, true, "loopback"),
        (other_port, true, "spec.packages.sources.allowedHosts"),
        (no_digest, false, "spec.packages.sources.requireDigest"),
    ] {
        let client = Setup { policy, ..Setup::on(Arc::new(MemoryStorage::new())) }.start().await.unwrap();
        let mut wanted = spec(&url);
        wanted.url.sha256 = with_digest.then(|| digest_of(&bytes));
        let (reason, message) = refused(&client, "u1", &wanted).await;
        assert_eq!(reason, FailureReason::NotAllowed);
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(source.requests(), 0);
    let client = Setup { policy: both, ..Setup::on(Arc::new(MemoryStorage::new())) }.start().await.unwrap();
    let mut wanted = spec(&url);
    wanted.url.sha256 = Some(digest_of(&bytes));
    client.add("u1", &wanted).await;
}

#[tokio::test]
async fn redirects_are_followed_and_checked_each_time() {
    let (client, source) = start().await;
    let end = source.bytes("end", package("redis", "1.0", "redis:5").bytes());
    let mut to = end;
    for n in 1..=5 {
        to = source.serve(&format!("r{n}"), Serve::Redirect(to));
    }
    client.add("u1", &spec(&to)).await;
    client.withdraw("u1").await;
    let too_many = source.serve("r6", Serve::Redirect(to));
    assert_eq!(refused(&client, "u1", &spec(&too_many)).await.0, FailureReason::FetchFailed);
    for inner in ["http://169.254.169.254/latest/meta-data", "http://127.0.0.2:80/", "file:///etc/passwd"] {
        let url = source.serve("inner", Serve::Redirect(inner.into()));
        let (reason, message) = refused(&client, "u1", &spec(&url)).await;
        assert_eq!(reason, FailureReason::NotAllowed, "{inner}: {message}");
    }
}

#[tokio::test]
async fn credentials_go_to_their_host_alone() {
    let (client, source, other) = (client().await, Source::start().await, Source::start().await);
    let bytes = package("redis", "1.0", "redis:5").bytes();
    let guarded = source.serve("guarded", Serve::Guarded(bytes.clone().into(), "Basic YW5uOnNlY3JldA==".into()));
    let mut wanted = spec(&guarded);
    assert_eq!(refused(&client, "u1", &wanted).await.0, FailureReason::AuthenticationFailed);
    wanted.url.credentials = Some(Credentials::Basic { username: "ann".into(), password: "secret".into() });
    client.add("u1", &wanted).await;
    client.withdraw("u1").await;
    let elsewhere = other.bytes("x", bytes);
    wanted.url.url = source.serve("away", Serve::Redirect(elsewhere));
    client.add("u1", &wanted).await;
    assert_eq!((source.authorizations().len(), other.authorizations().len()), (2, 0));
}

#[tokio::test]
async fn a_broken_transfer_is_taken_up_where_it_broke() {
    let (client, source) = start().await;
    let bytes = package("redis", "1.0", "redis:5").bytes();
    let mut wanted = spec(&source.serve("x", Serve::Breaking(bytes.clone().into(), bytes.len() / 3 + 1)));
    // Without a digest nobody could tell that it is the same file.
    assert_eq!(refused(&client, "u1", &wanted).await.0, FailureReason::FetchFailed);
    wanted.url.sha256 = Some(digest_of(&bytes));
    let declaration = client.add("u1", &wanted).await;
    assert_eq!(declaration.progress.bytes_done, bytes.len() as u64);
    assert_eq!(source.requests(), 4);
}

#[tokio::test]
async fn nothing_is_visible_while_bytes_arrive_and_progress_is() {
    let (client, source) = start().await;
    let bytes = package("redis", "1.0", "redis:5").bytes();
    let gate = Arc::new(Semaphore::new(0));
    let wanted = spec(&source.serve("x", Serve::Waiting(bytes.clone().into(), Arc::clone(&gate))));
    client.put("u1", &wanted).await;
    let state = found("bytes have come", async || {
        let state = client.get("/api/v1/declarations/u1").await.json();
        (state["progress"]["bytesDone"] != 0).then_some(state)
    })
    .await;
    assert_eq!(
        (state["state"].as_str(), state["progress"]["bytesTotal"].as_u64()),
        (Some("Validating"), Some(bytes.len() as u64))
    );
    assert!(client.catalogue().await.is_empty());
    assert_eq!(tag_of(&client, "5").await, None);
    gate.add_permits(1);
    assert_eq!(client.settled("u1").await.state, State::Added);
}

#[tokio::test]
async fn withdrawing_what_is_still_on_its_way_stops_it() {
    let (client, source) = start().await;
    let bytes = package("redis", "1.0", "redis:5").bytes();
    let wanted = spec(&source.serve("x", Serve::Waiting(bytes.into(), Arc::new(Semaphore::new(0)))));
    client.put("u1", &wanted).await;
    client.withdraw("u1").await;
    assert!(client.keys().await.is_empty());
    let changed = spec(&source.bytes("y", package("redis", "2.0", "redis:5").bytes()));
    client.put("u1", &wanted).await;
    client.add("u1", &changed).await;
    assert_eq!(client.catalogue().await, ["redis 2.0"]);
}

#[tokio::test]
async fn a_failure_does_not_sweep_away_what_another_is_taking_in() {
    let (client, source) = start().await;
    let bytes = package("redis", "1.0", "redis:5").bytes();
    let gate = Arc::new(Semaphore::new(0));
    client.put("u1", &spec(&source.serve("x", Serve::Waiting(bytes.into(), Arc::clone(&gate))))).await;
    for n in 0..5 {
        let failed = client.declare(&format!("bad{n}"), &spec(&source.bytes("bad", "no zip"))).await;
        assert_eq!(failed.state, State::Failed);
    }
    gate.add_permits(1);
    assert_eq!(client.settled("u1").await.state, State::Added);
    let answer = client.get("/v2/docker.io/library/redis/manifests/5").await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_published_survives_a_restart_and_is_recognised() {
    let (storage, source) = (Arc::new(MemoryStorage::new()), Source::start().await);
    let first = Setup::on(storage.clone()).start().await.unwrap();
    let wanted = spec(&source.bytes("x", package("redis", "1.0", "redis:5").bytes()));
    let before = first.add("u1", &wanted).await;
    first.declare("u2", &spec(&source.bytes("bad", "no zip"))).await;
    let asked = source.requests();
    let second = Setup::on(storage).start().await.unwrap();
    assert_eq!(second.settled("u1").await.package, before.package);
    assert_eq!(second.get("/api/v1/declarations/u2").await.status, StatusCode::NOT_FOUND);
    second.add("u1", &wanted).await;
    assert_eq!(source.requests(), asked);
    second.withdraw("u1").await;
    assert!(second.keys().await.is_empty());
}

#[tokio::test]
async fn a_declaration_that_is_none_is_refused() {
    let client = client().await;
    let good = serde_json::to_value(spec("http://127.0.0.1:1/x")).unwrap();
    let with = |pointer: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        bad.to_string()
    };
    let mut short = good.clone();
    short["url"]["sha256"] = "12".into();
    for (id, body) in [
        ("a b", good.to_string()),
        ("a", "{".into()),
        ("a", with("/releaseVersionFrom", (-1).into())),
        ("a", short.to_string()),
        ("a", with("/url", "x".into())),
        (&"x".repeat(129), good.to_string()),
    ] {
        let path = format!("/api/v1/declarations/{}", id.replace(' ', "%20"));
        let answer = client.call(Method::PUT, &path, &[], body.clone()).await;
        assert_eq!(
            (answer.status, answer.json()["type"].as_str()),
            (StatusCode::BAD_REQUEST, Some("Invalid")),
            "{body}"
        );
        assert_eq!(client.get(&path).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn changes_are_in_the_audit_trail() {
    let (client, source) = start().await;
    client.add("u1", &spec(&source.bytes("x", package("redis", "1.0", "redis:5").bytes()))).await;
    client.withdraw("u1").await;
    let lines: Vec<serde_json::Value> =
        client.audit.kept().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let added = lines.iter().find(|line| line["action"] == "add").unwrap();
    assert_eq!((added["declaredBy"].as_str(), added["package"].as_str()), (Some("apps/it"), Some("redis")));
    assert!(added["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(lines.iter().any(|line| line["action"] == "remove"));
    let put = lines.iter().find(|line| line["method"] == "PUT").unwrap();
    assert_eq!(
        (put["who"].as_str(), put["status"].as_u64(), put["denied"].as_bool()),
        (Some("anonymous"), Some(200), Some(false))
    );
}
