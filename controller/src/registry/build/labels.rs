//! Labels of children, and their metadata.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    context::{COMPONENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, NAME, NAME_LABEL, REGISTRY_LABEL},
    registry::validate::Validated,
};

/// What an object is part of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Component {
    /// The serving pods and what is in front of them.
    Server,
    /// The content.
    Storage,
    /// Certificates.
    Certificates,
    /// Those who publish.
    Publisher,
}

impl Component {
    fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Storage => "storage",
            Self::Certificates => "certificates",
            Self::Publisher => "publisher",
        }
    }
}

/// Labels of the serving pods; a Deployment's selector can't change, so these never do.
#[must_use]
pub fn server_selector(registry: &str) -> BTreeMap<String, String> {
    [(NAME_LABEL, NAME), (COMPONENT_LABEL, Component::Server.word()), (REGISTRY_LABEL, registry)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Selects every child of a registry in its namespace.
#[must_use]
pub fn children(registry: &str) -> String {
    format!("{MANAGED_BY_LABEL}={MANAGED_BY},{REGISTRY_LABEL}={registry}")
}

/// Labels of a child.
#[must_use]
pub fn labels(registry: &str, component: Component) -> BTreeMap<String, String> {
    [
        (NAME_LABEL, NAME),
        (COMPONENT_LABEL, component.word()),
        (MANAGED_BY_LABEL, MANAGED_BY),
        (REGISTRY_LABEL, registry),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Metadata of a child that goes with its registry.
#[must_use]
pub fn owned(registry: &Validated, name: &str, component: Component) -> ObjectMeta {
    ObjectMeta { owner_references: Some(vec![registry.owner.clone()]), ..kept(registry, name, component) }
}

/// Metadata of a child that outlives its registry.
#[must_use]
pub fn kept(registry: &Validated, name: &str, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(registry.namespace.clone()),
        labels: Some(labels(registry.names.registry(), component)),
        ..ObjectMeta::default()
    }
}

/// Metadata of a child that goes or stays as `deletionPolicy` says.
#[must_use]
pub fn by_policy(registry: &Validated, name: &str, component: Component) -> ObjectMeta {
    match registry.deletion_policy {
        crds::DeletionPolicy::Delete => owned(registry, name, component),
        crds::DeletionPolicy::Retain => kept(registry, name, component),
    }
}
