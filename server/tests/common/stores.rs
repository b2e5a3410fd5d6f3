//! What tests work on: every kind of store, empty, as one or several instances have it; and the macro that runs tests on each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use server::storage::Storage;
use server::storage::file::FileStorage;
use server::storage::health::StorageHealth;
use server::storage::memory::MemoryStorage;
use server::storage::s3::S3Storage;
use tempfile::TempDir;

use super::s3_server::Kind;
use super::shared::{Older, Shared};

/// A store that a test works on.
pub type Store = Arc<dyn Storage>;

/// One store, as each of the instances has it that work on it.
#[derive(Clone)]
pub struct Stores {
    handles: Vec<Store>,
    turn: Arc<AtomicUsize>,
    older: Older,
    /// Where it is, as long as a test needs it.
    _folder: Option<Arc<TempDir>>,
}

impl Stores {
    /// The store as these instances have it.
    pub fn of(handles: Vec<Store>) -> Self {
        Self { handles, turn: Arc::default(), older: Older::default(), _folder: None }
    }

    /// The same store. If several instances may have it, its objects can be made older with [`Self::age`].
    pub fn aging(self) -> Self {
        let aging = |store: Store| {
            if store.is_shared() { Arc::new(Shared::aging(store, self.older.clone())) as Store } else { store }
        };
        Self { handles: self.handles.into_iter().map(aging).collect(), ..self }
    }

    /// Makes everything older that is there now, so that nobody has to sleep, nor to know how exactly a store tells ages.
    pub async fn age(&self, by: Duration) {
        self.older.age(self.handles[0].as_ref(), by).await;
    }

    /// As each instance has it.
    pub fn all(&self) -> &[Store] {
        &self.handles
    }

    /// As the instance has it whose turn it is.
    pub fn next(&self) -> Store {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst);
        Arc::clone(&self.handles[turn % self.handles.len()])
    }
}

/// Every kind of store.
#[expect(clippy::unused_async, reason = "all are called alike; some wait for a server")]
impl Stores {
    /// A store in the memory of one instance.
    pub async fn memory() -> Option<Self> {
        Some(Self::of(vec![Arc::new(MemoryStorage::new())]))
    }

    /// A folder of one instance.
    pub async fn file() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let storage: Store = Arc::new(FileStorage::open(folder.path()).unwrap());
        Some(Self { _folder: Some(Arc::new(folder)), ..Self::of(vec![storage]) })
    }

    /// A store in memory that three instances have.
    pub async fn three_instances() -> Option<Self> {
        let storage = MemoryStorage::new();
        Some(Self::of((0..3).map(|_| Arc::new(Shared::new(Arc::new(storage.clone()))) as Store).collect()))
    }

    /// A folder whose instance takes it for one that others have too.
    pub async fn shared_file() -> Option<Self> {
        let file = Self::file().await?;
        let handles = file.handles.iter().map(|store| Arc::new(Shared::new(Arc::clone(store))) as Store).collect();
        Some(Self { handles, ..file })
    }

    /// A part of a bucket of `MinIO` that three instances have, each with what it remembers of it; `None`, with a word, where
    /// there is no `MinIO`.
    pub async fn minio() -> Option<Self> {
        Self::s3(Kind::Minio).await
    }

    /// The same with versitygw.
    pub async fn versitygw() -> Option<Self> {
        Self::s3(Kind::Versitygw).await
    }

    async fn s3(kind: Kind) -> Option<Self> {
        let config = kind.server().await?.config();
        let open =
            || async { Arc::new(S3Storage::open(config.clone(), StorageHealth::default()).await.unwrap()) as Store };
        Some(Self::of(join_all((0..3).map(|_| open())).await))
    }
}

/// What the body of a test takes, made of the stores that the test is to run on.
pub trait FromStores {
    async fn from_stores(stores: Stores) -> Self;
}

impl FromStores for Stores {
    async fn from_stores(stores: Stores) -> Self {
        stores
    }
}

impl FromStores for Store {
    async fn from_stores(stores: Stores) -> Self {
        stores.next()
    }
}

/// Runs a test on a store, which lasts as long as the test.
pub async fn run<S: FromStores>(stores: Stores, test: impl AsyncFnOnce(S)) {
    test(S::from_stores(stores.clone()).await).await;
}

/// Makes each test, a function of [`Stores`], a [`Store`] or a [`Site`](super::site::Site), run on every kind of store:
/// `memory::NAME`, `file::NAME`, `three_instances::NAME`, `minio::NAME`, `versitygw::NAME`. With `on KIND … :` in front, on
/// these alone; a kind is a function of [`Stores`].
#[macro_export]
macro_rules! on_stores {
    (on $($kind:ident)* : $($test:ident)*) => {
        $crate::on_stores! { @each { $($test)* } $($kind)* }
    };
    (@each $tests:tt $($kind:ident)*) => {
        $($crate::on_stores! { @one $kind $tests })*
    };
    (@one $kind:ident { $($test:ident)* }) => {
        mod $kind {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some(stores) = $crate::common::stores::Stores::$kind().await {
                    $crate::common::stores::run(stores, super::$test).await;
                }
            })*
        }
    };
    ($($test:ident)*) => {
        $crate::on_stores! { on memory file three_instances minio versitygw : $($test)* }
    };
}
