//! The finalizer: lets go of what is to be kept, and takes back what lives outside the registry's namespace. Bounded, and at once
//! where nothing can be there; only what is to be kept is worth any time.

use std::{fmt::Debug, time::Duration};

use crds::{DeletionPolicy, PackageRegistry};
use jiff::Timestamp;
use k8s_openapi::{
    ClusterResourceScope,
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim, Secret},
        rbac::v1::ClusterRoleBinding,
    },
};
use kube::{Api, Client, Resource, ResourceExt, runtime::controller::Action};
use serde::de::DeserializeOwned;

use super::{
    error::{Error, ReadSnafu},
    names::Names,
};
use crate::{
    apply,
    context::{MANAGED_BY, MANAGED_BY_LABEL, REGISTRY_LABEL, REGISTRY_NAMESPACE_LABEL},
    trust::{self, Agent, AgentState, Key, Snapshot},
};
use node_trust::report::{Problem, Reason};
use snafu::ResultExt;

/// Longest time that a deletion waits for the list of what nodes trust.
const LONGEST: Duration = Duration::from_mins(1);
/// Longest time that it waits until nodes have taken their files away, from the same moment: nodes that went down with it must
/// not hold it up for longer.
const LONGEST_FOR_FILES: Duration = Duration::from_secs(30);

/// One attempt; the finalizer goes when it succeeds.
///
/// # Errors
/// [`Error::StillTrusted`] while nodes are told of the registry or have files of it, and when the API server can't be asked or
/// refuses.
pub async fn finalize(client: &Client, registry: &PackageRegistry, snapshot: &Snapshot) -> Result<Action, Error> {
    let key = trust::plan::key(registry);
    // First, since the garbage collector may be at the children already (`--cascade=foreground`).
    if registry.spec.deletion_policy == DeletionPolicy::Retain {
        release_kept(client, registry, &key).await?;
    }
    let longest = if is_told(snapshot, &key) {
        Some(LONGEST)
    } else {
        may_have_files(snapshot, registry).then_some(LONGEST_FOR_FILES)
    };
    if let Some(longest) = longest {
        if !is_overdue(registry, longest, Timestamp::now()) {
            return Err(Error::StillTrusted);
        }
        tracing::warn!(
            object.namespace = key.namespace,
            object.name = key.name,
            "not every node has let go of the PackageRegistry {} in time, it goes all the same",
            key.name
        );
    }
    let names = Names::new(&key.namespace, &key.name);
    remove::<ClusterRoleBinding>(client, &key, &names.reviewer()).await?;
    if takes_its_volume(registry) {
        // Kubernetes keeps a volume until its claim is gone, so nobody waits for that here.
        remove::<PersistentVolume>(client, &key, &names.folder_volume()).await?;
    }
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

/// Whether agents may still have files of a registry that isn't listed any more: whoever takes the agents away next would
/// leave these on the nodes for ever. Nodes of which nothing is heard aren't waited for. Pure.
fn may_have_files(snapshot: &Snapshot, registry: &PackageRegistry) -> bool {
    // No numbers: no agent was ever seen with it.
    let seen = registry.status.as_ref().is_some_and(|status| status.nodes.is_some());
    let Some(written) = snapshot.written.as_ref().filter(|_| seen && !snapshot.out_of_reach) else {
        return false;
    };
    match &snapshot.observation {
        Some(observation) if observation.hash == written.hash => {
            observation.without_pod > 0 || observation.agents.iter().any(|agent| !has_let_go(agent, &observation.hash))
        }
        _ => true,
    }
}

/// Whether an agent has done what the newest list says, apart from what other registries lack, or is lost.
fn has_let_go(agent: &Agent, hash: &str) -> bool {
    match &agent.state {
        AgentState::Lost => true,
        AgentState::Starting | AgentState::Silent => false,
        AgentState::Reported(report) => {
            let failed = |problem: &Problem| problem.namespace.is_none() && problem.reason == Reason::WriteFailed;
            report.hash == hash && !report.problems.iter().any(failed)
        }
    }
}

/// Whether the deletion has waited long enough. Pure.
fn is_overdue(registry: &PackageRegistry, longest: Duration, now: Timestamp) -> bool {
    registry
        .metadata
        .deletion_timestamp
        .as_ref()
        .and_then(|time| Duration::try_from(now.duration_since(time.0)).ok())
        .is_some_and(|waited| waited >= longest)
}

/// Takes the registry off what outlives it as an owner. A pass does the same, but none may have come after the policy was set:
/// the registry is suspended, its spec can't be built, or it was deleted at once.
async fn release_kept(client: &Client, registry: &PackageRegistry, key: &Key) -> Result<(), Error> {
    let Some(uid) = registry.uid() else { return Ok(()) };
    let names = Names::new(&key.namespace, &key.name);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &key.namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    for claim in [names.claim(), names.folder_claim()] {
        apply::disown(&claims, &claim, &uid).await?;
    }
    apply::disown(&secrets, &names.authority(), &uid).await?;
    Ok(())
}

/// Deletes something cluster-scoped, if it is this registry's.
async fn remove<K>(client: &Client, key: &Key, name: &str) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let found = api.get_opt(name).await.context(ReadSnafu { what: format!("{} {name}", K::kind(&())) })?;
    if let Some(object) = found.filter(|object| is_of(object, key)) {
        apply::delete(&api, &object).await?;
    }
    Ok(())
}

/// Whether the volume of a node's folder goes with the registry; a claim goes by its owner, and what is in the folder stays.
/// Pure.
fn takes_its_volume(registry: &PackageRegistry) -> bool {
    let on_folder = registry.spec.storage.volume.as_ref().is_some_and(|volume| volume.host_path.is_some());
    on_folder && registry.spec.deletion_policy == DeletionPolicy::Delete
}

/// Whether something cluster-scoped is the operator's and this registry's. Pure.
fn is_of<K: ResourceExt>(object: &K, key: &Key) -> bool {
    let has = |label: &str, value: &str| {
        let found = object.labels().get(label);
        found.is_some_and(|found| found == value)
    };
    has(MANAGED_BY_LABEL, MANAGED_BY) && has(REGISTRY_LABEL, &key.name) && has(REGISTRY_NAMESPACE_LABEL, &key.namespace)
}

#[cfg(test)]
mod tests {
    use node_trust::{
        desired::{Desired, TrustedRegistry},
        report::Report,
    };

    use super::*;
    use crate::{
        registry::{dereference::Live, fixtures},
        trust::{Observation, Written},
    };

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

    fn known_to_nodes() -> PackageRegistry {
        let mut registry = fixtures::registry("{}");
        let nodes = Some(crds::NodesStatus::default());
        registry.status = Some(crds::PackageRegistryStatus { nodes, ..Default::default() });
        registry
    }

    fn observed(hash: &str, state: Option<AgentState>) -> Snapshot {
        let agents = state.map(|state| Agent { node: "n1".into(), state }).into_iter().collect();
        let observation = Observation { hash: hash.into(), desired: 2, agents, without_pod: 0, fresh: true };
        Snapshot { observation: Some(observation), ..listing(&["other"]) }
    }

    fn report(hash: &str, reason: Reason, of_node: bool) -> AgentState {
        let mut problem = Problem::of_node(reason, "words".into());
        if !of_node {
            problem.namespace = Some("apps".into());
            problem.name = Some("other".into());
        }
        AgentState::Reported(Report { node: "n1".into(), hash: hash.into(), ready: false, problems: vec![problem] })
    }

    #[test]
    fn a_registry_stays_until_agents_have_taken_its_files_away() {
        let registry = known_to_nodes();
        assert!(may_have_files(&listing(&["other"]), &registry), "nothing was seen yet");
        assert!(may_have_files(&observed("older", None), &registry));
        for busy in [
            AgentState::Starting,
            AgentState::Silent,
            report("older", Reason::Progressing, true),
            report("h", Reason::WriteFailed, true),
        ] {
            assert!(may_have_files(&observed("h", Some(busy.clone())), &registry), "{busy:?}");
        }
        for done in [
            None,
            Some(AgentState::Lost),
            Some(report("h", Reason::Unreachable, false)),
            Some(report("h", Reason::ConfigPathUnset, true)),
        ] {
            assert!(!may_have_files(&observed("h", done.clone()), &registry), "{done:?}");
        }
    }

    #[test]
    fn nobody_waits_for_files_where_no_agent_ever_was_or_none_can_be_reached() {
        assert!(!may_have_files(&listing(&["other"]), &fixtures::registry("{}")));
        let no_list = Snapshot { looked: true, ..Snapshot::default() };
        assert!(!may_have_files(&no_list, &known_to_nodes()));
        let gone = Snapshot { out_of_reach: true, ..observed("older", None) };
        assert!(!may_have_files(&gone, &known_to_nodes()));
    }

    #[test]
    fn before_the_first_look_nobody_knows_so_it_waits() {
        assert!(is_told(&Snapshot::default(), &key()));
    }

    #[test]
    fn a_deletion_waits_a_minute_for_the_list_and_half_of_it_for_files_at_most() {
        let mut registry = fixtures::registry("{}");
        let start = Timestamp::UNIX_EPOCH;
        registry.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(start));
        let after = |seconds| Timestamp::from_second(seconds).unwrap();
        assert!(!is_overdue(&registry, LONGEST, after(59)));
        assert!(is_overdue(&registry, LONGEST, after(60)));
        assert!(!is_overdue(&registry, LONGEST_FOR_FILES, after(29)));
        assert!(is_overdue(&registry, LONGEST_FOR_FILES, after(30)));
    }

    #[test]
    fn only_the_volume_of_a_folder_goes_and_only_where_the_policy_says_so() {
        let folder = "storage: {volume: {hostPath: /srv/a, nodeName: n1}}";
        let claim = "storage: {volume: {claimName: a}}";
        for (spec, goes) in [
            (format!("{{{folder}, deletionPolicy: Delete}}"), true),
            (folder.to_owned(), false),
            (format!("{{{claim}, deletionPolicy: Delete}}"), false),
            ("deletionPolicy: Delete".to_owned(), false),
        ] {
            assert_eq!(takes_its_volume(&fixtures::registry(&spec)), goes, "{spec}");
        }
    }

    #[test]
    fn a_binding_of_somebody_else_is_left_alone() {
        let mut binding = ClusterRoleBinding::default();
        assert!(!is_of(&binding, &key()));
        let registry = fixtures::registry("{}");
        let validated = super::super::validate::validate(&registry, &Live::default(), &fixtures::settings()).unwrap();
        binding = super::super::build::identity::reviewer_binding(&validated, &[]);
        assert!(is_of(&binding, &key()));
        let other = Key { namespace: "apps".into(), name: "registry".into() };
        assert!(!is_of(&binding, &other));
    }
}
