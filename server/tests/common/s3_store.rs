//! A store in a bucket, used as its tests use it.

use bytes::Bytes;
use futures::TryStreamExt;
use server::digest::Algorithm;
use server::storage::health::StorageHealth;
use server::storage::s3::{S3Config, S3Storage};
use server::storage::{ByteRange, Key, Result, Storage, keys};
use uuid::Uuid;

use super::s3_proxy::{Call, Proxy};
use super::s3_server::{BUCKET, S3Server};

/// More than a part.
pub const LARGE: usize = 9_000_000;

pub async fn open(config: S3Config) -> S3Storage {
    S3Storage::open(config, StorageHealth::default()).await.unwrap()
}

/// A store in a part of the bucket that nobody else has, reached through a proxy.
pub fn behind(server: &S3Server, proxy: &Proxy) -> S3Config {
    server.config_at(proxy.address, &format!("tests/{}", Uuid::new_v4()))
}

/// A store that is reached through a proxy, and the proxy.
pub async fn through_a_proxy(server: &S3Server) -> (S3Storage, Proxy) {
    let proxy = Proxy::start(server.address, None).await;
    let store = open(behind(server, &proxy)).await;
    proxy.calls();
    (store, proxy)
}

/// Keys of the objects that are made of parts by these calls.
pub fn begun(calls: &[Call]) -> Vec<String> {
    let bucket = format!("/{BUCKET}/");
    let key = |call: &Call| call.path.strip_prefix(&bucket).unwrap().to_owned();
    calls.iter().filter(|call| call.begins()).map(key).collect()
}

pub fn content(size: usize) -> Bytes {
    (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

pub async fn write(store: &S3Storage, content: &[u8]) -> Result<Key> {
    let mut writer = store.write_blob(Algorithm::Sha256).await?;
    for chunk in content.chunks(1 << 20) {
        writer.write(Bytes::copy_from_slice(chunk)).await?;
    }
    let finished = writer.finish().await?;
    let key = keys::blob(finished.digest());
    finished.commit().await?;
    Ok(key)
}

pub async fn read(store: &S3Storage, key: &Key, range: ByteRange) -> Result<Bytes> {
    let chunks: Vec<Bytes> = store.read(key, range).await?.body.try_collect().await?;
    Ok(chunks.concat().into())
}
