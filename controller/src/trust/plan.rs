//! What nodes should trust, from all `PackageRegistry` objects. Pure.
//!
//! A registry may name only hosts under its own Service; upstreams only in privileged namespaces. A name belongs to one
//! registry: for an upstream to the oldest object that asks for it, and never to one when it is another's host. Suspended
//! registries come first, with what nodes have of them.

use std::collections::BTreeMap;

use crds::{PackageRegistry, reason};
use jiff::Timestamp;
use kube::ResourceExt;
use node_trust::desired::{Desired, TrustedRegistry};

use super::Key;
use crate::arguments::Settings;

/// Port at which Services of registries are reached.
pub const PORT: u16 = 443;

/// A name that a registry asks for and doesn't get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The host name or upstream.
    pub name: String,
    /// Reason of the condition.
    pub reason: &'static str,
    /// What would be right.
    pub message: String,
}

/// What nodes should trust, and what they will not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// The ConfigMap's content.
    pub desired: Desired,
    /// What was refused.
    pub refusals: BTreeMap<Key, Vec<Refusal>>,
}

/// Makes the plan. `before` is the content that is there: suspended registries keep what they have in it.
#[must_use]
pub fn plan<'a>(
    registries: impl IntoIterator<Item = &'a PackageRegistry>,
    settings: &Settings,
    before: Option<&Desired>,
) -> Plan {
    let mut oldest_first: Vec<&PackageRegistry> = registries
        .into_iter()
        .filter(|registry| registry.metadata.deletion_timestamp.is_none())
        .filter(|registry| registry.spec.node_trust.enabled)
        .collect();
    oldest_first.sort_by_key(|registry| (created(registry), key(registry)));

    let mut names = Claims::default();
    let mut plan = Plan::default();
    let (suspended, active): (Vec<_>, Vec<_>) = oldest_first.into_iter().partition(|registry| registry.spec.suspend);
    let mut kept: Vec<TrustedRegistry> = suspended.iter().filter_map(|registry| kept(&key(registry), before)).collect();
    for entry in &mut kept {
        names.keep(&entry_key(entry), &mut entry.hosts);
    }
    // Hosts first: no upstream may take another registry's host, however old its object is.
    let with_hosts: Vec<_> = active
        .into_iter()
        .map(|registry| {
            let refusals = plan.refusals.entry(key(registry)).or_default();
            (registry, names.hosts(registry, settings, refusals))
        })
        .collect();
    for mut entry in kept {
        names.keep(&entry_key(&entry), &mut entry.mirrors);
        plan.desired.registries.push(entry);
    }
    for (registry, hosts) in with_hosts {
        let refusals = plan.refusals.entry(key(registry)).or_default();
        let mirrors = names.mirrors(registry, settings, refusals);
        plan.desired.registries.extend(entry(registry, hosts, mirrors));
    }
    plan.refusals.retain(|_, refusals| !refusals.is_empty());
    plan.desired.registries.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    plan
}

/// Upstreams that nodes ask `registry` for, by what all `registries` want: those of its spec that it isn't refused.
#[must_use]
pub fn granted_mirrors<'a>(
    registry: &PackageRegistry,
    registries: impl IntoIterator<Item = &'a PackageRegistry>,
    settings: &Settings,
) -> Vec<String> {
    if !registry.spec.node_trust.enabled {
        return Vec::new();
    }
    let refusals = plan(registries, settings, None).refusals.remove(&key(registry)).unwrap_or_default();
    let mirrors = registry.spec.node_trust.mirrors.iter();
    mirrors.filter(|upstream| refusals.iter().all(|refusal| refusal.name != **upstream)).cloned().collect()
}

/// Which registry it is.
#[must_use]
pub fn key(registry: &PackageRegistry) -> Key {
    Key { namespace: registry.namespace().unwrap_or_default(), name: registry.name_any() }
}

/// Host names of a registry, the shortest first: `<service>.<namespace>.svc`, and with the cluster's domain where known.
#[must_use]
pub fn hosts(registry: &PackageRegistry, settings: &Settings) -> Vec<String> {
    let namespace = registry.namespace().unwrap_or_default();
    let service = registry.spec.service.name.clone().unwrap_or_else(|| registry.name_any());
    let host = format!("{service}.{namespace}.svc");
    let long = settings.cluster_domain.as_ref().map(|domain| format!("{host}.{domain}"));
    std::iter::once(host).chain(long).collect()
}

/// Who has which name.
#[derive(Default)]
struct Claims(BTreeMap<String, Key>);

impl Claims {
    /// Claims names that nodes have of a registry; those that are another's go.
    fn keep(&mut self, own: &Key, names: &mut Vec<String>) {
        names.retain(|name| self.0.entry(name.clone()).or_insert_with(|| own.clone()) == own);
    }

    fn hosts(&mut self, registry: &PackageRegistry, settings: &Settings, refusals: &mut Vec<Refusal>) -> Vec<String> {
        hosts(registry, settings)
            .into_iter()
            .filter(|host| {
                let owner = self.0.entry(host.clone()).or_insert_with(|| key(registry));
                let own = *owner == key(registry);
                if !own {
                    let message = format!(
                        "the host {host} belongs to PackageRegistry {}/{}: choose another spec.service.name",
                        owner.namespace, owner.name
                    );
                    refusals.push(taken(host, message));
                }
                own
            })
            .collect()
    }

    fn mirrors(&mut self, registry: &PackageRegistry, settings: &Settings, refusals: &mut Vec<Refusal>) -> Vec<String> {
        let own = key(registry);
        let own_hosts = hosts(registry, settings);
        let mut granted = Vec::new();
        // Its own host is no upstream; that such a spec is wrong is said by `registry::validate`.
        for upstream in registry.spec.node_trust.mirrors.iter().filter(|upstream| !own_hosts.contains(upstream)) {
            if !settings.is_privileged(&own.namespace) {
                refusals.push(Refusal {
                    name: upstream.clone(),
                    reason: reason::NOT_ALLOWED,
                    message: format!(
                        "mirrors are not allowed in namespace {}, so {upstream} stays as it is: ask the cluster's \
                         administrator to add the namespace to the controller's --privileged-namespaces, or remove \
                         {upstream} from spec.nodeTrust.mirrors",
                        own.namespace
                    ),
                });
                continue;
            }
            let owner = self.0.entry(upstream.clone()).or_insert_with(|| own.clone());
            if *owner == own {
                granted.push(upstream.clone());
            } else {
                let message = format!(
                    "{upstream} belongs to PackageRegistry {}/{}: remove it from spec.nodeTrust.mirrors of one of the two",
                    owner.namespace, owner.name
                );
                refusals.push(taken(upstream, message));
            }
        }
        granted.sort();
        granted.dedup();
        granted
    }
}

fn taken(name: &str, message: String) -> Refusal {
    Refusal { name: name.to_owned(), reason: reason::NAME_TAKEN, message }
}

/// What nodes have of a registry.
fn kept(key: &Key, before: Option<&Desired>) -> Option<TrustedRegistry> {
    before?.registries.iter().find(|entry| entry_key(entry) == *key).cloned()
}

fn entry_key(entry: &TrustedRegistry) -> Key {
    Key { namespace: entry.namespace.clone(), name: entry.name.clone() }
}

/// The registry's entry, once its address and its authority are known.
fn entry(registry: &PackageRegistry, hosts: Vec<String>, mirrors: Vec<String>) -> Option<TrustedRegistry> {
    let Key { namespace, name } = key(registry);
    let status = registry.status.as_ref()?;
    if hosts.is_empty() || status.cluster_ips.is_empty() {
        return None;
    }
    Some(TrustedRegistry {
        namespace,
        name,
        hosts,
        mirrors,
        addresses: status.cluster_ips.clone(),
        port: PORT,
        ca_bundle: status.ca_bundle.clone()?,
    })
}

fn created(registry: &PackageRegistry) -> Timestamp {
    registry.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        crate::registry::fixtures::settings()
    }

    fn registry(namespace: &str, name: &str, second: i64, mirrors: &[&str]) -> PackageRegistry {
        let mut registry = crate::registry::fixtures::registry("{}");
        registry.metadata.namespace = Some(namespace.into());
        registry.metadata.name = Some(name.into());
        registry.metadata.creation_timestamp =
            Timestamp::from_second(second).ok().map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        registry.spec.node_trust.mirrors = mirrors.iter().map(ToString::to_string).collect();
        registry.status = Some(crds::PackageRegistryStatus {
            cluster_ips: vec!["10.96.0.7".into()],
            ca_bundle: Some("PEM".into()),
            ..Default::default()
        });
        registry
    }

    fn names(plan: &Plan) -> Vec<(&str, Vec<&str>)> {
        plan.desired
            .registries
            .iter()
            .map(|entry| {
                let mirrors = entry.mirrors.iter().map(String::as_str).collect();
                (entry.name.as_str(), mirrors)
            })
            .collect()
    }

    #[test]
    fn hosts_have_three_labels_or_the_cluster_domain_behind_them_never_less() {
        let plan = plan([&registry("io", "docker", 1, &[])], &settings(), None);
        assert_eq!(plan.desired.registries[0].hosts, ["docker.io.svc", "docker.io.svc.cluster.local"]);
        assert!(plan.refusals.is_empty());
    }

    #[test]
    fn the_oldest_object_wins_an_upstream() {
        let young = registry("ops", "a-young", 20, &["docker.io", "quay.io"]);
        let old = registry("ops", "b-old", 10, &["docker.io"]);
        let plan = plan([&young, &old], &settings(), None);
        assert_eq!(names(&plan), [("a-young", vec!["quay.io"]), ("b-old", vec!["docker.io"])]);
        let refused = &plan.refusals[&key(&young)][0];
        assert_eq!((refused.name.as_str(), refused.reason), ("docker.io", reason::NAME_TAKEN));
        assert!(refused.message.contains("ops/b-old"));
        assert_eq!(plan.refusals.len(), 1);
    }

    #[test]
    fn without_the_privilege_a_mirror_is_refused_and_the_host_stays() {
        let ordinary = registry("apps", "registry", 1, &["docker.io"]);
        let privileged = registry("ops", "registry", 2, &["docker.io"]);
        let plan = plan([&ordinary, &privileged], &settings(), None);
        assert_eq!(names(&plan), [("registry", vec![]), ("registry", vec!["docker.io"])]);
        assert_eq!(plan.refusals[&key(&ordinary)][0].reason, reason::NOT_ALLOWED);
    }

    #[test]
    fn only_what_is_granted_is_mirrored() {
        let old = registry("ops", "old", 1, &["docker.io"]);
        let young = registry("ops", "young", 2, &["docker.io", "quay.io"]);
        let ordinary = registry("apps", "ordinary", 3, &["ghcr.io"]);
        let mut off = registry("ops", "off", 4, &["registry.k8s.io"]);
        off.spec.node_trust.enabled = false;
        let granted = |one: &PackageRegistry| granted_mirrors(one, [&old, &young, &ordinary, &off], &settings());
        assert_eq!(granted(&old), ["docker.io"]);
        assert_eq!(granted(&young), ["quay.io"]);
        assert!(granted(&ordinary).is_empty() && granted(&off).is_empty());
    }

    #[test]
    fn an_upstream_never_takes_another_registrys_host() {
        let thief = registry("ops", "thief", 1, &["registry.apps.svc"]);
        let victim = registry("apps", "registry", 2, &[]);
        let plan = plan([&thief, &victim], &settings(), None);
        assert_eq!(names(&plan), [("registry", vec![]), ("thief", vec![])]);
        assert_eq!(plan.refusals[&key(&thief)][0].reason, reason::NAME_TAKEN);
    }

    #[test]
    fn a_registry_does_not_mirror_itself() {
        let registry = registry("ops", "registry", 1, &["registry.ops.svc", "docker.io"]);
        let plan = plan([&registry], &settings(), None);
        assert_eq!(names(&plan), [("registry", vec!["docker.io"])]);
        assert!(plan.refusals.is_empty());
    }

    #[test]
    fn two_registries_of_one_service_name_share_no_host() {
        let mut second = registry("apps", "second", 2, &[]);
        second.spec.service.name = Some("first".into());
        let first = registry("apps", "first", 1, &[]);
        let plan = plan([&second, &first], &settings(), None);
        assert_eq!(names(&plan), [("first", vec![])]);
        assert_eq!(plan.refusals[&key(&second)].len(), 2);
    }

    #[test]
    fn what_is_going_switched_off_or_without_address_is_not_listed() {
        let mut going = registry("apps", "going", 1, &[]);
        going.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        let mut off = registry("apps", "off", 1, &[]);
        off.spec.node_trust.enabled = false;
        let mut early = registry("apps", "early", 1, &[]);
        early.status = None;
        let plan = plan([&going, &off, &early], &settings(), None);
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn a_suspended_registry_keeps_what_nodes_have() {
        let mut registry = registry("ops", "registry", 1, &["docker.io"]);
        let before = plan([&registry], &settings(), None).desired;
        registry.spec.suspend = true;
        registry.spec.node_trust.mirrors.clear();
        let kept = plan([&registry], &settings(), Some(&before)).desired;
        assert_eq!(kept, before);
        assert_eq!(plan([&registry], &settings(), None).desired, Desired::default());
    }

    #[test]
    fn what_a_suspended_registry_keeps_is_nobody_elses() {
        let mut suspended = registry("ops", "suspended", 20, &["docker.io"]);
        let before = plan([&suspended], &settings(), None).desired;
        suspended.spec.suspend = true;
        suspended.spec.node_trust.mirrors = vec!["quay.io".into()];
        suspended.spec.service.name = Some("renamed".into());
        // Older than the suspended one, it would win were that not suspended.
        let older = registry("ops", "older", 10, &["docker.io", "quay.io"]);
        let plan = plan([&older, &suspended], &settings(), Some(&before));
        assert_eq!(names(&plan), [("older", vec!["quay.io"]), ("suspended", vec!["docker.io"])]);
        assert_eq!(plan.desired.registries[1], before.registries[0]);
        let refused: Vec<_> = plan.refusals[&key(&older)].iter().map(|refusal| refusal.name.as_str()).collect();
        assert_eq!(refused, ["docker.io"]);
        assert_eq!(plan.refusals.len(), 1);
    }
}
