//! Certificates as objects.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::labels::{Component, by_policy, owned};
use crate::{certificate::plan::Plan, registry::validate::Validated};

/// Key of the ConfigMap that holds the certificates to trust.
pub const CA_KEY: &str = "ca.crt";

/// The authorities, keys included; `deletionPolicy` says whether it goes with the registry.
#[must_use]
pub fn authority(registry: &Validated, plan: &Plan) -> Secret {
    Secret {
        metadata: by_policy(registry, &registry.names.authority(), Component::Certificates),
        type_: Some("kubernetes.io/tls".into()),
        data: Some(plan.authorities.data()),
        ..Secret::default()
    }
}

/// What serving pods mount.
#[must_use]
pub fn serving(registry: &Validated, plan: &Plan) -> Secret {
    Secret {
        metadata: owned(registry, &registry.names.serving(), Component::Certificates),
        type_: Some("kubernetes.io/tls".into()),
        data: Some(plan.serving_data()),
        ..Secret::default()
    }
}

/// The certificates to trust, for clients in the namespace.
#[must_use]
pub fn authority_config_map(registry: &Validated, plan: &Plan) -> ConfigMap {
    ConfigMap {
        metadata: owned(registry, &registry.names.authority(), Component::Certificates),
        data: Some([(CA_KEY.to_owned(), plan.authorities.bundle())].into()),
        ..ConfigMap::default()
    }
}
