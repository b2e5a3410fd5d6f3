//! What the bucket encrypts with. `MinIO` has a key of its own for it; versitygw keeps files as they are.

use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use server::digest::Algorithm;
use server::storage::health::StorageHealth;
use server::storage::s3::{Encryption, S3Config, S3Storage};
use server::storage::{ByteRange, Condition, SessionId, Storage, keys};

use crate::common::s3_server::{BUCKET, KMS_KEY, Kind, S3Server};
use crate::common::s3_store::{LARGE, content, open, read, write};

/// Everything that makes objects: small ones and large ones, at once and in pieces, and a move.
async fn fill(config: &S3Config) {
    let store = open(config.clone()).await;
    for bytes in [content(100), content(LARGE)] {
        let key = write(&store, &bytes).await.unwrap();
        assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), bytes);
        assert_eq!(read(&store, &key, ByteRange::Between(10, 19)).await.unwrap(), bytes[10..20]);
    }
    let id = SessionId::random();
    store.create_session(id, Bytes::new()).await.unwrap();
    let mut session = store.resume_session(id).await.unwrap();
    session.write(content(LARGE + 1)).await.unwrap();
    session.save().await.unwrap();
    let finished = store.resume_session(id).await.unwrap().finish(Algorithm::Sha256).await.unwrap();
    let key = keys::blob(finished.digest());
    finished.commit().await.unwrap();
    assert_eq!(read(&store, &key, ByteRange::Whole).await.unwrap(), content(LARGE + 1));
    let tag = |name: &str| keys::tag(&"a/b".parse().unwrap(), &name.parse().unwrap());
    for name in ["1", "2"] {
        store.put(&tag(name), Bytes::from_static(b"x"), Condition::Absent).await.unwrap();
    }
    store.rename(&tag("2"), &keys::quarantined(&tag("2"))).await.unwrap();
    assert!(store.renew(&tag("1")).await.unwrap());
}

/// How each object in a store's part of the bucket is encrypted, as the server says it, and with which key.
async fn encrypted(server: &S3Server, config: &S3Config) -> Vec<(Option<ServerSideEncryption>, Option<String>)> {
    let mut all = Vec::new();
    for key in server.objects(config).await {
        let head = server.client().head_object().bucket(BUCKET).key(key).send().await.unwrap();
        all.push((head.server_side_encryption().cloned(), head.ssekms_key_id().map(str::to_owned)));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_encrypted_as_the_flag_says_and_read_all_the_same() {
    let Some(server) = Kind::Minio.server().await else { return };
    let named = Encryption::Kms(Some(KMS_KEY.to_owned()));
    for (encryption, wanted) in [
        (None, None),
        (Some(Encryption::Aes256), Some(ServerSideEncryption::Aes256)),
        (Some(Encryption::Kms(None)), Some(ServerSideEncryption::AwsKms)),
        (Some(named), Some(ServerSideEncryption::AwsKms)),
    ] {
        let config = S3Config { encryption: encryption.clone(), ..server.config() };
        fill(&config).await;
        let found = encrypted(server, &config).await;
        // Three blobs, of which each is a pointer and its bytes, a session's state and two small objects.
        assert!(found.len() >= 8, "{encryption:?}: {found:?}");
        for (said, key) in &found {
            assert_eq!(said, &wanted, "{encryption:?}: {found:?}");
            let by_key = key.as_ref().is_some_and(|key| key.ends_with(KMS_KEY));
            assert_eq!(by_key, wanted == Some(ServerSideEncryption::AwsKms), "{encryption:?}: {found:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_store_does_not_have_is_told_and_nothing_is_kept_in_the_clear() {
    let Some(server) = Kind::Minio.server().await else { return };
    let config = S3Config { encryption: Some(Encryption::Kms(Some("no-such-key".into()))), ..server.config() };
    let error = S3Storage::open(config.clone(), StorageHealth::default()).await.err().unwrap().to_string();
    assert!(error.to_lowercase().contains("key"), "{error}");
    assert!(server.objects(&config).await.is_empty());
}
