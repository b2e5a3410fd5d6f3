//! How many calls a store in a bucket takes, counted on their way to a real server.

use std::sync::Arc;

use crate::common::Setup;
use crate::common::s3_proxy::{Call, Proxy};
use crate::common::s3_server::Kind;
use crate::common::s3_store::{LARGE, begun, behind, content, open, read, through_a_proxy, write};
use crate::common::until::until;
use bytes::Bytes;
use http::Method;
use server::digest::{Algorithm, Digest};
use server::storage::{ByteRange, Condition, SessionId, Storage, keys};

/// Calls but for those that carry a part, and those that look after the store's health.
fn without_parts(calls: &[Call]) -> Vec<String> {
    let named = |call: &Call| format!("{} {}?{}", call.method, call.path, call.query);
    calls.iter().filter(|call| !call.is_part() && !call.query.contains("delimiter=")).map(named).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_pull_of_a_blob_is_one_call() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let (store, proxy) = through_a_proxy(server).await;
        let bytes = content(3_000_000);
        let key = write(&store, &bytes).await.unwrap();
        proxy.calls();
        assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), bytes);
        assert_eq!(read(&store, &key, ByteRange::Between(10, 19)).await.unwrap(), bytes[10..20]);
        let calls = proxy.calls();
        assert!(calls.len() == 2 && calls.iter().all(|call| call.method == Method::GET), "{calls:?}");
        // A range that lies outside needs none.
        assert!(store.read(&key, ByteRange::From(3_000_000)).await.is_err());
        assert!(proxy.calls().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_takes_at_most_six_calls_beside_its_parts() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let proxy = Proxy::start(server.address, None).await;
        let config = behind(server, &proxy);
        let store = open(config.clone()).await;
        let (small, large) = (content(100), content(LARGE));
        proxy.calls();
        for (blobs, (bytes, first, again)) in [(1, (&small, 2, 6)), (2, (&large, 4, 6))] {
            for most in [first, again] {
                write(&store, bytes).await.unwrap();
                let mut calls = proxy.calls();
                let begun = begun(&calls);
                // What isn't needed is removed in the background.
                until("a pointer and its bytes are left of each blob", async || {
                    server.objects(&config).await.len() == 2 * blobs && server.unfinished(&begun).await == 0
                })
                .await;
                calls.extend(proxy.calls());
                let calls = without_parts(&calls);
                assert!(calls.len() <= most, "{kind:?}: {calls:#?}");
            }
        }
        // POST and PUT of the distribution protocol.
        for bytes in [content(200), content(LARGE + 1)] {
            let id = SessionId::random();
            store.create_session(id, Bytes::new()).await.unwrap();
            let mut session = store.resume_session(id).await.unwrap();
            for chunk in bytes.chunks(1 << 20) {
                session.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            session.finish(Algorithm::Sha256).await.unwrap().commit().await.unwrap();
            store.drop_session(id).await.unwrap();
            let calls = without_parts(&proxy.calls());
            assert!(calls.len() <= 6, "{kind:?}: {calls:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_pull_through_a_repository_is_one_call_too() {
    let Some(server) = Kind::Minio.server().await else { return };
    let (store, proxy) = through_a_proxy(server).await;
    let store = Arc::new(store);
    let client = Setup::on(Arc::clone(&store) as Arc<dyn Storage>).start().await.unwrap();
    write(&store, b"content").await.unwrap();
    let (digest, link) = (Digest::sha256(b"content"), |digest: &Digest| keys::blob_link(&"a".parse().unwrap(), digest));
    store.put(&link(&digest), Bytes::new(), Condition::Absent).await.unwrap();
    let path = format!("/v2/a/blobs/{digest}");
    assert_eq!(client.get(&path).await.text(), "content");
    proxy.calls();
    assert_eq!(client.get(&path).await.text(), "content");
    assert_eq!(proxy.calls().len(), 1);
    // What this instance removes is gone at once, what another one removes some seconds later.
    store.delete(&link(&digest)).await.unwrap();
    assert_eq!(client.get(&path).await.status, 404);
}
