//! What the controller sees: stores of both kinds, filled once their definitions are there.

use std::{fmt::Debug, time::Duration};

use crds::{Package, PackageRegistry};
use futures::StreamExt;
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, CustomResourceExt, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        wait::{Condition as _, conditions::is_crd_established},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crds::condition::READY;

use crate::{condition::find, error::chain, health::Admin, metrics::Metrics};

/// Time between looks for the definitions.
const PERIOD: Duration = Duration::from_secs(2);
/// A look that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A first list that takes longer is asked for anew: no answer may come any more.
const FIRST_LIST: Duration = Duration::from_mins(1);
/// Time between counts of the objects.
const COUNT: Duration = Duration::from_secs(10);

/// All objects of both kinds, as last seen.
#[derive(Clone)]
pub struct Stores {
    /// All Packages.
    pub packages: Store<Package>,
    /// All registries.
    pub registries: Store<PackageRegistry>,
}

/// Waits for the definitions of both kinds, then for the first full list of each; `None` when `shutdown` came first. What is
/// awaited shows on `/readyz`.
pub async fn begin(client: &Client, admin: &Admin, shutdown: &CancellationToken) -> Option<Stores> {
    if !definitions(client, admin, shutdown).await {
        return None;
    }
    admin.pending.set(vec!["the first list of PackageRegistries and Packages".to_owned()]);
    let stores = loop {
        let stop = shutdown.child_token();
        let stores = Stores { packages: reflect(client, &stop), registries: reflect(client, &stop) };
        let filled = async {
            let (packages, registries) =
                tokio::join!(stores.packages.wait_until_ready(), stores.registries.wait_until_ready());
            packages.is_ok() && registries.is_ok()
        };
        tokio::select! {
            () = shutdown.cancelled() => return None,
            filled = tokio::time::timeout(FIRST_LIST, filled) => match filled {
                Ok(true) => break stores,
                Ok(false) => return None,
                Err(_) => stop.cancel(),
            },
        }
    };
    admin.pending.set(Vec::new());
    tokio::spawn(count(stores.clone(), admin.metrics.clone(), shutdown.clone()));
    Some(stores)
}

async fn definitions(client: &Client, admin: &Admin, shutdown: &CancellationToken) -> bool {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut said = Vec::new();
    loop {
        let mut pending = Vec::new();
        for name in [PackageRegistry::crd_name(), Package::crd_name()] {
            let what = format!("the CustomResourceDefinition {name}");
            match tokio::time::timeout(PATIENCE, api.get_opt(name)).await {
                Ok(Ok(found)) if is_crd_established().matches_object(found.as_ref()) => {}
                Ok(Ok(_)) => pending.push(format!("{what} to be established")),
                Ok(Err(error)) => pending.push(format!("{what}, which can't be read: {}", chain(&error))),
                Err(_) => pending.push(format!("{what}: the API server doesn't answer")),
            }
        }
        if pending.is_empty() {
            return true;
        }
        if said != pending {
            tracing::info!("waits for {}", pending.join(", "));
            said.clone_from(&pending);
        }
        admin.pending.set(pending);
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

fn reflect<K>(client: &Client, shutdown: &CancellationToken) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let stream = reflector::reflector(writer, watcher(Api::all(client.clone()), watcher::Config::default()))
        .default_backoff()
        .take_until(shutdown.clone().cancelled_owned());
    tokio::spawn(stream.for_each(|event| async move {
        if let Err(error) = event {
            tracing::warn!("{} objects can't be watched: {}", K::kind(&()), chain(&error));
        }
    }));
    store
}

async fn count(stores: Stores, metrics: Metrics, shutdown: CancellationToken) {
    loop {
        let packages = stores.packages.state();
        let registries = stores.registries.state();
        tally(
            &metrics,
            "Package",
            packages.iter().map(|package| package.status.as_ref().map(|status| status.conditions.as_slice())),
        );
        tally(
            &metrics,
            "PackageRegistry",
            registries.iter().map(|registry| registry.status.as_ref().map(|status| status.conditions.as_slice())),
        );
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(COUNT) => {}
        }
    }
}

fn tally<'a>(metrics: &Metrics, kind: &str, objects: impl Iterator<Item = Option<&'a [Condition]>>) {
    let (mut ready, mut not_ready, mut unknown) = (0, 0, 0);
    for conditions in objects {
        match find(conditions.unwrap_or_default(), READY).map(|condition| condition.status.as_str()) {
            Some("True") => ready += 1,
            Some("False") => not_ready += 1,
            _ => unknown += 1,
        }
    }
    metrics.count_objects(kind, ready, not_ready, unknown);
}
