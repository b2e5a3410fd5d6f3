//! Step 4: brings the children to what they should be. Each child has a result of its own, so that one that fails doesn't
//! keep the others from being right.

use std::{collections::BTreeSet, fmt::Debug};

use futures::future::BoxFuture;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRoleBinding, RoleBinding},
    },
};
use kube::{Api, Client, Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use snafu::ResultExt;

use super::{
    build::{self, labels},
    dereference::Live,
    status::serving,
    validate::Validated,
};
use crate::apply::{self, Applied, CallSnafu, Error};

/// What became of a child.
pub type Outcome<K> = Result<K, Error>;

/// What became of the foundations.
#[derive(Debug)]
pub struct Foundations {
    /// The volume of a node's folder, where there is one.
    pub volume: Outcome<Option<PersistentVolume>>,
    /// The volume's claim, where there is one: made, or that of the spec.
    pub claim: Outcome<Option<PersistentVolumeClaim>>,
    /// The Service.
    pub service: Outcome<Service>,
    /// Accounts and bindings.
    pub identity: Outcome<()>,
    /// How many pods may be evicted at a time.
    pub disruption_budget: Outcome<()>,
}

/// Which accounts are known to be the registry's own. No other child may name one that isn't: whoever may create a registry
/// could run an image under any account of the namespace, or give it rights.
#[derive(Clone, Copy, Debug)]
pub struct OwnAccounts {
    /// That of the serving pods.
    pub server: bool,
    /// That for publishing.
    pub publisher: bool,
}

/// Applies the foundations, all at once: none needs another. What the accounts may do comes after them: [`rights`].
pub async fn foundations(
    client: &Client,
    registry: &Validated,
    live: &mut Live,
    desired: build::Foundations,
) -> (Foundations, OwnAccounts) {
    let namespace = registry.namespace.as_str();
    let build::Foundations { volume, claim, service, service_anywhere, service_account, publisher, disruption_budget } =
        desired;
    let ((volume, claim), service, account, publisher, disruption_budget) = tokio::join!(
        Box::pin(apply_storage(client, namespace, (volume, claim), (live.volume.take(), live.claim.take()))),
        Box::pin(apply_service(client, namespace, service, service_anywhere)),
        one(api::<ServiceAccount>(client, namespace), service_account),
        one(api::<ServiceAccount>(client, namespace), publisher),
        optional(api::<PodDisruptionBudget>(client, namespace), disruption_budget),
    );
    let own = OwnAccounts { server: account.is_ok(), publisher: publisher.is_ok() };
    let identity = account.and(publisher).map(|_| ());
    (Foundations { volume, claim, service, identity, disruption_budget: disruption_budget.map(drop) }, own)
}

type Volumes = (Option<PersistentVolume>, Option<PersistentVolumeClaim>);

/// The volume first: a claim that is there before its volume waits for the next round of the cluster's binder. What isn't
/// desired is the user's, and comes back as it was read.
async fn apply_storage(
    client: &Client,
    namespace: &str,
    desired: Volumes,
    live: Volumes,
) -> (Outcome<Option<PersistentVolume>>, Outcome<Option<PersistentVolumeClaim>>) {
    let volume = Box::pin(read_one(&Api::all(client.clone()), desired.0, live.0)).await;
    let claim = Box::pin(read_one(&api(client, namespace), desired.1, live.1)).await;
    (volume, claim)
}

async fn read_one<K>(api: &Api<K>, desired: Option<K>, live: Option<K>) -> Outcome<Option<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let Some(desired) = desired else { return Ok(live) };
    apply::apply_read(api, &desired, live).await.map(|applied| Some(applied.object))
}

/// Applies what the accounts may do; nothing for an account that isn't the registry's own.
///
/// # Errors
/// The first that fails.
pub async fn rights(client: &Client, registry: &Validated, own: OwnAccounts, desired: build::Rights) -> Outcome<()> {
    let build::Rights { publisher_binding, reviewer_binding } = desired;
    let reviewer_bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let (publisher, reviewer) = tokio::join!(
        wanted(own.publisher, one(api::<RoleBinding>(client, &registry.namespace), publisher_binding)),
        wanted(own.server, one(reviewer_bindings, reviewer_binding)),
    );
    publisher.and(reviewer)
}

async fn wanted<K>(is_wanted: bool, applied: BoxFuture<'static, Outcome<K>>) -> Outcome<()> {
    if is_wanted { applied.await.map(drop) } else { Ok(()) }
}

/// Applies the certificates. The authorities first: a certificate of one that isn't kept would be of no use.
///
/// # Errors
/// The first that fails.
pub async fn certificates(
    client: &Client,
    registry: &Validated,
    live: &mut Live,
    desired: build::Certificates,
) -> Outcome<()> {
    let build::Certificates { authority, serving, config_map } = desired;
    let namespace = registry.namespace.as_str();
    let secrets = api::<Secret>(client, namespace);
    apply::apply_read(&secrets, &authority, live.authority.take()).await?;
    tokio::try_join!(
        apply::apply_read(&secrets, &serving, live.serving.take()),
        one(api::<ConfigMap>(client, namespace), config_map)
    )?;
    Ok(())
}

/// Applies the Deployment. While its pods' account isn't the registry's own, it is only read: what runs goes on as it is.
///
/// # Errors
/// When it can't be.
pub async fn deployment(
    client: &Client,
    registry: &Validated,
    own: OwnAccounts,
    desired: Deployment,
) -> Outcome<Deployment> {
    let deployments: Api<Deployment> = api(client, &registry.namespace);
    if own.server {
        return one(deployments, desired).await;
    }
    let name = registry.names.registry();
    deployments.get(name).await.context(CallSnafu { verb: "read", kind: "Deployment", name })
}

/// Deletes children that an earlier spec named otherwise, or wanted and this one doesn't. An old Service
/// stays while what takes its place isn't there, or its address would be lost; the `former` accounts until the newest pods serve,
/// for the older ones run under them.
///
/// # Errors
/// When the API server refuses.
pub async fn prune(
    client: &Client,
    registry: &Validated,
    foundations: &Foundations,
    deployment: &Outcome<Deployment>,
    former: &[&ServiceAccount],
) -> Outcome<()> {
    let selector = labels::children(registry.names.registry());
    let owner = Some(registry.owner.uid.as_str());
    let services = async {
        if foundations.service.is_ok() {
            let keep = BTreeSet::from([registry.service.name.clone()]);
            apply::prune(&api::<Service>(client, &registry.namespace), &selector, owner, &keep).await?;
        }
        Ok(())
    };
    let accounts = async {
        if foundations.identity.is_ok() && deployment.as_ref().is_ok_and(serving::is_available) {
            for account in former {
                let name = account.name_any();
                if apply::delete(&api::<ServiceAccount>(client, &registry.namespace), *account).await? {
                    tracing::info!(object.name = name, "ServiceAccount {name} is no longer wanted, deleted");
                }
            }
        }
        Ok(())
    };
    let budgets = async {
        let keep =
            if registry.pods.instances > 1 { [registry.names.registry().to_owned()].into() } else { BTreeSet::new() };
        apply::prune(&api::<PodDisruptionBudget>(client, &registry.namespace), &selector, owner, &keep).await
    };
    let (services, accounts, budgets) = tokio::join!(services, accounts, budgets);
    services.and(accounts).and(budgets.map(drop))
}

/// A Service whose addresses are somebody else's now, or can't be changed any more, gets along with others: nodes are told.
async fn apply_service(client: &Client, namespace: &str, desired: Service, anywhere: Service) -> Outcome<Service> {
    let services = api::<Service>(client, namespace);
    match apply::apply(&services, &desired).await {
        Err(Error::Call { source, .. }) if is_about_addresses(&source) => {
            tracing::warn!(
                object.namespace = namespace,
                object.name = desired.metadata.name,
                "the Service can't have the addresses that it had, it gets others"
            );
            one(services, anywhere).await
        }
        result => result.map(object),
    }
}

fn is_about_addresses(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422 && status.message.contains("spec.clusterIP"))
}

/// Nothing where nothing is desired.
fn optional<K>(api: Api<K>, desired: Option<K>) -> BoxFuture<'static, Outcome<Option<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Box::pin(async move {
        match desired {
            Some(desired) => one(api, desired).await.map(Some),
            None => Ok(None),
        }
    })
}

/// Boxed, since many of them run side by side.
fn one<K>(api: Api<K>, desired: K) -> BoxFuture<'static, Outcome<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Box::pin(async move { apply::apply(&api, &desired).await.map(object) })
}

fn object<K>(applied: Applied<K>) -> K {
    applied.object
}

fn api<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}
