//! Lines 23 to 29 of faults.md, on real S3 servers behind a proxy that does harm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::Setup;
use crate::common::s3_proxy::{Call, Fault, Proxy};
use crate::common::s3_server::{KEY_ID, Kind, S3Server, SECRET};
use crate::common::s3_store::{self, LARGE, behind, content, through_a_proxy, write};
use crate::common::until::until;
use bytes::Bytes;
use clap::Parser;
use http::Method;
use server::config::Arguments;
use server::digest::{Algorithm, Digest};
use server::storage::health::{StorageHealth, Trouble};
use server::storage::s3::{CredentialsSource, S3Config, S3Storage};
use server::storage::{ByteRange, Condition, Item, Key, Listing, Result, SessionId, Storage, StorageError, keys};

async fn open(server: &S3Server) -> (Arc<S3Storage>, Proxy) {
    let (store, proxy) = through_a_proxy(server).await;
    (Arc::new(store), proxy)
}

async fn read(store: &S3Storage, key: &Key) -> Result<Bytes> {
    s3_store::read(store, key, ByteRange::Whole).await
}

fn tag() -> Key {
    keys::tag(&"a/b".parse().unwrap(), &"1".parse().unwrap())
}

/// Fails one call, or all from one on.
fn at(number: usize, also_later: bool, fault: Fault) -> impl FnMut(&Call) -> Option<Fault> + Send + 'static {
    let mut calls = 0;
    move |_| {
        calls += 1;
        (calls == number || also_later && calls > number).then_some(fault)
    }
}

/// Everything that a push and a pull do, and what must come of it whichever call fails once.
async fn everything(store: &S3Storage, round: usize) -> Result<()> {
    let large = [content(LARGE), Bytes::from(round.to_string())].concat();
    let key = write(store, &large).await?;
    assert_eq!(read(store, &key).await?, large);
    let id = SessionId::random();
    store.create_session(id, Bytes::new()).await?;
    let mut session = store.resume_session(id).await?;
    session.write(Bytes::from_static(b"in pieces")).await?;
    assert_eq!(session.save().await?, 9);
    let finished = store.resume_session(id).await?.finish(Algorithm::Sha256).await?;
    assert_eq!(finished.digest(), &Digest::sha256(b"in pieces"));
    let small = keys::blob(finished.digest());
    finished.commit().await?;
    store.drop_session(id).await?;
    let version = store.put(&tag(), Bytes::from_static(b"1"), Condition::Absent).await?;
    let version = store.put(&tag(), Bytes::from_static(b"2"), Condition::Unchanged(version)).await?;
    assert_eq!(store.get(&tag(), 9).await?, (Bytes::from_static(b"2"), version.clone()));
    assert!(store.renew(&small).await?);
    assert!(store.delete_unchanged(&tag(), &version).await? || store.size(&tag()).await.is_err());
    let page = store.list(Listing { prefix: "", folders: false, after: None, limit: 9 }).await?;
    let names: Vec<_> = page.items.iter().map(Item::name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    store.delete(&key).await?;
    store.delete(&small).await?;
    assert_eq!(store.content_bytes().await?, 0);
    Ok(())
}

/// faults.md 23 and 25: 500, 503 `SlowDown`, a reset, or a lost answer on the nth call, for every n.
#[tokio::test(flavor = "multi_thread")]
async fn fault_23_and_25_whichever_call_fails_once_or_loses_its_answer_all_goes_on() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let (store, proxy) = open(server).await;
        everything(&store, 0).await.unwrap();
        let calls = proxy.calls().len();
        let faults = [
            Fault::LoseAnswer,
            Fault::Answer(503, "SlowDown"),
            Fault::LoseAnswer,
            Fault::Reset,
            Fault::Answer(500, "InternalError"),
        ];
        // One server for every call, the other for a sample: a round takes seconds.
        for number in (1..=calls).step_by(if kind == Kind::Minio { 1 } else { 4 }) {
            let fault = faults[number % faults.len()];
            proxy.rule(at(number, false, fault));
            if let Err(error) = everything(&store, number).await {
                panic!("{kind:?}: call {number} of {calls}, {fault:?}: {error}\n{:#?}", proxy.calls());
            }
            assert!(proxy.calls().len() > calls - 5);
        }
        assert_eq!(store.complaint(), None);
    }
}

/// faults.md 23: what fails for ever ends in 503 with `Retry-After`, within bounds, and never in "not there".
#[tokio::test(flavor = "multi_thread")]
async fn fault_23_a_store_that_is_down_is_never_a_404() {
    let Some(server) = Kind::Minio.server().await else { return };
    let (store, proxy) = open(server).await;
    let client = Setup::on(Arc::clone(&store) as Arc<dyn Storage>).start().await.unwrap();
    let key = write(&store, &content(10)).await.unwrap();
    let html_404 = Fault::Answer(404, "");
    for fault in [Fault::Answer(503, "SlowDown"), Fault::Answer(500, "InternalError"), Fault::Reset, html_404] {
        proxy.rule(move |_| Some(fault));
        let begun = Instant::now();
        for error in [
            store.size(&key).await.unwrap_err(),
            store.read(&key, ByteRange::Whole).await.err().unwrap(),
            store.get(&tag(), 9).await.unwrap_err(),
            store.renew(&tag()).await.unwrap_err(),
            store.put(&tag(), Bytes::new(), Condition::Absent).await.unwrap_err(),
            store.delete(&key).await.unwrap_err(),
            store.view_session(SessionId::random()).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, StorageError::Unavailable { trouble: Trouble::Unreachable, .. }),
                "{fault:?}: {error}"
            );
        }
        let digest = Digest::sha256(&content(10));
        for path in [format!("/v2/a/blobs/{digest}"), "/v2/a/manifests/1".to_owned(), "/v2/a/tags/list".to_owned()] {
            let answer = client.get(&path).await;
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "5"), "{fault:?}: {path}");
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "{fault:?}: {:?}", begun.elapsed());
        assert_eq!(store.complaint().unwrap().trouble, Trouble::Unreachable);
        let status = client.get("/api/v1/status").await.json();
        assert_eq!(status["conditions"][0]["reason"], "Unreachable", "{status}");
        assert_eq!(status["conditions"][0]["ok"], false);
    }
    proxy.heal();
    assert_eq!(read(&store, &key).await.unwrap(), content(10));
    let status = client.get("/api/v1/status").await.json();
    assert_eq!(status["conditions"][0]["reason"], "Succeeded", "{status}");
}

/// faults.md 23: a body that breaks off goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn fault_23_a_body_that_breaks_off_is_taken_up_again() {
    let Some(server) = Kind::Minio.server().await else { return };
    let (store, proxy) = open(server).await;
    let bytes = content(1_000_000);
    let key = write(&store, &bytes).await.unwrap();
    let mut breaks = 0;
    proxy.rule(move |call| {
        breaks += usize::from(call.method == Method::GET);
        (breaks <= 3).then_some(Fault::BreakBody(100_000))
    });
    assert_eq!(read(&store, &key).await.unwrap(), bytes);
    proxy.rule(|_| Some(Fault::BreakBody(100_000)));
    let error = read(&store, &key).await.unwrap_err();
    assert!(error.to_string().contains("broke off"), "{error}");
}

/// faults.md 24: 200 with an error in the body on `CompleteMultipart`.
#[tokio::test(flavor = "multi_thread")]
async fn fault_24_an_error_inside_a_200_is_a_failure() {
    let Some(server) = Kind::Minio.server().await else { return };
    let (store, proxy) = open(server).await;
    for code in ["InternalError", ""] {
        proxy.rule(move |call| call.completes().then_some(Fault::Answer(200, code)));
        let bytes = content(LARGE);
        let error = write(&store, &bytes).await.unwrap_err();
        assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
        let key = keys::blob(&Digest::sha256(&bytes));
        assert!(store.size(&key).await.unwrap_err().is_not_found());
        proxy.heal();
        write(&store, &bytes).await.unwrap();
        assert_eq!(read(&store, &key).await.unwrap(), bytes);
        store.delete(&key).await.unwrap();
    }
}

/// faults.md 24: what had arrived of a session is there when it is ended again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_24_a_session_whose_object_could_not_be_made_is_ended_again() {
    let Some(server) = Kind::Minio.server().await else { return };
    let (store, proxy) = open(server).await;
    let (id, bytes) = (SessionId::random(), content(LARGE));
    store.create_session(id, Bytes::new()).await.unwrap();
    let mut session = store.resume_session(id).await.unwrap();
    session.write(bytes.clone()).await.unwrap();
    session.save().await.unwrap();
    let end = async || {
        let finished = store.resume_session(id).await?.finish(Algorithm::Sha256).await?;
        finished.commit().await
    };
    proxy.rule(|call| call.completes().then_some(Fault::Answer(503, "SlowDown")));
    let error = end().await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
    // Whatever it does behind itself, it does now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.heal();
    assert_eq!(store.view_session(id).await.unwrap().size, LARGE as u64);
    end().await.unwrap();
    store.drop_session(id).await.unwrap();
    assert_eq!(read(&store, &keys::blob(&Digest::sha256(&bytes))).await.unwrap(), bytes);
    // One that is given up instead takes its parts along.
    let given_up = SessionId::random();
    store.create_session(given_up, Bytes::new()).await.unwrap();
    let mut session = store.resume_session(given_up).await.unwrap();
    session.write(content(LARGE + 1)).await.unwrap();
    session.save().await.unwrap();
    drop(store.resume_session(given_up).await.unwrap().finish(Algorithm::Sha256).await.unwrap());
    proxy.calls();
    store.drop_session(given_up).await.unwrap();
    let aborts = |call: &Call| call.method == Method::DELETE && call.query.contains("uploadId=");
    assert_eq!(proxy.calls().iter().filter(|call| aborts(call)).count(), 1);
}

/// faults.md 25: every answer to a conditional write is lost, however often it is tried, and it is one write all the same.
#[tokio::test(flavor = "multi_thread")]
async fn fault_25_a_write_whose_every_answer_is_lost_is_recognised() {
    let Some(server) = Kind::Minio.server().await else { return };
    let (store, proxy) = open(server).await;
    proxy.rule(|call| (call.method == Method::PUT).then_some(Fault::LoseAnswer));
    let version = store.put(&tag(), Bytes::from_static(b"1"), Condition::Absent).await.unwrap();
    let version = store.put(&tag(), Bytes::from_static(b"2"), Condition::Unchanged(version)).await.unwrap();
    assert_eq!(store.get(&tag(), 9).await.unwrap(), (Bytes::from_static(b"2"), version));
    proxy.heal();
    let lost = store.put(&tag(), Bytes::from_static(b"3"), Condition::Absent).await;
    assert!(matches!(lost, Err(StorageError::ConditionFailed { .. })));
}

/// faults.md 27: a skewed clock is told, and passes; ages are by the store's clock alone.
#[tokio::test(flavor = "multi_thread")]
async fn fault_27_a_skewed_clock_is_a_condition_and_ages_never_compare_hosts() {
    let Some(server) = Kind::Minio.server().await else { return };
    let (store, proxy) = open(server).await;
    store.put(&tag(), Bytes::new(), Condition::Absent).await.unwrap();
    proxy.rule(|_| Some(Fault::Answer(403, "RequestTimeTooSkewed")));
    let error = store.get(&tag(), 9).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { trouble: Trouble::ClockSkew, .. }), "{error}");
    assert_eq!(store.complaint().unwrap().trouble, Trouble::ClockSkew);
    proxy.heal();
    store.get(&tag(), 9).await.unwrap();
    assert_eq!(store.complaint(), None);

    let later = age_with(server, "Fri, 01 Jan 2100 00:00:00 GMT").await;
    assert!(later.is_some_and(|age| age > Duration::from_hours(24 * 365)), "{later:?}");
    assert_eq!(age_with(server, "no date").await, None);
}

/// The age of a new object, listed by an answer with that date.
async fn age_with(server: &S3Server, date: &'static str) -> Option<Duration> {
    let (store, proxy) = open(server).await;
    store.put(&tag(), Bytes::new(), Condition::Absent).await.unwrap();
    proxy.rule(move |_| Some(Fault::Date(date)));
    let page = store.list(Listing { prefix: "", folders: false, after: None, limit: 9 }).await.unwrap();
    let [Item::Object { age, .. }] = &page.items[..] else { panic!("{page:?}") };
    *age
}

async fn until_complaint(store: &S3Storage, wanted: Option<Trouble>) {
    let what = format!("the store complains of {wanted:?}");
    until(&what, async || store.complaint().map(|complaint| complaint.trouble) == wanted).await;
}

/// faults.md 28: a key is rotated; the condition tells it, and the new Secret is used without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn fault_28_new_credentials_are_used_without_a_restart() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let put = |secret: &str| {
            let text = format!("[registry]\naws_access_key_id={KEY_ID}\naws_secret_access_key={secret}\n");
            std::fs::write(&file, text).unwrap();
        };
        put(SECRET);
        let credentials = Some(CredentialsSource { file: file.clone(), profile: "registry".into() });
        let store =
            S3Storage::open(S3Config { credentials, ..server.config() }, StorageHealth::default()).await.unwrap();
        let key = write(&store, &content(10)).await.unwrap();
        put("another-secret");
        // Without anybody asking the store.
        until_complaint(&store, Some(Trouble::SecretInvalid)).await;
        let error = read(&store, &key).await.unwrap_err();
        assert!(matches!(error, StorageError::Unavailable { trouble: Trouble::SecretInvalid, .. }), "{error}");
        assert!(!error.to_string().contains("another-secret"));
        std::fs::write(&file, "[other]\n").unwrap();
        let said = || store.complaint().map(|complaint| complaint.message).unwrap_or_default();
        until("the complaint names the section", async || said().contains("profile \"registry\"")).await;
        put(SECRET);
        until_complaint(&store, None).await;
        assert_eq!(read(&store, &key).await.unwrap(), content(10));
    }
}

/// faults.md 28: the bucket is gone; the condition tells it without anybody asking the store.
#[tokio::test(flavor = "multi_thread")]
async fn fault_28_a_bucket_that_is_gone_is_a_condition_within_an_interval() {
    let Some(server) = Kind::Minio.server().await else { return };
    let bucket = "short-lived";
    server.client().create_bucket().bucket(bucket).send().await.unwrap();
    let location = format!("s3://{bucket}/path").parse().unwrap();
    let store = S3Storage::open(S3Config { location, ..server.config() }, StorageHealth::default()).await.unwrap();
    server.client().delete_bucket().bucket(bucket).send().await.unwrap();
    until_complaint(&store, Some(Trouble::Unreachable)).await;
    assert!(store.complaint().unwrap().message.contains("there is no bucket \"short-lived\""));
    assert!(matches!(store.get(&tag(), 9).await, Err(StorageError::Unavailable { .. })));
    server.client().create_bucket().bucket(bucket).send().await.unwrap();
    until_complaint(&store, None).await;
}

/// faults.md 29: 5 s latency per call.
#[tokio::test(flavor = "multi_thread")]
async fn fault_29_a_slow_store_makes_slow_pulls_that_are_whole_and_evicts_nobody() {
    let Some(server) = Kind::Minio.server().await else { return };
    let (proxy, folder) = (Proxy::start(server.address, None).await, tempfile::tempdir().unwrap());
    let config = behind(server, &proxy);
    let file = folder.path().join("credentials");
    let text = format!("[default]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\n");
    std::fs::write(&file, text).unwrap();
    let location = format!("s3://{}/{}", config.location.bucket(), config.location.root());
    let endpoint = format!("http://{}", proxy.address);
    let flags =
        ["server", "--plain-http", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--auth=none", "--storage"];
    let s3 = [
        &location,
        "--s3-endpoint",
        &endpoint,
        "--require-coordination",
        "--aws-credentials-file",
        file.to_str().unwrap(),
    ];
    let arguments = Arguments::try_parse_from(flags.into_iter().chain(s3)).unwrap();
    let running = server::serve::start(arguments.config().unwrap()).await.unwrap();
    let store = S3Storage::open(config, StorageHealth::default()).await.unwrap();
    let bytes = content(3_000_000);
    let key = write(&store, &bytes).await.unwrap();
    let digest = Digest::sha256(&bytes);
    store.put(&keys::blob_link(&"a".parse().unwrap(), &digest), Bytes::new(), Condition::Absent).await.unwrap();
    drop((store, key));

    proxy.rule(|_| Some(Fault::Delay(Duration::from_secs(5))));
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let begun = Instant::now();
    let pull = client.get(format!("http://{}/v2/a/blobs/{digest}", running.address)).send();
    let probes = async {
        for path in ["livez", "readyz"] {
            let asked = Instant::now();
            let answer = client.get(format!("http://{}/{path}", running.admin_address)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{path}");
        }
    };
    let (pulled, ()) = tokio::join!(pull, probes);
    let pulled = pulled.unwrap();
    assert_eq!(pulled.status(), 200);
    assert_eq!(pulled.bytes().await.unwrap(), bytes);
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());

    // Nor does one that doesn't answer at all.
    proxy.rule(|_| Some(Fault::Reset));
    let failed = client.get(format!("http://{}/v2/a/tags/list", running.address)).send().await.unwrap();
    assert_eq!(failed.status(), 503);
    let ready = client.get(format!("http://{}/readyz", running.admin_address)).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    assert!(ready.text().await.unwrap().contains("storage: Unreachable"));
    running.stop(Duration::ZERO).await;
}
