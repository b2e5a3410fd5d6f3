//! Three instances on one store: whatever one of them does, and wherever one dies, all see the same, whole.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::{Declaration, FailureReason, State};
use axum::body::Body;
use common::bundles::package;
use common::faulty::{Faulty, When, at_every_call};
use common::shared::Shared;
use common::source::{Serve, Source};
use common::stores::{Store, Stores};
use common::until::until;
use common::{Client, Setup, keys as all_keys, spec};
use futures::future::join_all;
use http::{Method, StatusCode};
use server::catalogue::{Catalogue, OnConflict, Options};
use server::storage::keys;
use server::storage::memory::MemoryStorage;
use tokio::sync::Semaphore;

crate::on_stores! {
    on three_instances shared_file minio versitygw:
    of_racing_declarations_of_one_name_and_version_exactly_one_wins
    racing_versions_of_one_name_have_numbers_of_their_own
    a_declaration_on_its_way_is_known_everywhere_and_fetched_once
    another_source_through_another_instance_takes_over
    what_one_added_another_withdraws
    an_object_that_was_made_anew_takes_over_what_it_had
    what_is_on_its_way_in_one_another_withdraws
    nothing_published_is_fetched_again_by_whoever_is_asked
    other_content_takes_the_place_where_that_is_allowed
}

async fn start(store: &Store) -> Client {
    Setup::on(Arc::clone(store)).start().await.unwrap()
}

async fn three(stores: &Stores) -> Vec<Client> {
    let start = async || Setup::on(stores.next()).start().await.unwrap();
    join_all((0..3).map(|_| start())).await
}

/// All instances show this catalogue, at the latest when what they saw is a second old.
async fn all_show(instances: &[Client], expected: &[&str]) {
    for instance in instances {
        until(&format!("an instance shows {expected:?}"), async || instance.catalogue().await == expected).await;
    }
}

/// faults.md 35, at once through all instances.
async fn of_racing_declarations_of_one_name_and_version_exactly_one_wins(stores: Stores) {
    let (instances, source) = (three(&stores).await, Source::start().await);
    for round in 0..4 {
        let version = round.to_string();
        let specs: Vec<_> = (0..3)
            .map(|number| {
                let bytes = package("redis", &version, "redis:5").file("n", "n.txt", &[number]).bytes();
                spec(&source.bytes(&format!("{round}-{number}"), bytes))
            })
            .collect();
        let ids: Vec<String> = (0..3).map(|number| format!("u{round}-{number}")).collect();
        let races = instances.iter().zip(&specs).zip(&ids).map(|((instance, spec), id)| instance.declare(id, spec));
        let done: Vec<Declaration> = join_all(races).await;
        let added = done.iter().filter(|declaration| declaration.state == State::Added).count();
        let refused = |declaration: &&Declaration| declaration.reason == Some(FailureReason::AlreadyDeclared);
        assert_eq!((added, done.iter().filter(refused).count()), (1, 2), "{done:?}");
        instances[0].pullable().await;
    }
    all_show(&instances, &["redis 3", "redis 2", "redis 1", "redis 0"]).await;
}

async fn racing_versions_of_one_name_have_numbers_of_their_own(stores: Stores) {
    let (instances, source) = (three(&stores).await, Source::start().await);
    let races = (0..12).map(|number| {
        let (instance, version) = (&instances[number % 3], number.to_string());
        let spec = spec(&source.bytes(&version, package("redis", &version, "redis:5").bytes()));
        async move { instance.add(&format!("u{version}"), &spec).await.package.unwrap().release_version }
    });
    let numbers: BTreeSet<u64> = join_all(races).await.into_iter().collect();
    assert_eq!(numbers, (1_700_000_000..1_700_000_012).collect());
    // Whoever comes next is above them all.
    let next = spec(&source.bytes("next", package("redis", "next", "redis:5").bytes()));
    let next = instances[0].add("next", &next).await.package.unwrap().release_version;
    assert_eq!(next, 1_700_000_012);
}

async fn a_declaration_on_its_way_is_known_everywhere_and_fetched_once(stores: Stores) {
    let (instances, source) = (three(&stores).await, Source::start().await);
    let gate = Arc::new(Semaphore::new(0));
    let bytes = package("redis", "1", "redis:5").bytes();
    let wanted = spec(&source.serve("x", Serve::Waiting(bytes.into(), Arc::clone(&gate))));
    instances[0].put("u", &wanted).await;
    until("it is fetched", async || source.requests() > 0).await;
    for instance in &instances {
        for answer in [instance.get("/api/v1/declarations/u").await, instance.put("u", &wanted).await] {
            assert_eq!(answer.status, StatusCode::OK);
            let declaration: Declaration = serde_json::from_slice(&answer.body).unwrap();
            assert!(!declaration.state.is_final(), "{declaration:?}");
        }
    }
    // Nothing that is secret is shared, nor where it is.
    let record = common::text(stores.next().as_ref(), &keys::declaration(&"u".parse().unwrap())).await;
    assert!(!record.contains("127.0.0.1"), "{record}");
    gate.add_permits(1);
    for instance in &instances {
        assert_eq!(instance.settled("u").await.package.unwrap().version, "1");
    }
    assert_eq!(source.requests(), 1);
}

async fn another_source_through_another_instance_takes_over(stores: Stores) {
    let (instances, source) = (three(&stores).await, Source::start().await);
    let gate = Arc::new(Semaphore::new(0));
    let slow = package("redis", "1", "redis:5").bytes();
    let slow = spec(&source.serve("slow", Serve::Waiting(slow.into(), Arc::clone(&gate))));
    instances[0].put("u", &slow).await;
    let other = spec(&source.bytes("other", package("redis", "2", "redis:6").bytes()));
    assert_eq!(instances[1].add("u", &other).await.package.unwrap().version, "2");
    // The first one finds that it is overtaken when it is about to publish.
    gate.add_permits(2);
    all_show(&instances, &["redis 2"]).await;
    for instance in &instances {
        assert_eq!(instance.settled("u").await.package.unwrap().version, "2");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    all_show(&instances, &["redis 2"]).await;
    // And back, through the third.
    instances[2].add("u", &slow).await;
    all_show(&instances, &["redis 1"]).await;
    instances[0].pullable().await;
}

async fn gone(instance: &Client, id: &str) {
    let path = format!("/api/v1/declarations/{id}");
    until(&format!("{id} goes"), async || instance.get(&path).await.status == StatusCode::NOT_FOUND).await;
}

async fn what_one_added_another_withdraws(stores: Stores) {
    let (instances, source) = (three(&stores).await, Source::start().await);
    let wanted = spec(&source.bytes("x", package("redis", "1", "redis:5").bytes()));
    instances[0].add("u", &wanted).await;
    instances[1].withdraw("u").await;
    for instance in &instances {
        gone(instance, "u").await;
    }
    all_show(&instances, &[]).await;
    assert!(all_keys(stores.next().as_ref()).await.iter().all(|key| !key.starts_with("declarations/")));
    let again = instances[2].call(Method::DELETE, "/api/v1/declarations/u", &[], Body::empty()).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    instances[0].add("u", &wanted).await;
    all_show(&instances, &["redis 1"]).await;
}

/// A restored cluster: the object has another id, the store its content.
async fn an_object_that_was_made_anew_takes_over_what_it_had(stores: Stores) {
    let (instances, source) = (three(&stores).await, Source::start().await);
    let redis = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    instances[0].add("u1", &redis).await;
    instances[1].add("u2", &redis).await;
    for instance in &instances {
        let what = "an instance says who has it now";
        until(what, async || instance.get("/api/v1/packages/redis/1").await.json()["managedBy"] == "u2").await;
    }
    instances[2].withdraw("u1").await;
    all_show(&instances, &["redis 1"]).await;
    instances[2].withdraw("u2").await;
    all_show(&instances, &[]).await;
}

async fn what_is_on_its_way_in_one_another_withdraws(stores: Stores) {
    let (instances, source) = (three(&stores).await, Source::start().await);
    let gate = Arc::new(Semaphore::new(0));
    let bytes = package("redis", "1", "redis:5").bytes();
    let wanted = spec(&source.serve("x", Serve::Waiting(bytes.into(), Arc::clone(&gate))));
    instances[0].put("u", &wanted).await;
    until("it is fetched", async || source.requests() > 0).await;
    instances[1].withdraw("u").await;
    gate.add_permits(1);
    for instance in &instances {
        gone(instance, "u").await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    all_show(&instances, &[]).await;
    assert!(all_keys(stores.next().as_ref()).await.iter().all(|key| !key.starts_with("packages/")));
}

async fn nothing_published_is_fetched_again_by_whoever_is_asked(stores: Stores) {
    let (instances, source) = (three(&stores).await, Source::start().await);
    let wanted = spec(&source.bytes("x", package("redis", "1", "redis:5").bytes()));
    instances[0].add("u", &wanted).await;
    let late = start(&stores.next()).await;
    for instance in instances.iter().chain([&late]) {
        assert_eq!(instance.settled("u").await.package.unwrap().version, "1");
        assert_eq!(instance.add("u", &wanted).await.package.unwrap().release_version, 1_700_000_000);
    }
    assert_eq!(source.requests(), 1);
}

/// faults.md 35.
async fn other_content_takes_the_place_where_that_is_allowed(stores: Stores) {
    let source = Source::start().await;
    let with = |on_conflict| {
        let options = Options { on_conflict, ..Options::default() };
        Setup { options, ..Setup::on(stores.next()) }.start()
    };
    let (strict, lax) = (with(OnConflict::Reject).await.unwrap(), with(OnConflict::Replace).await.unwrap());
    let one = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    let other = spec(&source.bytes("2", package("redis", "1", "redis:5").file("more", "more.txt", b"more").bytes()));
    let first = strict.add("u", &one).await.package.unwrap();
    let refused = strict.declare("u", &other).await;
    assert_eq!(refused.reason, Some(FailureReason::Conflict));
    assert!(refused.message.unwrap().contains("delete the declaration"));
    assert_eq!(refused.package.as_ref(), Some(&first));
    let replaced = lax.add("u", &other).await.package.unwrap();
    assert_ne!(replaced.digest, first.digest);
    assert_eq!(replaced.release_version, first.release_version);
    lax.pullable().await;
}

/// Catalogue and keys, once everything that nobody needs is collected.
async fn settled(store: &Store) -> (Vec<String>, Vec<String>) {
    let client = start(store).await;
    let options = Options { grace_period: Duration::from_millis(1), ..Options::default() };
    tokio::time::sleep(Duration::from_millis(5)).await;
    Catalogue::with(Arc::clone(store), options).collect().await.unwrap();
    client.pullable().await;
    let mut keys = client.keys().await;
    // What is said of a piece of work stays until its declaration is put or withdrawn again.
    keys.retain(|key| !key.starts_with("declarations/"));
    (client.catalogue().await, keys)
}

/// An instance dies at every call in turn, while it does `work`; another one finds the state before or that after.
async fn every_death(prepare: impl AsyncFn(&Client), work: impl AsyncFn(&Client)) {
    let memory = || -> Store { Arc::new(Shared::new(Arc::new(MemoryStorage::new()))) };
    let prepared = async || {
        let store = memory();
        prepare(&start(&store).await).await;
        store
    };
    let before = settled(&prepared().await).await;
    let whole = prepared().await;
    work(&start(&whole).await).await;
    let after = settled(&whole).await;
    assert_ne!(before, after);
    at_every_call(10, async |n| {
        let store = prepared().await;
        let faulty = Arc::new(Faulty::new(Arc::clone(&store), When::From(n)));
        if let Ok(client) = Setup::on(Arc::clone(&faulty) as _).start().await {
            work(&client).await;
        }
        let found = settled(&store).await;
        assert!(found == before || found == after, "death {n}: {found:?}\nis neither {before:?}\nnor {after:?}");
        faulty.calls()
    })
    .await;
}

/// Asks until it is where it stays, or can't be asked any more.
async fn ended(client: &Client, id: &str) {
    until(&format!("{id} ends"), async || {
        let answer = client.get(&format!("/api/v1/declarations/{id}")).await;
        answer.status != StatusCode::OK
            || !answer.json()["message"].is_null()
            || matches!(answer.json()["state"].as_str(), Some("Added" | "Failed"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_while_adding_ends_whole_or_absent_for_the_others() {
    let source = Source::start().await;
    let wanted = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    let work = async |client: &Client| {
        client.put("u", &wanted).await;
        ended(client, "u").await;
    };
    every_death(async |_| {}, work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_while_withdrawing_ends_whole_or_absent_for_the_others() {
    let source = Source::start().await;
    let wanted = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
    let other = spec(&source.bytes("2", package("other", "1", "redis:5").bytes()));
    let prepare = async |client: &Client| {
        client.add("other", &other).await;
        client.add("u", &wanted).await;
    };
    let work = async |client: &Client| {
        client.call(Method::DELETE, "/api/v1/declarations/u", &[], Body::empty()).await;
        ended(client, "u").await;
    };
    every_death(prepare, work).await;
}
