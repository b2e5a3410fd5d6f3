//! Step 4: brings the children to what they should be. Each child has a result of its own, so that one that fails doesn't
//! keep the others from being right.

use std::{collections::BTreeSet, fmt::Debug};

use futures::future::BoxFuture;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount},
        rbac::v1::{ClusterRoleBinding, RoleBinding},
    },
};
use kube::{Api, Client, Resource};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    build::{self, labels},
    dereference::Live,
    validate::Validated,
};
use crate::apply::{self, Applied, Error};

/// What became of a child.
pub type Outcome<K> = Result<K, Error>;

/// What became of the foundations.
#[derive(Debug)]
pub struct Foundations {
    /// The volume's claim.
    pub claim: Outcome<PersistentVolumeClaim>,
    /// The Service.
    pub service: Outcome<Service>,
    /// Accounts and bindings.
    pub identity: Outcome<()>,
}

/// Applies the foundations, all at once: none needs another.
pub async fn foundations(
    client: &Client,
    registry: &Validated,
    live: &mut Live,
    desired: build::Foundations,
) -> Foundations {
    let namespace = registry.namespace.as_str();
    let build::Foundations {
        claim,
        service,
        service_anywhere,
        service_account,
        publisher,
        publisher_binding,
        reviewer_binding,
    } = desired;
    let reviewer_bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let claims = api::<PersistentVolumeClaim>(client, namespace);
    let (claim, service, account, publisher, binding, reviewer) = tokio::join!(
        Box::pin(apply::apply_read(&claims, &claim, live.claim.take())),
        Box::pin(apply_service(client, namespace, service, service_anywhere)),
        one(api::<ServiceAccount>(client, namespace), service_account),
        one(api::<ServiceAccount>(client, namespace), publisher),
        one(api::<RoleBinding>(client, namespace), publisher_binding),
        one(reviewer_bindings, reviewer_binding),
    );
    let identity = account.and(publisher).and(binding.map(|_| ()).and(reviewer.map(|_| ())));
    Foundations { claim: claim.map(object), service, identity }
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

/// Applies the Deployment.
///
/// # Errors
/// When it can't be.
pub async fn deployment(client: &Client, registry: &Validated, desired: Deployment) -> Outcome<Deployment> {
    one(api(client, &registry.namespace), desired).await
}

/// Deletes children that an earlier spec named otherwise. Only these two kinds have names that the spec chooses.
///
/// # Errors
/// When the API server refuses.
pub async fn prune(client: &Client, registry: &Validated) -> Outcome<()> {
    let selector = labels::children(registry.names.registry());
    let owner = Some(registry.owner.uid.as_str());
    let services = BTreeSet::from([registry.service.name.clone()]);
    let accounts = BTreeSet::from([build::identity::account_name(registry).to_owned(), registry.names.publisher()]);
    let services_api = api::<Service>(client, &registry.namespace);
    let accounts_api = api::<ServiceAccount>(client, &registry.namespace);
    tokio::try_join!(
        apply::prune(&services_api, &selector, owner, &services),
        apply::prune(&accounts_api, &selector, owner, &accounts)
    )?;
    Ok(())
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
