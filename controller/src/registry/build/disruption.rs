//! How many serving pods may be evicted at a time.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::labels::{Component, owned, server_selector};
use crate::registry::validate::Validated;

/// One of several at a time. None for a single pod: a budget would keep its node from being drained.
#[must_use]
pub fn budget(registry: &Validated) -> Option<PodDisruptionBudget> {
    let name = registry.names.registry();
    (registry.pods.instances > 1).then(|| PodDisruptionBudget {
        metadata: owned(registry, name, Component::Server),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels: Some(server_selector(name)), ..LabelSelector::default() }),
            // A pod that doesn't serve anyway must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
