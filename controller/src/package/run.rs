//! The Package controller: what triggers a pass.

use std::sync::Arc;

use crds::{Package, PackageRegistry};
use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    runtime::{
        controller::{Config, Controller},
        reflector::ObjectRef,
        watcher,
    },
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::reconcile::{PackageContext, reconcile};
use crate::{context::Context, error::on_error, tasks};

/// Passes at a time.
const CONCURRENCY: u16 = 16;

/// Runs until `shutdown`; passes under way end first. Ends before when the search for left content or for uploads does.
pub async fn run(shared: Arc<Context>, shutdown: CancellationToken) {
    let packages: Api<Package> = Api::all(shared.client.clone());
    let registries: Api<PackageRegistry> = Api::all(shared.client.clone());
    let of_registry = {
        let shared = Arc::clone(&shared);
        move |registry: PackageRegistry| packages_of(&registry, &shared)
    };
    let of_rival = {
        let shared = Arc::clone(&shared);
        move |package: Package| rivals_of(&package, &shared)
    };
    let context = Arc::new(PackageContext::new(Arc::clone(&shared)));
    let mut beside = JoinSet::new();
    beside.spawn(super::sweep::run(Arc::clone(&shared), shutdown.clone()));
    beside.spawn(super::adoption::run(Arc::clone(&shared), shutdown.clone()));
    let passes = Controller::new(packages.clone(), watcher::Config::default())
        .watches(registries, watcher::Config::default(), of_registry)
        .watches(packages, watcher::Config::default(), of_rival)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile, |object, error, context| on_error(&object, error, &context.shared), context)
        .for_each(|result| async move {
            if let Err(error) = result {
                log(&error);
            }
        });
    tasks::beside(passes, beside, &shutdown).await;
}

/// Reconciler errors are logged where they are handled; the rest, here.
fn log<E: std::error::Error + 'static>(error: &kube::runtime::controller::Error<E, watcher::Error>) {
    use kube::runtime::controller::Error;
    match error {
        Error::ReconcilerFailed(..) | Error::ObjectNotFound(_) => {}
        other => tracing::warn!("Packages: {}", crate::error::chain(other)),
    }
}

/// The Packages of a registry.
fn packages_of(registry: &PackageRegistry, context: &Context) -> Vec<ObjectRef<Package>> {
    let (namespace, name) = (registry.namespace(), registry.name_any());
    context
        .packages
        .state_filter(|package: &Package| package.namespace() == namespace && package.spec.registry_ref.name == name)
        .iter()
        .map(|package| ObjectRef::from_obj(package.as_ref()))
        .collect()
}

/// Other Packages with the name and version of `package`: what it does decides what they may do.
fn rivals_of(package: &Package, context: &Context) -> Vec<ObjectRef<Package>> {
    let coordinate =
        |package: &Package| package.status.as_ref().and_then(|status| status.name.clone().zip(status.version.clone()));
    let Some(own) = coordinate(package) else { return Vec::new() };
    context
        .packages
        .state_filter(|other: &Package| {
            other.spec.registry_ref == package.spec.registry_ref
                && other.namespace() == package.namespace()
                && other.uid() != package.uid()
                && coordinate(other).as_ref() == Some(&own)
        })
        .iter()
        .map(|other| ObjectRef::from_obj(other.as_ref()))
        .collect()
}
