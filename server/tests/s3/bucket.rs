//! What only a store in a bucket does: several instances and registries on it, what crashes leave, how it is reached.

use std::sync::Arc;
use std::time::Duration;

use crate::common::Setup;
use crate::common::s3_proxy::{Call, Fault, Proxy};
use crate::common::s3_server::{BUCKET, Kind};
use crate::common::s3_store::{LARGE, begun, behind, content, open, read, through_a_proxy, write};
use crate::common::until::until;
use bytes::Bytes;
use http::Method;
use server::catalogue::{Catalogue, Options};
use server::digest::{Algorithm, Digest};
use server::storage::health::{StorageHealth, Trouble};
use server::storage::s3::{Cleared, OpenError, S3Config, S3Storage};
use server::storage::{ByteRange, Condition, Listing, SessionId, Storage, keys};
use tokio_rustls::TlsAcceptor;

async fn names(store: &S3Storage) -> Vec<String> {
    let page = store.list(Listing { prefix: "", folders: false, after: None, limit: 100 }).await.unwrap();
    page.items.iter().map(|item| item.name().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_registries_in_one_bucket_are_kept_apart_by_their_paths() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let path = format!("tests/{}", uuid::Uuid::new_v4());
        // One path is the beginning of the other's text, and a third is inside the first.
        let paths = [path.clone(), format!("{path}2"), format!("{path}/data")];
        let mut stores = Vec::new();
        for path in &paths {
            stores.push(open(server.config_at(server.address, path)).await);
        }
        let mut keys = Vec::new();
        for (n, store) in stores.iter().enumerate() {
            keys.push(write(store, format!("of {n}").as_bytes()).await.unwrap());
        }
        for (n, store) in stores.iter().enumerate() {
            assert_eq!(names(store).await, [keys[n].to_string()], "{kind:?}");
            store.clear_leftovers(Duration::ZERO).await.unwrap();
            store.clear_leftovers(Duration::ZERO).await.unwrap();
            assert_eq!(store.content_bytes().await.unwrap(), 4, "{kind:?}");
        }
        stores[0].delete(&keys[0]).await.unwrap();
        assert_eq!(read(&stores[1], &keys[1], ByteRange::Whole).await.unwrap(), &b"of 1"[..]);
        assert_eq!(read(&stores[2], &keys[2], ByteRange::Whole).await.unwrap(), &b"of 2"[..]);
    }
}

/// faults.md 18: `PATCHes` and PUT via different replicas.
#[tokio::test(flavor = "multi_thread")]
async fn fault_18_an_upload_goes_through_one_instance_after_the_other() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = server.config();
        let stores = [open(config.clone()).await, open(config.clone()).await, open(config.clone()).await];
        let (bytes, id) = (content(18_000_000), SessionId::random());
        stores[0].create_session(id, Bytes::from_static(b"note")).await.unwrap();
        let mut sent = 0;
        for (n, length) in [1, 8_500_000, 0, 8_388_608].into_iter().enumerate() {
            let mut session = stores[(n + 1) % 3].resume_session(id).await.unwrap();
            assert_eq!(session.size(), sent as u64);
            session.write(Bytes::copy_from_slice(&bytes[sent..sent + length])).await.unwrap();
            sent += length;
            assert_eq!(session.save().await.unwrap(), sent as u64);
        }
        let mut session = stores[0].resume_session(id).await.unwrap();
        session.write(Bytes::copy_from_slice(&bytes[sent..])).await.unwrap();
        let finished = session.finish(Algorithm::Sha256).await.unwrap();
        let digest = finished.digest().clone();
        assert_eq!(digest, Digest::sha256(&bytes));
        finished.commit().await.unwrap();
        stores[1].drop_session(id).await.unwrap();
        assert_eq!(read(&stores[2], &keys::blob(&digest), ByteRange::Whole).await.unwrap(), bytes);
        assert_eq!(server.objects(&config).await.len(), 2, "the pointer and its bytes");
    }
}

/// A session in which so many bytes were saved.
async fn saved(store: &S3Storage, size: usize) -> SessionId {
    let id = SessionId::random();
    store.create_session(id, Bytes::new()).await.unwrap();
    let mut session = store.resume_session(id).await.unwrap();
    session.write(content(size)).await.unwrap();
    assert_eq!(session.save().await.unwrap(), size as u64);
    id
}

/// Long enough for what is removed in the background to be gone.
async fn tidied() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_finished_again_leaves_what_was_published_alone() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let store = open(server.config()).await;
        let (id, bytes) = (saved(&store, 1000).await, content(1000));
        let key = keys::blob(&Digest::sha256(&bytes));
        let again = async || store.resume_session(id).await.unwrap().finish(Algorithm::Sha256).await.unwrap();
        again().await.commit().await.unwrap();
        again().await.commit().await.unwrap();
        drop(again().await);
        let mut other = store.resume_session(id).await.unwrap();
        other.write(Bytes::from_static(b"more")).await.unwrap();
        drop(other.finish(Algorithm::Sha256).await.unwrap());
        tidied().await;
        assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), bytes, "{kind:?}");
        assert_eq!(store.content_bytes().await.unwrap(), 1000, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_end_a_session_of_parts_neither_takes_the_bytes_from_the_other() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let store = open(server.config()).await;
        let id = saved(&store, LARGE).await;
        let one = store.resume_session(id).await.unwrap().finish(Algorithm::Sha256).await.unwrap();
        let mut other = store.resume_session(id).await.unwrap();
        assert_eq!(other.size(), LARGE as u64);
        assert!(other.write(Bytes::from_static(b"more")).await.is_err(), "it has ended");
        let other = store.resume_session(id).await.unwrap().finish(Algorithm::Sha256).await.unwrap();
        other.commit().await.unwrap();
        one.commit().await.unwrap();
        tidied().await;
        let bytes = content(LARGE);
        let key = keys::blob(&Digest::sha256(&bytes));
        assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), bytes, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_a_session_of_parts_can_not_end_it_with_other_bytes() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let store = open(server.config()).await;
        let id = saved(&store, LARGE).await;
        let mut one = store.resume_session(id).await.unwrap();
        let mut other = store.resume_session(id).await.unwrap();
        one.write(Bytes::from_static(b"one")).await.unwrap();
        other.write(Bytes::from_static(b"two")).await.unwrap();
        let other = other.finish(Algorithm::Sha256).await.unwrap();
        // Shut out; the part that it has sent nevertheless is not taken for the other's.
        assert!(one.finish(Algorithm::Sha256).await.is_err(), "{kind:?}");
        let bytes = [&content(LARGE)[..], b"two"].concat();
        let key = keys::blob(&Digest::sha256(&bytes));
        assert_eq!(key, keys::blob(other.digest()));
        if other.commit().await.is_ok() {
            assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), bytes, "{kind:?}");
        } else {
            assert!(store.size(&key).await.unwrap_err().is_not_found(), "{kind:?}");
        }
    }
}

/// The answer to the pointer's write is lost, and nobody can be asked what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_whose_pointer_may_be_there_are_not_removed() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let (store, proxy) = through_a_proxy(server).await;
        let mut writer = store.write_blob(Algorithm::Sha256).await.unwrap();
        writer.write(Bytes::from_static(b"content")).await.unwrap();
        let finished = writer.finish().await.unwrap();
        let key = keys::blob(finished.digest());
        let mut written = false;
        proxy.rule(move |call| {
            if !call.path.contains("/blobs/") {
                return None;
            }
            let first = !std::mem::replace(&mut written, true);
            Some(if first && call.method == Method::PUT { Fault::LoseAnswer } else { Fault::Reset })
        });
        assert!(finished.commit().await.is_err());
        proxy.heal();
        tidied().await;
        assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), &b"content"[..], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_instance_removed_or_wrote_anew_is_found_out() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = server.config();
        let (one, other) = (open(config.clone()).await, open(config.clone()).await);
        let key = write(&one, b"content").await.unwrap();
        assert_eq!(read(&other, &key, ByteRange::Whole).await.unwrap(), &b"content"[..]);
        one.delete(&key).await.unwrap();
        assert!(other.size(&key).await.unwrap_err().is_not_found());
        assert!(other.read(&key, ByteRange::Whole).await.is_err_and(|error| error.is_not_found()));
        write(&one, b"content").await.unwrap();
        assert_eq!(read(&other, &key, ByteRange::Whole).await.unwrap(), &b"content"[..]);
        one.delete(&key).await.unwrap();
        write(&one, b"content").await.unwrap();
        // The pointer that the other one remembers leads nowhere.
        assert_eq!(read(&other, &key, ByteRange::Whole).await.unwrap(), &b"content"[..]);
        assert_eq!(server.objects(&config).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_bytes_are_lost_is_healed_by_the_next_push() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = server.config();
        let store = open(config.clone()).await;
        for bytes in [Bytes::from_static(b"content"), content(LARGE)] {
            let key = write(&store, &bytes).await.unwrap();
            let data = server.objects(&config).await.into_iter().find(|key| key.contains("/data/")).unwrap();
            server.client().delete_object().bucket(BUCKET).key(data).send().await.unwrap();
            assert!(store.read(&key, ByteRange::Whole).await.is_err_and(|error| error.is_not_found()));
            write(&store, &bytes).await.unwrap();
            assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), bytes);
            store.delete(&key).await.unwrap();
        }
        assert!(server.objects(&config).await.is_empty());
    }
}

/// faults.md 26: what was begun is taken back until no part is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_gives_up_leaves_nothing() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let proxy = Proxy::start(server.address, None).await;
        let config = behind(server, &proxy);
        let store = open(config.clone()).await;
        for size in [100, 9_000_000] {
            let mut writer = store.write_blob(Algorithm::Sha256).await.unwrap();
            for chunk in content(size).chunks(1 << 20) {
                writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            drop(writer.finish().await.unwrap());
            let mut writer = store.write_blob(Algorithm::Sha256).await.unwrap();
            for chunk in content(size).chunks(1 << 20) {
                writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            drop(writer);
        }
        let begun = begun(&proxy.calls());
        assert_eq!(begun.len(), 2, "{kind:?}: {begun:?}");
        until("nothing is left", async || {
            server.objects(&config).await.is_empty() && server.unfinished(&begun).await == 0
        })
        .await;
    }
}

/// faults.md 26: a crash between parts. `MinIO` lists unfinished uploads only by their whole key, and removes them by itself
/// after a day, so this is shown on the other server.
#[tokio::test(flavor = "multi_thread")]
async fn fault_26_what_a_crash_left_goes_after_a_while_and_nothing_else_does() {
    let Some(server) = Kind::Versitygw.server().await else { return };
    let config = server.config();
    let store = open(config.clone()).await;
    let kept = write(&store, b"kept").await.unwrap();
    let mut lost = store.write_blob(Algorithm::Sha256).await.unwrap();
    for chunk in content(LARGE).chunks(1 << 20) {
        lost.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    let staged = store.write_blob(Algorithm::Sha256).await.unwrap().finish().await.unwrap();
    // As if the process had died: nothing is tidied up.
    std::mem::forget(lost);
    std::mem::forget(staged);
    let id = SessionId::random();
    store.create_session(id, Bytes::new()).await.unwrap();
    let mut session = store.resume_session(id).await.unwrap();
    session.write(content(LARGE)).await.unwrap();
    session.save().await.unwrap();

    let other = open(config.clone()).await;
    assert_eq!(other.clear_leftovers(Duration::from_hours(1)).await.unwrap(), Cleared::default());
    assert_eq!(other.clear_leftovers(Duration::ZERO).await.unwrap(), Cleared { uploads: 1, objects: 0 });
    assert_eq!(other.clear_leftovers(Duration::ZERO).await.unwrap(), Cleared { uploads: 0, objects: 1 });
    assert_eq!(other.clear_leftovers(Duration::ZERO).await.unwrap(), Cleared::default());
    assert_eq!(read(&other, &kept, ByteRange::Whole).await.unwrap(), &b"kept"[..]);
    let finished = other.resume_session(id).await.unwrap().finish(Algorithm::Sha256).await.unwrap();
    assert_eq!(finished.digest(), &Digest::sha256(&content(LARGE)));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_how_long_pieces_should_be_at_least() {
    let Some(server) = Kind::Minio.server().await else { return };
    let client = Setup::on(Arc::new(open(server.config()).await)).start().await.unwrap();
    let answer = client.call(Method::POST, "/v2/a/blobs/uploads/", &[], axum::body::Body::empty()).await;
    assert_eq!((answer.status.as_u16(), answer.header("oci-chunk-min-length")), (202, "8388608"));
    // Whoever doesn't heed it is served all the same.
    let session = answer.header("location").to_owned();
    for piece in ["one", "two"] {
        let answer = client.call(Method::PATCH, &session, &[], piece).await;
        assert_eq!(answer.status.as_u16(), 202, "{}", answer.text());
    }
}

/// An object under a blob's key that is no pointer, as a foreign program or a fault leaves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_that_cannot_be_read_stays_and_keeps_nothing_else_from_being_collected() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = server.config();
        let store = Arc::new(open(config.clone()).await);
        let (broken, needless) = (write(&store, b"broken").await.unwrap(), write(&store, b"needless").await.unwrap());
        let foreign = format!("{:?}", [7; 40]).into_bytes();
        let key = format!("{}{broken}", config.location.root());
        server.client().put_object().bucket(BUCKET).key(key).body(foreign.into()).send().await.unwrap();
        let options = Options { grace_period: Duration::ZERO, ..Options::default() };
        // The age of objects is told in whole seconds.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let removed = Catalogue::with(store.clone(), options).collect().await.unwrap();
        assert_eq!((removed.blobs, removed.bytes), (1, 8), "{kind:?}");
        assert_eq!(names(&store).await, [broken.to_string()], "{kind:?}");
        assert!(store.size(&needless).await.unwrap_err().is_not_found());
        // Its bytes can be anybody's.
        for _ in 0..2 {
            assert_eq!(store.clear_leftovers(Duration::ZERO).await.unwrap().objects, 0, "{kind:?}");
        }
        store.delete(&broken).await.unwrap();
        store.clear_leftovers(Duration::ZERO).await.unwrap();
        assert_eq!(store.clear_leftovers(Duration::ZERO).await.unwrap().objects, 1, "{kind:?}");
    }
}

/// An object under an entry's key that is none of ours.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_one_is_left_out_of_the_list_and_goes_to_the_quarantine() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = server.config();
        let store = Arc::new(open(config.clone()).await);
        let entry = keys::entry(&"aa".parse().unwrap());
        let key = format!("{}{entry}", config.location.root());
        let foreign = format!("{:?}", [7; 40]).into_bytes();
        server.client().put_object().bucket(BUCKET).key(key).body(foreign.into()).send().await.unwrap();
        let catalogue = Catalogue::new(store.clone());
        let listed = catalogue.packages(|entry| entry.name.clone()).await.unwrap();
        assert!(listed.is_empty(), "{kind:?}: {listed:?}");
        catalogue.collect().await.unwrap();
        let left = server.objects(&config).await;
        let quarantined = format!("{}{}", config.location.root(), keys::quarantined(&entry));
        assert!(left.contains(&quarantined), "{kind:?}: {left:?}");
        assert_eq!(catalogue.count().await.unwrap(), 0, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_conditional_removal_uses_tombstones_that_nobody_sees() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let proxy = Proxy::start(server.address, None).await;
        // A store that removes whatever the condition says.
        proxy.rule(|call| (call.method == Method::DELETE).then_some(Fault::Forgive));
        let config = behind(server, &proxy);
        let store = open(config.clone()).await;
        assert!(!store.removes_conditionally(), "{kind:?}");
        let key = write(&store, b"content").await.unwrap();
        let small = keys::tag(&"a/b".parse().unwrap(), &"1".parse().unwrap());
        let seen = store.put(&small, Bytes::from_static(b"x"), Condition::Absent).await.unwrap();
        let version = store.get(&key, 100).await.unwrap().1;
        assert!(store.renew(&key).await.unwrap());
        assert!(!store.delete_unchanged(&key, &version).await.unwrap());
        let version = store.get(&key, 100).await.unwrap().1;
        assert!(store.delete_unchanged(&key, &version).await.unwrap());
        assert!(store.delete_unchanged(&small, &seen).await.unwrap());
        assert!(names(&store).await.is_empty());
        assert_eq!(server.objects(&config).await.len(), 2, "two tombstones");
        for key in [&key, &small] {
            assert!(store.size(key).await.unwrap_err().is_not_found());
            assert!(store.get(key, 9).await.unwrap_err().is_not_found());
            assert!(!store.renew(key).await.unwrap());
            assert!(store.delete_unchanged(key, &version).await.unwrap());
            store.rename(key, &keys::quarantined(key)).await.unwrap();
        }
        assert!(names(&store).await.is_empty());
        // Both come back to life.
        write(&store, b"content").await.unwrap();
        store.put(&small, Bytes::from_static(b"y"), Condition::Absent).await.unwrap();
        assert_eq!(names(&store).await.len(), 2);
        assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), &b"content"[..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lets_two_win_is_refused_where_coordination_is_required() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        for (header, skipped) in [("If-None-Match", 0), ("If-Match", 32)] {
            let proxy = Proxy::start(server.address, None).await;
            let config = behind(server, &proxy);
            let lets_two_win = || {
                let mut writes = 0;
                move |call: &Call| {
                    writes += usize::from(call.method == Method::PUT);
                    // Two of the race, of whom one at least has lost.
                    let forgives = call.method == Method::PUT && (skipped + 31..=skipped + 32).contains(&writes);
                    forgives.then_some(Fault::Forgive)
                }
            };
            proxy.rule(lets_two_win());
            let health = StorageHealth::default();
            let required = S3Config { require_coordination: true, ..config.clone() };
            let refused = S3Storage::open(required, health.clone()).await.err().unwrap();
            let message = refused.to_string();
            assert!(matches!(refused, OpenError::Uncoordinated { .. }) && !refused.may_pass(), "{message}");
            for word in ["--require-coordination", header, "of 32 writers at the same time", "instead of one"] {
                assert!(message.contains(word), "{kind:?}: {word} in {message}");
            }
            proxy.rule(lets_two_win());
            let store = S3Storage::open(config, health.clone()).await.unwrap();
            assert!(store.is_shared());
            assert_eq!(store.complaint().unwrap().trouble, Trouble::S3CoordinationUnsafe);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_stores_are_taken_where_coordination_is_required() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = S3Config { require_coordination: true, ..server.config() };
        let store = open(config.clone()).await;
        assert_eq!(store.complaint(), None);
        assert!(server.objects(&config).await.is_empty(), "the probe leaves nothing");
        eprintln!("{kind:?} removes conditionally: {}", store.removes_conditionally());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_sent_to_the_store_only_where_that_is_wanted() {
    for kind in Kind::ALL {
        let Some(server) = kind.server().await else { continue };
        let config = server.config();
        let plain = open(config.clone()).await;
        let key = write(&plain, b"content").await.unwrap();
        assert_eq!(plain.direct_url(&key).await.unwrap(), None);
        let store = open(S3Config { redirect: true, ..config }).await;
        let url = store.direct_url(&key).await.unwrap().unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let answer = client.get(url).header("range", "bytes=3-").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (206, "tent".into()));
        let small = keys::tag(&"a".parse().unwrap(), &"1".parse().unwrap());
        assert_eq!(store.direct_url(&small).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_of_a_blob_goes_to_the_store_only_through_a_repository_that_has_it() {
    let Some(server) = Kind::Minio.server().await else { return };
    let config = server.config();
    let direct = Setup::on(Arc::new(open(S3Config { redirect: true, ..config.clone() }).await)).start().await.unwrap();
    let usual = Setup::on(Arc::new(open(config.clone()).await)).start().await.unwrap();
    let store = open(config).await;
    let key = write(&store, b"content").await.unwrap();
    let digest = Digest::sha256(b"content");
    store.put(&keys::blob_link(&"a".parse().unwrap(), &digest), Bytes::new(), Condition::Absent).await.unwrap();
    let path = format!("/v2/a/blobs/{digest}");
    let answer = direct.get(&path).await;
    assert_eq!(answer.status, 307);
    let id = Some(answer.header("location")).filter(|url| url.starts_with(&format!("http://{}/", server.address)));
    assert!(id.is_some_and(|url| url.contains("X-Amz-Signature=")), "{}", answer.header("location"));
    let head = direct.call(Method::HEAD, &path, &[], axum::body::Body::empty()).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "7"));
    for path in [format!("/v2/b/blobs/{digest}"), format!("/v2/a/blobs/{}", Digest::sha256(b"other"))] {
        assert_eq!(direct.get(&path).await.status, 404, "{path}");
    }
    let answer = usual.get(&path).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "content"));
    store.delete(&key).await.unwrap();
}

/// faults.md 28: a private CA.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_behind_a_private_ca_is_reached_with_its_certificates_and_not_without() {
    let Some(server) = Kind::Minio.server().await else { return };
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    let tls = tls.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let proxy = Proxy::start(server.address, Some(TlsAcceptor::from(Arc::new(tls)))).await;
    let config = behind(server, &proxy);
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let endpoint = Some(format!("https://{}", proxy.address).parse().unwrap());
    let config = S3Config { endpoint, ca_file: Some(ca_file.clone()), ..config };
    std::fs::write(&ca_file, "no certificate").unwrap();
    let error = S3Storage::open(config.clone(), StorageHealth::default()).await.err().unwrap().to_string();
    assert!(error.contains("--s3-ca-file") && error.contains("PEM"), "{error}");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let store = open(config.clone()).await;
    let key = write(&store, b"content").await.unwrap();
    assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), &b"content"[..]);
    let health = StorageHealth::default();
    let error = S3Storage::open(S3Config { ca_file: None, ..config }, health.clone()).await.err().unwrap();
    assert_eq!((error.trouble(), error.may_pass()), (Trouble::Unreachable, true));
    let complaint = health.complaint().unwrap().message;
    assert!(complaint.to_lowercase().contains("certificate"), "{complaint}");
}
