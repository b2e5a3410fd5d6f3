//! Instances of the server on one store, reached in turn as behind one address.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use futures::future::join_all;
use http::{Method, StatusCode};

use super::stores::{FromStores, Store, Stores};
use super::until::until;
use super::{Answer, Client, Setup};

/// One or several instances on one store.
pub struct Site {
    stores: Stores,
    instances: Vec<Client>,
    turn: AtomicUsize,
}

impl FromStores for Site {
    async fn from_stores(stores: Stores) -> Self {
        Self::with(stores, Setup::on).await
    }
}

/// What requests can be sent to.
pub trait Reach {
    /// The instance that the next request goes to.
    fn client(&self) -> &Client;
}

impl Reach for Client {
    fn client(&self) -> &Client {
        self
    }
}

impl Reach for Site {
    fn client(&self) -> &Client {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst);
        &self.instances[turn % self.instances.len()]
    }
}

impl Site {
    /// As many instances as have the store.
    pub async fn with(stores: Stores, setup: impl Fn(Store) -> Setup) -> Self {
        let stores = stores.aging();
        let instances = join_all(stores.all().iter().map(|store| setup(store.clone()).start())).await;
        Self { stores, instances: instances.into_iter().map(Result::unwrap).collect(), turn: AtomicUsize::new(0) }
    }

    pub fn instances(&self) -> &[Client] {
        &self.instances
    }

    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.client().call(method, path, headers, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.client().get(path).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.call(Method::HEAD, path, &[], Body::empty()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], Body::empty()).await
    }

    /// Status of what is asked for.
    pub async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status.as_u16()
    }

    /// All keys of the store.
    pub async fn keys(&self) -> Vec<String> {
        self.client().keys().await
    }

    /// Makes everything older that is in the store now.
    pub async fn age(&self, by: Duration) {
        self.stores.age(by).await;
    }

    /// All keys of the store once everything in it is old and an instance has collected what nobody needs. Where there is one
    /// instance, that goes without a collection.
    pub async fn keys_after_collection(&self) -> Vec<String> {
        self.age(Duration::from_hours(2)).await;
        self.client().packages.collect().await.unwrap();
        self.keys().await
    }

    /// Waits until every instance shows this catalogue: what an instance saw of a shared store may be a second old.
    pub async fn shows(&self, wanted: &[&str]) {
        for instance in &self.instances {
            until(&format!("an instance shows {wanted:?}"), async || instance.catalogue().await == wanted).await;
        }
    }

    /// Waits until no instance serves it any more. An instance may remember for some seconds what another one removed.
    pub async fn gone(&self, path: &str) {
        for instance in &self.instances {
            let what = format!("{path} is gone");
            until(&what, async || instance.get(path).await.status == StatusCode::NOT_FOUND).await;
        }
    }
}
