//! Follows the agents: through the DaemonSet's numbers, and where those aren't enough by asking the agents that aren't ready.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use node_trust::{
    desired::HASH_ANNOTATION,
    report::{PORT, Report},
};

use super::{Agent, AgentState, NAME, Observation, Trust, Written, build};
use crate::context::Context;

/// How long agents may need to restart for a new list.
const FRESH: Duration = Duration::from_mins(1);
/// How long an agent is silent before nobody waits for it any more. Longer than a node needs to start again.
const LOST_AFTER: Duration = Duration::from_mins(3);
/// Time for an agent's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Agents that are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// Time until the next look while agents aren't ready.
const SOON: Duration = Duration::from_secs(2);
/// The same once agents have had their time.
const LATER: Duration = Duration::from_secs(10);
/// The same when all is well; a change of the DaemonSet is seen at once anyway.
const RESYNC: Duration = Duration::from_mins(1);

/// Since when agents are silent, by node. Lists may change meanwhile: a node that is down doesn't get a new chance with each.
type Silences = BTreeMap<String, Instant>;

/// Keeps [`super::Snapshot::observation`] up to date. Never ends.
pub async fn run(context: Arc<Context>, trust: Arc<Trust>) {
    let namespace = context.settings.node_trust_namespace.as_str();
    let daemon_sets: Api<DaemonSet> = Api::namespaced(context.client.clone(), namespace);
    let config_maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let only = || watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    // Somebody else's edit of either object is the writer's business, too.
    let events = stream::select(
        watcher(daemon_sets, only()).default_backoff().touched_objects().map_ok(|_| ()).boxed(),
        watcher(config_maps, only()).default_backoff().touched_objects().map_ok(|_| ()).boxed(),
    )
    .filter_map(async |event| event.ok())
    .inspect(|()| trust.ring())
    .boxed();
    let mut wakes = stream::select(events, trust.changes().boxed());
    // Agents speak plain HTTP, and an image without certificate authorities must not keep the client from being made.
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().tls_certs_only(None);
    let Ok(http) = client.build() else {
        tracing::error!("no HTTP client could be made, so agents can't be asked");
        return;
    };
    let mut silences = Silences::new();
    loop {
        let wait = match trust.snapshot().written.clone() {
            Some(written) => pass(&context, &trust, &http, &written, &mut silences).await,
            None => RESYNC,
        };
        if let Ok(None) = tokio::time::timeout(wait, wakes.next()).await {
            return;
        }
    }
}

async fn pass(
    context: &Context,
    trust: &Trust,
    http: &reqwest::Client,
    written: &Written,
    silences: &mut Silences,
) -> Duration {
    let Ok(observed) = tokio::time::timeout(context.longest_pass, observe(context, http, written, silences)).await
    else {
        tracing::debug!("the node trust agents can't be observed: no answer in time");
        return LATER;
    };
    match observed {
        Ok(observation) => {
            let complete = observation.as_ref().is_some_and(Observation::is_complete);
            trust.update(|snapshot| {
                let newly_settled = complete && snapshot.settled.as_ref() != Some(&written.desired);
                if newly_settled {
                    snapshot.settled = Some(written.desired.clone());
                }
                let changed = observation.is_some() && snapshot.observation != observation;
                if changed {
                    snapshot.observation = observation;
                }
                changed || newly_settled
            });
            match (complete, written.since.elapsed() < FRESH) {
                (true, _) => RESYNC,
                (false, true) => SOON,
                (false, false) => LATER,
            }
        }
        Err(error) => {
            tracing::debug!(%error, "the node trust agents can't be observed");
            LATER
        }
    }
}

/// What is to be seen of `written`; nothing while the DaemonSet's status is about something older.
async fn observe(
    context: &Context,
    http: &reqwest::Client,
    written: &Written,
    silences: &mut Silences,
) -> Result<Option<Observation>, kube::Error> {
    let namespace = context.settings.node_trust_namespace.as_str();
    let daemon_sets: Api<DaemonSet> = Api::namespaced(context.client.clone(), namespace);
    let Some(daemon_set) = daemon_sets.get_opt(NAME).await? else {
        return Ok(None);
    };
    let Some(numbers) = Numbers::of(&daemon_set, &written.hash) else {
        return Ok(None);
    };
    let mut observation = Observation {
        hash: written.hash.clone(),
        desired: numbers.desired,
        agents: Vec::new(),
        without_pod: 0,
        fresh: written.since.elapsed() < FRESH,
    };
    if numbers.all_ready {
        observation.fresh = false;
        silences.clear();
        return Ok(Some(observation));
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let selector: Vec<String> = build::selector().iter().map(|(key, value)| format!("{key}={value}")).collect();
    let found = pods.list(&ListParams::default().labels(&selector.join(","))).await?;
    let by_node = by_node(found.items, &written.hash);
    let seen = i32::try_from(by_node.len()).unwrap_or(i32::MAX);
    observation.without_pod = numbers.desired.saturating_sub(seen).max(0);
    let found = stream::iter(by_node)
        .map(async |(node, pod)| agent(http, node, &pod, &written.hash).await)
        .buffered(ASKED_AT_ONCE)
        .filter_map(async |found| found)
        .collect()
        .await;
    observation.agents = with_losses(found, silences, Instant::now());
    Ok(Some(observation))
}

/// What the DaemonSet's status says about a hash.
struct Numbers {
    desired: i32,
    all_ready: bool,
}

impl Numbers {
    fn of(daemon_set: &DaemonSet, hash: &str) -> Option<Self> {
        let template = daemon_set.spec.as_ref()?.template.metadata.as_ref()?;
        let status = daemon_set.status.as_ref()?;
        let current = template.annotations.as_ref()?.get(HASH_ANNOTATION)? == hash;
        let observed = status.observed_generation >= daemon_set.metadata.generation;
        if !current || !observed {
            return None;
        }
        let desired = status.desired_number_scheduled;
        Some(Self {
            desired,
            all_ready: status.updated_number_scheduled.unwrap_or_default() == desired && status.number_ready == desired,
        })
    }
}

/// One pod a node: that of the hash where there is one.
fn by_node(pods: Vec<Pod>, hash: &str) -> BTreeMap<String, Pod> {
    let mut by_node: BTreeMap<String, Pod> = BTreeMap::new();
    for pod in pods {
        let Some(node) = node_of(&pod) else { continue };
        let better = |old: &Pod| {
            let rank = |pod: &Pod| (is_of(pod, hash), pod.metadata.deletion_timestamp.is_none());
            rank(&pod) > rank(old)
        };
        if by_node.get(&node).is_none_or(better) {
            by_node.insert(node, pod);
        }
    }
    by_node
}

/// The node of a pod; before it is scheduled the one that its affinity names.
fn node_of(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = &spec.node_name {
        return Some(node.clone());
    }
    spec.affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()?
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten())
        .find(|field| field.key == "metadata.name")?
        .values
        .as_ref()?
        .first()
        .cloned()
}

fn is_of(pod: &Pod, hash: &str) -> bool {
    pod.annotations().get(HASH_ANNOTATION).is_some_and(|found| found == hash)
}

fn is_ready(pod: &Pod) -> bool {
    pod.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether nobody acts on a pod that should start or go. A kubelet that is alive notes at once that it has a pod, and takes
/// away in seconds one that is to go.
fn is_unattended(pod: &Pod) -> bool {
    let accepted = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
    !accepted || pod.metadata.deletion_timestamp.is_some()
}

/// Whether its container was running when the kubelet last said something. One that fails again and again isn't: its node is
/// up.
fn is_running(pod: &Pod) -> bool {
    pod.status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
}

/// An agent that isn't ready.
struct Found {
    agent: Agent,
    /// Whether nothing comes from its node.
    silent: bool,
}

/// The agents, those lost that have been silent for too long. Pure.
fn with_losses(found: Vec<Found>, silences: &mut Silences, now: Instant) -> Vec<Agent> {
    silences.retain(|node, _| found.iter().any(|found| found.silent && found.agent.node == *node));
    let mut agents = Vec::new();
    for Found { mut agent, silent } in found {
        if silent {
            let since = *silences.entry(agent.node.clone()).or_insert(now);
            if now.duration_since(since) >= LOST_AFTER {
                agent.state = AgentState::Lost;
            }
        }
        agents.push(agent);
    }
    agents
}

async fn agent(http: &reqwest::Client, node: String, pod: &Pod, hash: &str) -> Option<Found> {
    let current = is_of(pod, hash) && pod.metadata.deletion_timestamp.is_none();
    if current && is_ready(pod) {
        return None;
    }
    let address = pod.status.as_ref().and_then(|status| status.host_ip.as_deref()?.parse().ok());
    let state = match address {
        Some(address) if current && is_running(pod) => ask(http, address).await,
        _ => AgentState::Starting,
    };
    // Ready, but the kubelet has not seen it yet.
    if matches!(&state, AgentState::Reported(report) if report.ready && report.hash == hash) {
        return None;
    }
    let silent = match state {
        AgentState::Starting => is_unattended(pod),
        AgentState::Silent | AgentState::Lost => true,
        AgentState::Reported(_) => false,
    };
    Some(Found { agent: Agent { node, state }, silent })
}

async fn ask(http: &reqwest::Client, address: IpAddr) -> AgentState {
    let url = format!("http://{}/status", std::net::SocketAddr::new(address, PORT));
    let answer = async { http.get(url).send().await?.json::<Report>().await };
    answer.await.map_or(AgentState::Silent, AgentState::Reported)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(node: &str, hash: &str, going: bool) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "p", "annotations": {HASH_ANNOTATION: hash}},
            "spec": {"containers": [], "nodeName": node}
        });
        if going {
            pod["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        }
        serde_json::from_value(pod).unwrap()
    }

    fn daemon_set(hash: &str, observed: i64, ready: i32) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": NAME, "generation": 2},
            "spec": {
                "selector": {},
                "template": {"metadata": {"annotations": {HASH_ANNOTATION: hash}}}
            },
            "status": {
                "observedGeneration": observed, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2,
                "numberReady": ready, "currentNumberScheduled": 2, "numberMisscheduled": 0
            }
        }))
        .unwrap()
    }

    #[test]
    fn numbers_of_an_older_generation_or_another_hash_say_nothing() {
        assert!(Numbers::of(&daemon_set("h", 1, 2), "h").is_none());
        assert!(Numbers::of(&daemon_set("other", 2, 2), "h").is_none());
        assert!(Numbers::of(&daemon_set("h", 2, 2), "h").unwrap().all_ready);
        assert!(!Numbers::of(&daemon_set("h", 2, 1), "h").unwrap().all_ready);
    }

    #[test]
    fn a_node_with_an_old_and_a_new_agent_counts_once_with_the_new_one() {
        let pods = vec![pod("n1", "new", false), pod("n1", "old", true), pod("n2", "old", true)];
        let nodes = by_node(pods, "new");
        assert_eq!(nodes.len(), 2);
        assert!(is_of(&nodes["n1"], "new"));
    }

    fn silent(node: &str) -> Found {
        Found { agent: Agent { node: node.into(), state: AgentState::Silent }, silent: true }
    }

    #[test]
    fn an_agent_is_lost_when_it_was_silent_for_three_minutes_without_a_break() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut silences = Silences::new();
        assert_eq!(with_losses(vec![silent("n1")], &mut silences, begin)[0].state, AgentState::Silent);
        assert_eq!(with_losses(vec![silent("n1")], &mut silences, after(179))[0].state, AgentState::Silent);
        let agents = with_losses(vec![silent("n1"), silent("n2")], &mut silences, after(180));
        assert_eq!(agents[0].state, AgentState::Lost);
        assert_eq!(agents[1].state, AgentState::Silent, "it fell silent later");
        // n1 is back for a moment.
        with_losses(vec![silent("n2")], &mut silences, after(200));
        let agents = with_losses(vec![silent("n1"), silent("n2")], &mut silences, after(400));
        assert_eq!(agents[0].state, AgentState::Silent);
        assert_eq!(agents[1].state, AgentState::Lost);
    }

    #[tokio::test]
    async fn nothing_comes_from_a_node_whose_kubelet_leaves_its_pod_alone() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only(None).build().unwrap();
        let with = |mut pod: Pod, status: serde_json::Value| {
            pod.status = serde_json::from_value(status).unwrap();
            pod
        };
        let start = "2030-01-01T00:00:00Z";
        let waiting = json!({"phase": "Running", "startTime": start, "hostIP": "127.0.0.1",
            "containerStatuses": [{"name": "agent", "image": "i", "imageID": "i", "ready": false, "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        for (pod, is_silent, why) in [
            (with(pod("n", "h", false), json!({"phase": "Pending"})), true, "no kubelet took it"),
            (with(pod("n", "h", false), json!({"phase": "Pending", "startTime": start})), false, "an image is pulled"),
            (with(pod("n", "old", true), json!({"phase": "Running", "startTime": start})), true, "it never goes"),
            (with(pod("n", "h", false), waiting), false, "it fails again and again"),
        ] {
            let found = agent(&http, "n".into(), &pod, "h").await.unwrap();
            assert_eq!((found.agent.state, found.silent), (AgentState::Starting, is_silent), "{why}");
        }
    }

    #[test]
    fn a_pod_that_waits_for_its_node_is_that_nodes() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n7"]}]}
                ]}
            }}}
        }))
        .unwrap();
        assert_eq!(node_of(&pod).as_deref(), Some("n7"));
    }
}
