//! The PackageRegistry controller: what triggers a pass, and the two tasks of node trust beside it.

use std::sync::Arc;

use crds::{Package, PackageRegistry};
use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRoleBinding, RoleBinding},
};
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

use super::reconcile::{RegistryContext, reconcile};
use crate::{
    context::{Context, MANAGED_BY, MANAGED_BY_LABEL, REGISTRY_LABEL, REGISTRY_NAMESPACE_LABEL},
    error::on_error,
    tasks,
    trust::{Trust, observer, writer},
};

/// Passes at a time.
const CONCURRENCY: u16 = 8;

/// Runs until `shutdown`; passes under way end first. Ends before when a task of node trust does.
pub async fn run(shared: Arc<Context>, shutdown: CancellationToken) {
    let trust = Arc::new(Trust::default());
    let context = Arc::new(RegistryContext::new(Arc::clone(&shared), Arc::clone(&trust)));
    let controller = controller(&shared);
    let registries = controller.store();
    let mut beside = JoinSet::new();
    beside.spawn(writer::run(Arc::clone(&shared), Arc::clone(&trust), registries));
    beside.spawn(observer::run(Arc::clone(&shared), Arc::clone(&trust)));
    let passes = controller
        .reconcile_all_on(trust.changes())
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile, |object, error, context| on_error(&object, error, &context.shared), context)
        .for_each(|result| async move {
            if let Err(error) = result {
                log(&error);
            }
        });
    tasks::beside(passes, beside, &shutdown).await;
}

/// The controller with everything that triggers it. Of Secrets there are only reads by name.
fn controller(shared: &Context) -> Controller<PackageRegistry> {
    let client = &shared.client;
    // Children without our label are none; one that loses it is seen as deleted.
    let ours = || watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let claims: Api<PersistentVolumeClaim> = Api::all(client.clone());
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let reviewer_bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let packages: Api<Package> = Api::all(client.clone());
    Controller::new(Api::all(client.clone()), watcher::Config::default())
        .owns(Api::<Service>::all(client.clone()), ours())
        .owns(Api::<ServiceAccount>::all(client.clone()), ours())
        .owns(Api::<ConfigMap>::all(client.clone()), ours())
        .owns(Api::<Deployment>::all(client.clone()), ours())
        .owns(Api::<PodDisruptionBudget>::all(client.clone()), ours())
        .owns(Api::<RoleBinding>::all(client.clone()), ours())
        // A kept claim has no owner, and what is cluster-scoped can't have this one.
        .watches(claims, ours(), |claim| by_label(&claim, claim.namespace()))
        .watches(volumes, ours(), by_labels)
        .watches(reviewer_bindings, ours(), by_labels)
        .watches(packages, watcher::Config::default(), |package| {
            of(&package.spec.registry_ref.name, package.namespace())
        })
        .with_config(Config::default().concurrency(CONCURRENCY))
}

/// The registry that something cluster-scoped belongs to.
#[expect(clippy::needless_pass_by_value, reason = "the form of a mapper")]
fn by_labels<K: ResourceExt>(object: K) -> Option<ObjectRef<PackageRegistry>> {
    by_label(&object, object.labels().get(REGISTRY_NAMESPACE_LABEL).cloned())
}

fn by_label<K: ResourceExt>(object: &K, namespace: Option<String>) -> Option<ObjectRef<PackageRegistry>> {
    of(object.labels().get(REGISTRY_LABEL)?, namespace)
}

fn of(name: &str, namespace: Option<String>) -> Option<ObjectRef<PackageRegistry>> {
    Some(ObjectRef::new(name).within(&namespace?))
}

/// Reconciler errors are logged where they are handled; the rest, here.
fn log<E: std::error::Error + 'static>(error: &kube::runtime::controller::Error<E, watcher::Error>) {
    use kube::runtime::controller::Error;
    match error {
        Error::ReconcilerFailed(..) | Error::ObjectNotFound(_) => {}
        other => tracing::warn!("PackageRegistries: {}", crate::error::chain(other)),
    }
}
