//! The finalizer: takes back what lives outside the registry's namespace. Bounded, and at once where nothing can be there.

use std::time::Duration;

use crds::PackageRegistry;
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{Api, Client, ResourceExt, runtime::controller::Action};

use super::{
    error::{Error, ReadSnafu},
    names::Names,
};
use crate::{
    apply,
    context::{MANAGED_BY, MANAGED_BY_LABEL, REGISTRY_LABEL, REGISTRY_NAMESPACE_LABEL},
    trust::{self, Key, Snapshot},
};
use snafu::ResultExt;

/// Longest time that a deletion waits for the list of what nodes trust.
const LONGEST: Duration = Duration::from_mins(1);

/// One attempt; the finalizer goes when it succeeds.
///
/// # Errors
/// [`Error::StillTrusted`] while nodes are told of the registry, and when the API server can't be asked.
pub async fn finalize(client: &Client, registry: &PackageRegistry, snapshot: &Snapshot) -> Result<Action, Error> {
    let key = trust::plan::key(registry);
    if is_told(snapshot, &key) {
        if !is_overdue(registry, Timestamp::now()) {
            return Err(Error::StillTrusted);
        }
        tracing::warn!(
            object.namespace = key.namespace,
            object.name = key.name,
            "the list of what nodes trust could not be written in time, PackageRegistry {} goes all the same",
            key.name
        );
    }
    remove_reviewer(client, &key).await?;
    Ok(Action::await_change())
}

/// Whether nodes are told of it, as far as is known. Where nothing can be written nobody waits for it: the list is always made
/// from the registries that are there, so it is right again as soon as it can be written. Pure.
fn is_told(snapshot: &Snapshot, key: &Key) -> bool {
    if snapshot.out_of_reach {
        return false;
    }
    match &snapshot.written {
        Some(written) => {
            let entries = &written.desired.registries;
            entries.iter().any(|entry| entry.namespace == key.namespace && entry.name == key.name)
        }
        None => !snapshot.looked,
    }
}

/// Whether the deletion has waited long enough. Pure.
fn is_overdue(registry: &PackageRegistry, now: Timestamp) -> bool {
    registry
        .metadata
        .deletion_timestamp
        .as_ref()
        .and_then(|time| Duration::try_from(now.duration_since(time.0)).ok())
        .is_some_and(|waited| waited >= LONGEST)
}

async fn remove_reviewer(client: &Client, key: &Key) -> Result<(), Error> {
    let name = Names::new(&key.namespace, &key.name).reviewer();
    let api: Api<ClusterRoleBinding> = Api::all(client.clone());
    let found = api.get_opt(&name).await.context(ReadSnafu { what: format!("ClusterRoleBinding {name}") })?;
    if let Some(binding) = found.filter(|binding| is_of(binding, key)) {
        apply::delete(&api, &binding).await?;
    }
    Ok(())
}

/// Whether a binding is the operator's and this registry's. Pure.
fn is_of(binding: &ClusterRoleBinding, key: &Key) -> bool {
    let has = |label: &str, value: &str| {
        let found = binding.labels().get(label);
        found.is_some_and(|found| found == value)
    };
    has(MANAGED_BY_LABEL, MANAGED_BY) && has(REGISTRY_LABEL, &key.name) && has(REGISTRY_NAMESPACE_LABEL, &key.namespace)
}

#[cfg(test)]
mod tests {
    use node_trust::desired::{Desired, TrustedRegistry};

    use super::*;
    use crate::{registry::fixtures, trust::Written};

    fn key() -> Key {
        trust::plan::key(&fixtures::registry("{}"))
    }

    fn listing(names: &[&str]) -> Snapshot {
        let entry = |name: &&str| TrustedRegistry {
            namespace: "demo".into(),
            name: (*name).into(),
            hosts: Vec::new(),
            mirrors: Vec::new(),
            addresses: Vec::new(),
            port: 443,
            ca_bundle: String::new(),
        };
        Snapshot {
            looked: true,
            written: Some(Written {
                desired: Desired { registries: names.iter().map(entry).collect() },
                hash: "h".into(),
                since: std::time::Instant::now(),
            }),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_registry_goes_when_the_list_lacks_it_or_there_is_no_list() {
        assert!(is_told(&listing(&["registry"]), &key()));
        assert!(!is_told(&listing(&["other"]), &key()));
        let none = Snapshot { looked: true, ..Snapshot::default() };
        assert!(!is_told(&none, &key()));
        let gone = Snapshot { out_of_reach: true, ..Snapshot::default() };
        assert!(!is_told(&gone, &key()));
    }

    #[test]
    fn before_the_first_look_nobody_knows_so_it_waits() {
        assert!(is_told(&Snapshot::default(), &key()));
    }

    #[test]
    fn a_deletion_waits_a_minute_at_most() {
        let mut registry = fixtures::registry("{}");
        let start = Timestamp::UNIX_EPOCH;
        registry.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(start));
        let after = |seconds| Timestamp::from_second(seconds).unwrap();
        assert!(!is_overdue(&registry, after(59)));
        assert!(is_overdue(&registry, after(60)));
    }

    #[test]
    fn a_binding_of_somebody_else_is_left_alone() {
        let mut binding = ClusterRoleBinding::default();
        assert!(!is_of(&binding, &key()));
        let registry = fixtures::registry("{}");
        let validated = super::super::validate::validate(&registry, None, &fixtures::settings()).unwrap();
        binding = super::super::build::identity::reviewer_binding(&validated);
        assert!(is_of(&binding, &key()));
        let other = Key { namespace: "apps".into(), name: "registry".into() };
        assert!(!is_of(&binding, &other));
    }
}
