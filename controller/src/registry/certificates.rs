//! From a validated registry to its certificate plan. Pure, but for the keys that are made.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;

use super::{dereference::Live, error::Error, validate::Validated};
use crate::{
    certificate::{
        authority::Authorities,
        leaf::Names,
        plan::{self, Plan},
        rotation::Trust,
    },
    trust::{Key, Snapshot, verdict},
};

/// Cluster addresses of a Service; none while it has none.
#[must_use]
pub fn addresses(service: &Service) -> Vec<String> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let all = spec.cluster_ips.clone().unwrap_or_default();
    let all = if all.is_empty() { spec.cluster_ip.iter().cloned().collect() } else { all };
    all.into_iter().filter(|address| address.parse::<IpAddr>().is_ok()).collect()
}

/// The plan for a registry whose Service has these addresses; `trusted` is the bundle that nodes were told of.
///
/// # Errors
/// [`Error::Certificate`] when the authority's Secret can't be used.
pub fn plan(
    registry: &Validated,
    live: &Live,
    addresses: &[String],
    trusted: Option<&str>,
    requested: bool,
    trust: Trust,
    now: Timestamp,
) -> Result<Plan, Error> {
    let names = Names {
        dns: registry.hosts.iter().cloned().collect(),
        addresses: addresses.iter().filter_map(|text| text.parse().ok()).collect(),
    };
    let data = |secret: &Option<k8s_openapi::api::core::v1::Secret>| {
        secret.as_ref().map(|secret| secret.data.clone().unwrap_or_default())
    };
    let (authority, serving) = (data(&live.authority), data(&live.serving));
    plan::plan(plan::Input {
        owner: &format!("{}/{}", registry.namespace, registry.names.registry()),
        authority: authority.as_ref(),
        trusted,
        serving: serving.as_ref(),
        names: &names,
        authority_life: registry.authority_life,
        life: registry.certificate_life,
        requested,
        trust,
        now,
    })
    .map_err(|error| Error::Certificate {
        message: format!(
            "Secret {} can't be used: {error}. Put the right content back; or delete the Secret for a new authority, which \
             clients outside the nodes must then be told of",
            registry.names.authority()
        ),
    })
}

/// Who has the bundle that the authority's Secret makes now.
#[must_use]
pub fn trust(live: &Live, snapshot: &Snapshot, key: &Key, enabled: bool) -> Trust {
    if !enabled {
        return Trust::Unwatched;
    }
    let bundle = live
        .authority
        .as_ref()
        .and_then(|secret| Authorities::read(secret.data.as_ref()?).ok())
        .map(|authorities| authorities.bundle());
    let listed = snapshot.written.as_ref().and_then(|written| {
        let entries = &written.desired.registries;
        entries.iter().find(|entry| entry.namespace == key.namespace && entry.name == key.name)
    });
    let current = listed.is_some_and(|entry| Some(&entry.ca_bundle) == bundle.as_ref());
    if current && verdict::opinion(snapshot, key, true).everywhere { Trust::Everywhere } else { Trust::Spreading }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headless_service_has_no_address_and_a_dual_stack_one_has_two() {
        let service =
            |spec: serde_json::Value| -> Service { serde_json::from_value(serde_json::json!({"spec": spec})).unwrap() };
        assert!(addresses(&service(serde_json::json!({"clusterIP": "None"}))).is_empty());
        assert!(addresses(&service(serde_json::json!({}))).is_empty());
        let both = serde_json::json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]});
        assert_eq!(addresses(&service(both)), ["10.0.0.1", "fd00::1"]);
    }
}
