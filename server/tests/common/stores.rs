//! Every kind of store, empty, and a macro that runs tests on each of them.

use std::sync::Arc;

use server::storage::Storage;
use server::storage::file::FileStorage;
use server::storage::health::StorageHealth;
use server::storage::memory::MemoryStorage;
use server::storage::s3::S3Storage;
use tempfile::TempDir;

use super::s3_server::Kind;

/// A store that a test works on.
pub type Store = Arc<dyn Storage>;

pub fn memory() -> Store {
    Arc::new(MemoryStorage::new())
}

/// A store in a folder, which lasts as long as the second part.
pub fn file() -> (Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(FileStorage::open(folder.path()).unwrap()), folder)
}

/// A store in a bucket of a real server; `None`, with a word, where there is no such server.
pub async fn s3(kind: Kind) -> Option<Store> {
    let config = kind.server().await?.config();
    Some(Arc::new(S3Storage::open(config, StorageHealth::default()).await.unwrap()))
}

/// Makes each test, a function of a [`Store`], run on every kind of store: `memory::NAME`, `file::NAME`, `minio::NAME`,
/// `versitygw::NAME`.
#[macro_export]
macro_rules! on_every_store {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::common::stores::memory()).await;
            })*
        }
        mod file {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (store, _folder) = $crate::common::stores::file();
                super::$name(store).await;
            })*
        }
        mod minio {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(store) = $crate::common::stores::s3($crate::common::s3_server::Kind::Minio).await {
                    super::$name(store).await;
                }
            })*
        }
        mod versitygw {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(store) = $crate::common::stores::s3($crate::common::s3_server::Kind::Versitygw).await {
                    super::$name(store).await;
                }
            })*
        }
    };
}
