//! One body of tests for every store.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use server::digest::{Algorithm, Digest, Hasher};
use server::storage::file::FileStorage;
use server::storage::memory::MemoryStorage;
use server::storage::{ByteRange, Condition, Item, Key, Listing, Storage, StorageError, keys};

/// Makes each test run on both stores.
macro_rules! on_every_store {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Arc::new(super::MemoryStorage::new())).await;
            })*
        }
        mod file {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::$name(super::Arc::new(super::FileStorage::open(folder.path()).unwrap())).await;
            })*
        }
    };
}

on_every_store! {
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
}

type Store = Arc<dyn Storage>;

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
    assert_eq!(page.items, [Item::Object { key: "repositories/b/_tags/x".into(), size: 1 }]);
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
