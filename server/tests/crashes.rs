//! A store that dies or stumbles at every call in turn: what was declared is there whole after a restart, or not at all.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use api::{DeclarationSpec, State};
use common::bundles::package;
use common::faulty::{Faulty, When, at_every_call};
use common::source::Source;
use common::until::until;
use common::{Client, Setup, spec};
use http::StatusCode;
use server::storage::memory::MemoryStorage;
use server::storage::{Condition, Storage, keys};

/// Catalogue, tags and keys, so that states can be compared.
type Shown = (Vec<String>, Vec<String>, Vec<String>);

/// What the registry shows and what the store has.
async fn state(client: &Client) -> Shown {
    let mut tags = Vec::new();
    for tag in ["5", "6"] {
        let answer = client.get(&format!("/v2/docker.io/library/redis/manifests/{tag}")).await;
        if answer.status == StatusCode::OK {
            tags.push(format!("{tag} {}", answer.header("docker-content-digest")));
        }
    }
    (client.catalogue().await, tags, client.keys().await)
}

#[derive(Clone, Copy)]
enum Walk {
    Add,
    Replace,
    Withdraw,
}

struct Case {
    source: Source,
    one: DeclarationSpec,
    two: DeclarationSpec,
    other: DeclarationSpec,
}

impl Case {
    async fn new() -> Self {
        let source = Source::start().await;
        let one = spec(&source.bytes("1", package("redis", "1", "redis:5").bytes()));
        let two = spec(&source.bytes("2", package("redis", "2", "redis:5").image("more", "redis:6", b"6").bytes()));
        let other = spec(&source.bytes("3", package("other", "1", "redis:5").bytes()));
        Self { source, one, two, other }
    }

    /// A store before the walk.
    async fn prepared(&self, walk: Walk, storage: Arc<dyn Storage>) -> Client {
        let client = Setup::on(storage).start().await.unwrap();
        client.add("other", &self.other).await;
        if matches!(walk, Walk::Replace | Walk::Withdraw) {
            client.add("u", &self.one).await;
        }
        client
    }

    /// The walk; how it ends is of no interest here.
    async fn go(&self, walk: Walk, client: &Client) -> Option<State> {
        match walk {
            Walk::Add => Some(client.declare("u", &self.one).await.state),
            Walk::Replace => Some(client.declare("u", &self.two).await.state),
            Walk::Withdraw => {
                let path = "/api/v1/declarations/u";
                client.call(http::Method::DELETE, path, &[], axum::body::Body::empty()).await;
                until("the withdrawal ends", async || {
                    let answer = client.get(path).await;
                    answer.status == StatusCode::NOT_FOUND || answer.json().get("message").is_some()
                })
                .await;
                None
            }
        }
    }
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

/// Runs the walk with a fault at every call in turn.
async fn every_fault(walk: Walk, fault: fn(usize) -> When) {
    let case = Case::new().await;
    let before = state(&case.prepared(walk, memory()).await).await;
    let whole = case.prepared(walk, memory()).await;
    case.go(walk, &whole).await;
    let after = state(&whole).await;
    assert_ne!(before, after);
    at_every_call(20, async |n| {
        let storage = memory();
        let prepared = case.prepared(walk, Arc::clone(&storage)).await;
        drop(prepared);
        // The start is part of what fails.
        let faulty = Arc::new(Faulty::new(Arc::clone(&storage), fault(n)));
        if let Ok(client) = Setup::on(Arc::clone(&faulty) as _).start().await {
            case.go(walk, &client).await;
        }
        let restarted = Setup::on(Arc::clone(&storage)).start().await.unwrap();
        let found = state(&restarted).await;
        assert!(found == before || found == after, "fault {n}: {found:?}\nis neither {before:?}\nnor {after:?}");
        restarted.pullable().await;
        faulty.calls()
    })
    .await;
    assert!(case.source.requests() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_while_adding_ends_whole_or_absent() {
    every_fault(Walk::Add, When::From).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_while_replacing_ends_with_the_old_or_the_new() {
    every_fault(Walk::Replace, When::From).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_while_withdrawing_ends_whole_or_absent() {
    every_fault(Walk::Withdraw, When::From).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stumble_while_adding_leaves_nothing_or_all() {
    every_fault(Walk::Add, When::Only).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stumble_while_replacing_ends_with_the_old_or_the_new() {
    every_fault(Walk::Replace, When::Only).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stumble_while_withdrawing_ends_whole_or_absent() {
    every_fault(Walk::Withdraw, When::Only).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_death_the_same_declaration_succeeds() {
    let case = Case::new().await;
    for n in [5, 15, 25, 35] {
        let storage = memory();
        let faulty: Arc<dyn Storage> = Arc::new(Faulty::new(Arc::clone(&storage), When::From(n)));
        if let Ok(client) = Setup::on(faulty).start().await {
            case.go(Walk::Add, &client).await;
        }
        let restarted = Setup::on(storage).start().await.unwrap();
        restarted.add("u", &case.one).await;
        restarted.pullable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_what_is_new_and_still_serves_and_withdraws() {
    let (case, storage) = (Case::new().await, memory());
    let before = state(&case.prepared(Walk::Withdraw, Arc::clone(&storage)).await).await;
    let full: Arc<dyn Storage> = Arc::new(Faulty::new(Arc::clone(&storage), When::Full));
    let client = Setup::on(full).start().await.unwrap();
    let failed = client.declare("new", &case.two).await;
    assert_eq!(failed.reason, Some(api::FailureReason::StorageFull), "{failed:?}");
    assert_eq!(state(&client).await, before);
    client.withdraw("u").await;
    assert_eq!(client.catalogue().await, ["other 1"]);
    client.pullable().await;
    // With room again, the tag that had to move is there.
    let restarted = Setup::on(storage).start().await.unwrap();
    let tag = restarted.get("/v2/docker.io/library/redis/manifests/5").await;
    assert_eq!(tag.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stumble_while_adding_is_undone_also_while_something_is_in_quarantine() {
    let case = Case::new().await;
    let broken = keys::quarantined(&keys::entry(&"pmrg4".parse().unwrap()));
    at_every_call(10, async |n| {
        let storage = memory();
        storage.put(&broken, "".into(), Condition::Absent).await.unwrap();
        let prepared = case.prepared(Walk::Add, Arc::clone(&storage)).await;
        let (catalogue, tags, _) = state(&prepared).await;
        // The start goes well; what is behind it stumbles.
        let faulty = Arc::new(Faulty::new(storage, When::Never));
        let client = Setup::on(Arc::clone(&faulty) as _).start().await.unwrap();
        faulty.fail(When::Only(n));
        let done = case.go(Walk::Add, &client).await;
        let calls = faulty.calls();
        if done == Some(State::Failed) {
            let found = state(&client).await;
            assert_eq!((found.0, found.1), (catalogue, tags), "fault {n}");
        }
        calls
    })
    .await;
}
