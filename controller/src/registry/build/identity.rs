//! Who serves and who publishes: accounts and what they may do. The roles come with the operator's manifests.

use k8s_openapi::{
    api::{
        core::v1::ServiceAccount,
        rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use kube::ResourceExt;

use super::labels::{Component, labels, owned};
use crate::{context::REGISTRY_NAMESPACE_LABEL, registry::validate::Validated};

/// `ClusterRole` of those who publish: all verbs on packages that the server asks about.
pub const PUBLISHER_ROLE: &str = "package-registry-publisher";
/// `ClusterRole` of serving pods: may ask who somebody is and what they may do, nothing else.
pub const REVIEWER_ROLE: &str = "package-registry-reviewer";

/// The serving pods' account.
#[must_use]
pub fn service_account(registry: &Validated) -> ServiceAccount {
    let mut metadata = owned(registry, account_name(registry), Component::Server);
    let annotations = registry.service_account.annotations.clone();
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    ServiceAccount { metadata, automount_service_account_token: Some(false), ..ServiceAccount::default() }
}

/// The account for publishing: whoever may create tokens for it may publish.
#[must_use]
pub fn publisher(registry: &Validated) -> ServiceAccount {
    ServiceAccount {
        metadata: owned(registry, &registry.names.publisher(), Component::Publisher),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Lets the publisher publish in the registry's namespace.
#[must_use]
pub fn publisher_binding(registry: &Validated) -> RoleBinding {
    RoleBinding {
        metadata: owned(registry, &registry.names.publisher(), Component::Publisher),
        role_ref: cluster_role(PUBLISHER_ROLE),
        subjects: Some(vec![account(registry, &registry.names.publisher())]),
    }
}

/// Accounts of serving pods that an earlier spec named, and that pods may run under until the newest serve. Only the registry's
/// own: whoever may label an account must not get rights for it so.
#[must_use]
pub fn former_accounts<'a>(registry: &Validated, accounts: &'a [ServiceAccount]) -> Vec<&'a ServiceAccount> {
    let wanted = labels(registry.names.registry(), Component::Server);
    let is_former = |account: &&ServiceAccount| {
        let owners = account.owner_references();
        owners.iter().any(|owner| owner.controller == Some(true) && owner.uid == registry.owner.uid)
            && wanted.iter().all(|(label, value)| account.labels().get(label) == Some(value))
            && account.metadata.deletion_timestamp.is_none()
            && account.metadata.name.as_deref().is_some_and(|name| name != account_name(registry))
    };
    accounts.iter().filter(is_former).collect()
}

/// Lets serving pods ask for reviews, those under `former` accounts, too; cluster-scoped, so it goes by finalizer.
#[must_use]
pub fn reviewer_binding(registry: &Validated, former: &[&ServiceAccount]) -> ClusterRoleBinding {
    let mut labels = labels(registry.names.registry(), Component::Server);
    labels.insert(REGISTRY_NAMESPACE_LABEL.to_owned(), registry.namespace.clone());
    let names =
        std::iter::once(account_name(registry).to_owned()).chain(former.iter().map(|account| account.name_any()));
    ClusterRoleBinding {
        metadata: ObjectMeta { name: Some(registry.names.reviewer()), labels: Some(labels), ..ObjectMeta::default() },
        role_ref: cluster_role(REVIEWER_ROLE),
        subjects: Some(names.map(|name| account(registry, &name)).collect()),
    }
}

/// Name of the serving pods' account.
#[must_use]
pub fn account_name(registry: &Validated) -> &str {
    registry.service_account.name.as_deref().unwrap_or_else(|| registry.names.registry())
}

fn cluster_role(name: &str) -> RoleRef {
    RoleRef { api_group: "rbac.authorization.k8s.io".into(), kind: "ClusterRole".into(), name: name.into() }
}

fn account(registry: &Validated, name: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".into(),
        name: name.into(),
        namespace: Some(registry.namespace.clone()),
        ..Subject::default()
    }
}
