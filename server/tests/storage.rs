//! One body of tests for every store.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use server::digest::{Algorithm, Digest, Hasher};
use server::storage::file::FileStorage;
use server::storage::{ByteRange, Condition, Item, Key, Listing, SessionId, SessionView, StorageError, Version, keys};

use common::stores::Store;

crate::on_stores! {
    on memory file minio versitygw:
    a_blob_is_found_under_its_digest_in_both_algorithms
    a_blob_is_not_visible_before_it_is_committed
    a_large_blob_comes_back_whole_and_in_parts
    a_range_outside_is_told_with_the_size
    what_is_not_there_is_not_found
    a_small_object_is_created_once
    a_small_object_changes_only_from_the_version_that_was_read
    of_many_racing_writers_exactly_one_wins
    a_small_object_above_the_limit_is_refused
    a_listing_is_sorted_and_comes_in_pages
    folders_are_listed_without_what_is_in_them
    deleting_removes_and_may_be_repeated
    an_object_moves_over_what_is_there
    the_same_blob_from_many_writers_is_one_object
    a_listing_brings_the_state_that_reading_brings
    a_renewed_object_is_in_another_state_and_what_is_not_there_is_not_renewed
    an_object_is_removed_only_in_the_state_that_was_seen
    the_bytes_of_all_blobs_are_counted_once_each
    a_session_goes_on_where_it_was_saved_and_ends_in_a_blob
    what_was_not_saved_of_a_session_is_not_in_it
    who_takes_a_session_over_shuts_the_other_out
    who_takes_a_session_over_that_is_being_ended_does_not_cut_its_content
    a_session_that_is_dropped_is_gone
    a_session_ends_in_either_algorithm
    only_sessions_older_than_asked_for_are_stale
}

async fn write(store: &Store, algorithm: Algorithm, content: &[u8]) -> Digest {
    let mut writer = store.write_blob(algorithm).await.unwrap();
    for chunk in content.chunks(300_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    let finished = writer.finish().await.unwrap();
    let digest = finished.digest().clone();
    assert_eq!(finished.size(), content.len() as u64);
    finished.commit().await.unwrap();
    digest
}

async fn read(store: &Store, key: &Key, range: ByteRange) -> Vec<u8> {
    let reading = store.read(key, range).await.unwrap();
    let length = reading.range.end - reading.range.start;
    let chunks: Vec<Bytes> = reading.body.try_collect().await.unwrap();
    let bytes = chunks.concat();
    assert_eq!(bytes.len() as u64, length);
    bytes
}

fn key(name: &str) -> Key {
    keys::tag(&"a/b".parse().unwrap(), &name.parse().unwrap())
}

async fn names(store: &Store, prefix: &str, folders: bool, limit: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().cloned();
        let page = store.list(Listing { prefix, folders, after: after.as_deref(), limit }).await.unwrap();
        assert!(page.items.len() <= limit);
        names.extend(page.items.iter().map(|item| item.name().to_owned()));
        if !page.more {
            return names;
        }
    }
}

async fn a_blob_is_found_under_its_digest_in_both_algorithms(store: Store) {
    for algorithm in Algorithm::ALL {
        let digest = write(&store, algorithm, b"content").await;
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"content");
        assert_eq!(digest, hasher.finish());
        assert_eq!(read(&store, &keys::blob(&digest), ByteRange::Whole).await, b"content");
        assert_eq!(store.size(&keys::blob(&digest)).await.unwrap(), 7);
    }
}

async fn a_blob_is_not_visible_before_it_is_committed(store: Store) {
    let mut writer = store.write_blob(Algorithm::Sha256).await.unwrap();
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    let finished = writer.finish().await.unwrap();
    let key = keys::blob(finished.digest());
    assert!(store.size(&key).await.unwrap_err().is_not_found());
    assert!(names(&store, "", false, 10).await.is_empty());
    drop(finished);
    assert!(store.size(&key).await.unwrap_err().is_not_found());
}

async fn a_large_blob_comes_back_whole_and_in_parts(store: Store) {
    let content: Vec<u8> = (0..2_000_003_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let key = keys::blob(&write(&store, Algorithm::Sha256, &content).await);
    assert_eq!(read(&store, &key, ByteRange::Whole).await, content);
    assert_eq!(read(&store, &key, ByteRange::From(1_999_000)).await, content[1_999_000..]);
    assert_eq!(read(&store, &key, ByteRange::Between(5, 600_000)).await, content[5..=600_000]);
    assert_eq!(read(&store, &key, ByteRange::Between(7, u64::MAX)).await, content[7..]);
    assert_eq!(read(&store, &key, ByteRange::Suffix(10)).await, content[content.len() - 10..]);
    let empty = keys::blob(&write(&store, Algorithm::Sha256, b"").await);
    assert!(read(&store, &empty, ByteRange::Whole).await.is_empty());
}

async fn a_range_outside_is_told_with_the_size(store: Store) {
    let key = keys::blob(&write(&store, Algorithm::Sha256, b"12345").await);
    let error = store.read(&key, ByteRange::From(5)).await.err().unwrap();
    assert!(matches!(error, StorageError::RangeOutside { size: 5, .. }), "{error}");
}

async fn what_is_not_there_is_not_found(store: Store) {
    assert!(store.read(&key("x"), ByteRange::Whole).await.err().unwrap().is_not_found());
    assert!(store.get(&key("x"), 10).await.unwrap_err().is_not_found());
    assert!(store.size(&key("x")).await.unwrap_err().is_not_found());
    // A folder is no object.
    store.put(&key("x"), Bytes::new(), Condition::Absent).await.unwrap();
    let deeper = keys::tag(&"a".parse().unwrap(), &"b".parse().unwrap());
    assert!(store.size(&deeper).await.unwrap_err().is_not_found());
}

async fn a_small_object_is_created_once(store: Store) {
    store.put(&key("x"), Bytes::from_static(b"1"), Condition::Absent).await.unwrap();
    let error = store.put(&key("x"), Bytes::from_static(b"2"), Condition::Absent).await.unwrap_err();
    assert!(matches!(error, StorageError::ConditionFailed { .. }), "{error}");
    assert_eq!(store.get(&key("x"), 10).await.unwrap().0, "1");
}

async fn a_small_object_changes_only_from_the_version_that_was_read(store: Store) {
    let first = store.put(&key("x"), Bytes::from_static(b"1"), Condition::Absent).await.unwrap();
    let (_, read) = store.get(&key("x"), 10).await.unwrap();
    assert_eq!(read, first);
    store.put(&key("x"), Bytes::from_static(b"2"), Condition::Unchanged(first.clone())).await.unwrap();
    let stale = store.put(&key("x"), Bytes::from_static(b"3"), Condition::Unchanged(first.clone())).await;
    assert!(matches!(stale, Err(StorageError::ConditionFailed { .. })));
    let gone = store.put(&key("y"), Bytes::from_static(b"3"), Condition::Unchanged(first)).await;
    assert!(matches!(gone, Err(StorageError::ConditionFailed { .. })));
    assert_eq!(store.get(&key("x"), 10).await.unwrap().0, "2");
}

async fn of_many_racing_writers_exactly_one_wins(store: Store) {
    let racers: Vec<_> = (0..32)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put(&key("x"), Bytes::from(format!("{n}")), Condition::Absent).await })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        won += usize::from(racer.await.unwrap().is_ok());
    }
    assert_eq!(won, 1);
}

async fn a_small_object_above_the_limit_is_refused(store: Store) {
    store.put(&key("x"), Bytes::from_static(b"12345"), Condition::Absent).await.unwrap();
    assert!(matches!(store.get(&key("x"), 4).await, Err(StorageError::TooLarge { limit: 4, .. })));
    assert_eq!(store.get(&key("x"), 5).await.unwrap().0, "12345");
}

async fn put_tags(store: &Store, tags: &[(&str, &str)]) -> Vec<String> {
    let mut keys = Vec::new();
    for (repository, tag) in tags {
        let key = keys::tag(&repository.parse().unwrap(), &tag.parse().unwrap());
        store.put(&key, Bytes::from_static(b"x"), Condition::Absent).await.unwrap();
        keys.push(key.to_string());
    }
    keys.sort();
    keys
}

async fn a_listing_is_sorted_and_comes_in_pages(store: Store) {
    let tags = [("a", "2"), ("a", "10"), ("a/b", "1"), ("a-b", "1"), ("a.b", "1"), ("b", "x"), ("a/b/c", "1")];
    let sorted = put_tags(&store, &tags).await;
    for limit in 1..=8 {
        assert_eq!(names(&store, "", false, limit).await, sorted, "pages of {limit}");
    }
    assert_eq!(names(&store, "repositories/a/b", false, 2).await.len(), 2);
    assert_eq!(names(&store, "repositories/a/_tags/1", false, 9).await, ["repositories/a/_tags/10"]);
    assert!(names(&store, "nothing/", false, 9).await.is_empty());
    let page = store.list(Listing { prefix: "repositories/b/", folders: false, after: None, limit: 1 }).await.unwrap();
    assert!(
        matches!(&page.items[..], [Item::Object { key, size: 1, .. }] if key == "repositories/b/_tags/x"),
        "{page:?}"
    );
}

async fn folders_are_listed_without_what_is_in_them(store: Store) {
    put_tags(&store, &[("a", "2"), ("a/b", "1"), ("a-b", "1"), ("b", "x")]).await;
    let wanted = ["repositories/a-b/", "repositories/a/", "repositories/b/"];
    for limit in 1..=4 {
        assert_eq!(names(&store, "repositories/", true, limit).await, wanted, "pages of {limit}");
    }
    assert_eq!(names(&store, "repositories/a/", true, 9).await, ["repositories/a/_tags/", "repositories/a/b/"]);
    assert_eq!(names(&store, "repositories/a/_", true, 9).await, ["repositories/a/_tags/"]);
}

async fn deleting_removes_and_may_be_repeated(store: Store) {
    put_tags(&store, &[("a", "1"), ("a/b", "1")]).await;
    let one = keys::tag(&"a/b".parse().unwrap(), &"1".parse().unwrap());
    store.delete(&one).await.unwrap();
    store.delete(&one).await.unwrap();
    assert_eq!(names(&store, "", false, 9).await, ["repositories/a/_tags/1"]);
    assert_eq!(names(&store, "repositories/a/", true, 9).await, ["repositories/a/_tags/"]);
    store.put(&one, Bytes::new(), Condition::Absent).await.unwrap();
}

async fn the_same_blob_from_many_writers_is_one_object(store: Store) {
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { write(&store, Algorithm::Sha256, b"same").await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(names(&store, "", false, 9).await.len(), 1);
}

#[test]
fn a_second_process_is_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = FileStorage::open(folder.path()).unwrap();
    let error = FileStorage::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.contains("on host"), "{error}");
    drop(first);
    FileStorage::open(folder.path()).unwrap();
}

#[tokio::test]
async fn what_a_crash_left_half_written_goes_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(FileStorage::open(folder.path()).unwrap());
    std::fs::write(folder.path().join(".tmp/left"), b"half").unwrap();
    let store: Store = Arc::new(FileStorage::open(folder.path()).unwrap());
    assert!(!folder.path().join(".tmp/left").exists());
    assert!(names(&store, "", false, 9).await.is_empty());
}

#[tokio::test]
async fn an_empty_store_has_no_empty_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store: Store = Arc::new(FileStorage::open(folder.path()).unwrap());
    let digest = write(&store, Algorithm::Sha256, b"x").await;
    store.delete(&keys::blob(&digest)).await.unwrap();
    assert!(!folder.path().join("blobs").exists());
}

#[test]
fn a_full_disk_does_not_keep_the_folder_from_being_taken() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join(".tmp/sub")).unwrap();
    std::fs::write(folder.path().join(".tmp/left"), b"half").unwrap();
    // Opens and locks like any file, and has no room.
    std::os::unix::fs::symlink("/dev/full", folder.path().join(".lock")).unwrap();
    FileStorage::open(folder.path()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
}

async fn an_object_moves_over_what_is_there(store: Store) {
    put_tags(&store, &[("a", "1"), ("a/b", "1")]).await;
    let (from, to) = (key("1"), keys::quarantined(&key("1")));
    store.rename(&from, &to).await.unwrap();
    assert_eq!(names(&store, "", false, 9).await, ["quarantine/repositories/a/b/_tags/1", "repositories/a/_tags/1"]);
    store.put(&from, Bytes::from_static(b"again"), Condition::Absent).await.unwrap();
    store.rename(&from, &to).await.unwrap();
    assert_eq!(store.get(&to, 9).await.unwrap().0, "again");
    store.rename(&from, &to).await.unwrap();
    assert_eq!(store.get(&to, 9).await.unwrap().0, "again");
}

async fn version_of(store: &Store, prefix: &str) -> Version {
    let page = store.list(Listing { prefix, folders: false, after: None, limit: 9 }).await.unwrap();
    let [Item::Object { version, age, .. }] = &page.items[..] else { panic!("{page:?}") };
    assert!(age.is_some_and(|age| age < Duration::from_mins(5)), "{age:?}");
    version.clone()
}

async fn a_listing_brings_the_state_that_reading_brings(store: Store) {
    let written = store.put(&key("1"), Bytes::from_static(b"x"), Condition::Absent).await.unwrap();
    assert_eq!(version_of(&store, "repositories/").await, written);
    assert_eq!(store.get(&key("1"), 9).await.unwrap().1, written);
    let changed = store.put(&key("1"), Bytes::from_static(b"x"), Condition::Unchanged(written.clone())).await.unwrap();
    assert_eq!(version_of(&store, "repositories/").await, changed);
}

async fn a_renewed_object_is_in_another_state_and_what_is_not_there_is_not_renewed(store: Store) {
    let blob = keys::blob(&write(&store, Algorithm::Sha256, b"x").await);
    let before = version_of(&store, keys::BLOBS).await;
    assert!(store.renew(&blob).await.unwrap());
    assert_ne!(version_of(&store, keys::BLOBS).await, before);
    assert!(!store.delete_unchanged(&blob, &before).await.unwrap());
    assert_eq!(read(&store, &blob, ByteRange::Whole).await, b"x");
    store.delete(&blob).await.unwrap();
    assert!(!store.renew(&blob).await.unwrap());
    assert!(store.size(&blob).await.unwrap_err().is_not_found());
}

async fn an_object_is_removed_only_in_the_state_that_was_seen(store: Store) {
    let blob = keys::blob(&write(&store, Algorithm::Sha256, b"x").await);
    let seen = version_of(&store, keys::BLOBS).await;
    assert!(store.delete_unchanged(&blob, &seen).await.unwrap());
    assert!(store.size(&blob).await.unwrap_err().is_not_found());
    assert!(store.delete_unchanged(&blob, &seen).await.unwrap());
    write(&store, Algorithm::Sha256, b"x").await;
    assert_eq!(read(&store, &blob, ByteRange::Whole).await, b"x");
}

async fn the_bytes_of_all_blobs_are_counted_once_each(store: Store) {
    assert_eq!(store.content_bytes().await.unwrap(), 0);
    for content in [&b"four"[..], b"sixsix", b"four"] {
        write(&store, Algorithm::Sha256, content).await;
    }
    store.put(&key("1"), Bytes::from_static(b"no blob"), Condition::Absent).await.unwrap();
    assert_eq!(store.content_bytes().await.unwrap(), 10);
}

async fn session(store: &Store) -> SessionId {
    let id = SessionId::random();
    store.create_session(id, Bytes::from_static(b"note")).await.unwrap();
    assert_eq!(store.view_session(id).await.unwrap(), SessionView { note: Bytes::from_static(b"note"), size: 0 });
    id
}

/// Adds to a session as one request does.
async fn add(store: &Store, id: SessionId, bytes: &[u8]) -> u64 {
    let mut session = store.resume_session(id).await.unwrap();
    for chunk in bytes.chunks(700_000) {
        session.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    session.save().await.unwrap()
}

async fn a_session_goes_on_where_it_was_saved_and_ends_in_a_blob(store: Store) {
    let content: Vec<u8> = (0..13_000_003_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let id = session(&store).await;
    let mut sent = 0;
    // Parts of every size: none, a few bytes, several of the store's own parts.
    for length in [1, 0, 5_000_000, 70_000, 7_000_000] {
        assert_eq!(add(&store, id, &content[sent..sent + length]).await, (sent + length) as u64);
        sent += length;
        assert_eq!(store.view_session(id).await.unwrap().size, sent as u64);
    }
    let mut session = store.resume_session(id).await.unwrap();
    assert_eq!(session.size(), sent as u64);
    session.write(Bytes::copy_from_slice(&content[sent..])).await.unwrap();
    let finished = session.finish(Algorithm::Sha256).await.unwrap();
    let (digest, size) = (finished.digest().clone(), finished.size());
    assert_eq!((&digest, size), (&Digest::sha256(&content), content.len() as u64));
    assert!(store.size(&keys::blob(&digest)).await.unwrap_err().is_not_found());
    finished.commit().await.unwrap();
    store.drop_session(id).await.unwrap();
    assert_eq!(read(&store, &keys::blob(&digest), ByteRange::Whole).await, content);
    assert_eq!(names(&store, "uploads/", false, 9).await, [""; 0]);
}

async fn what_was_not_saved_of_a_session_is_not_in_it(store: Store) {
    let id = session(&store).await;
    add(&store, id, b"saved").await;
    let mut cut = store.resume_session(id).await.unwrap();
    cut.write(Bytes::from_static(b" lost")).await.unwrap();
    drop(cut);
    assert_eq!(store.view_session(id).await.unwrap().size, 5);
    assert_eq!(add(&store, id, b" on").await, 8);
    let finished = store.resume_session(id).await.unwrap().finish(Algorithm::Sha256).await.unwrap();
    assert_eq!(finished.digest(), &Digest::sha256(b"saved on"));
}

async fn who_takes_a_session_over_shuts_the_other_out(store: Store) {
    let id = session(&store).await;
    let mut first = store.resume_session(id).await.unwrap();
    first.write(Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(add(&store, id, b"two").await, 3);
    // Either already the write or the save tells.
    let late = async {
        first.write(Bytes::from_static(b"one")).await?;
        first.save().await
    };
    assert!(matches!(late.await, Err(StorageError::ConditionFailed { .. })));
    let finished = store.resume_session(id).await.unwrap().finish(Algorithm::Sha256).await.unwrap();
    assert_eq!(finished.digest(), &Digest::sha256(b"two"));
}

async fn who_takes_a_session_over_that_is_being_ended_does_not_cut_its_content(store: Store) {
    let id = SessionId::random();
    store.create_session(id, Bytes::new()).await.unwrap();
    let mut session = store.resume_session(id).await.unwrap();
    session.write(Bytes::from_static(b"saved, ")).await.unwrap();
    session.save().await.unwrap();
    let mut session = store.resume_session(id).await.unwrap();
    session.write(Bytes::from_static(b"and the end")).await.unwrap();
    let finished = session.finish(Algorithm::Sha256).await.unwrap();
    // There may be nothing left to take over.
    if let Ok(mut other) = store.resume_session(id).await {
        let _ = other.write(Bytes::from_static(b"x")).await;
        let _ = other.save().await;
    }
    let key = keys::blob(finished.digest());
    assert_eq!(finished.digest(), &Digest::sha256(b"saved, and the end"));
    finished.commit().await.unwrap();
    assert_eq!(read(&store, &key, ByteRange::Whole).await, b"saved, and the end");
}

async fn a_session_that_is_dropped_is_gone(store: Store) {
    let id = session(&store).await;
    add(&store, id, b"x").await;
    store.drop_session(id).await.unwrap();
    store.drop_session(id).await.unwrap();
    assert!(store.view_session(id).await.unwrap_err().is_not_found());
    assert!(store.resume_session(id).await.is_err_and(|error| error.is_not_found()));
    assert!(names(&store, "", false, 9).await.is_empty());
}

async fn a_session_ends_in_either_algorithm(store: Store) {
    for algorithm in Algorithm::ALL {
        let id = session(&store).await;
        add(&store, id, b"some").await;
        let mut session = store.resume_session(id).await.unwrap();
        session.write(Bytes::from_static(b" more")).await.unwrap();
        let finished = session.finish(algorithm).await.unwrap();
        let digest = finished.digest().clone();
        finished.commit().await.unwrap();
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"some more");
        assert_eq!(digest, hasher.finish());
        assert_eq!(read(&store, &keys::blob(&digest), ByteRange::Whole).await, b"some more");
    }
}

async fn only_sessions_older_than_asked_for_are_stale(store: Store) {
    let id = session(&store).await;
    assert!(store.stale_sessions(Duration::from_mins(5)).await.unwrap().is_empty());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.stale_sessions(Duration::ZERO).await.unwrap(), [id]);
}
