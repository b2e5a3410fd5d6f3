//! What nodes' agents say, put into words for one registry. Pure.

use crds::{NodesStatus, reason};
use node_trust::{
    desired::TrustedRegistry,
    report::{Problem, Reason},
};

use super::{Agent, AgentState, Key, Observation, Snapshot, plan::Refusal};
use crate::condition::Verdict;

/// Nodes that a message names, at most.
const NAMED: usize = 5;

/// What is said about one registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// The `NodesTrusted` condition.
    pub verdict: Verdict,
    /// Numbers of nodes, once known.
    pub nodes: Option<NodesStatus>,
    /// Whether every node trusts the registry as it is listed now, refused names aside.
    pub everywhere: bool,
    /// Whether every node does that isn't lost, and there is one.
    pub enough: bool,
    /// Whether nothing was seen yet since this process began: what was known before is better than the verdict.
    pub provisional: bool,
}

/// One node that doesn't trust the registry.
struct Fault {
    node: String,
    reason: &'static str,
    words: String,
    /// Whether nobody waits for it.
    lost: bool,
}

/// The opinion on a registry that wants trust. `trusted_before`: every node trusted it once, so that a node that can't be
/// asked is a lost one and not one that is starting.
#[must_use]
pub fn opinion(snapshot: &Snapshot, key: &Key, trusted_before: bool) -> Opinion {
    if let Some(failure) = &snapshot.failure {
        return early(Verdict::no(reason::PROGRESSING_WITH_RETRY, failure));
    }
    if snapshot.uninstalling {
        let words = "the controller runs with --node-trust-mode=uninstall: agents remove all that they wrote on the nodes, \
                     and registries are trusted again when it runs without";
        return early(Verdict::no(reason::NOT_ALLOWED, words));
    }
    let refusals = snapshot.refusals.get(key).map_or(&[][..], Vec::as_slice);
    let Some((written, entry)) = snapshot.written.as_ref().and_then(|written| {
        let entry = find(&written.desired.registries, key)?;
        Some((written, entry))
    }) else {
        let verdict = refused(refusals).unwrap_or_else(|| {
            let words = "the list of what nodes trust is being written";
            Verdict::no(reason::PROGRESSING, words)
        });
        return Opinion { provisional: !snapshot.looked, ..early(verdict) };
    };
    let Some(observation) = snapshot.observation.as_ref().filter(|observation| observation.hash == written.hash) else {
        return pending(snapshot, key, entry);
    };
    let settled = snapshot.settled.as_ref().and_then(|settled| find(&settled.registries, key));
    // Agents restart for every change of the list. Nodes keep what they have meanwhile, so a registry whose entry is the
    // same as before is trusted all the time.
    let unaffected = observation.fresh && settled == Some(entry);
    let faults = faults(observation, key, trusted_before);
    let lacking = observation.without_pod + i32::try_from(faults.len()).unwrap_or(i32::MAX);
    let lost = i32::try_from(faults.iter().filter(|fault| fault.lost).count()).unwrap_or(i32::MAX);
    let everywhere = lacking == 0;
    let enough = everywhere || (lacking == lost && lacking < observation.desired);
    let lacking = if unaffected { 0 } else { lacking };
    let nodes = nodes(observation.desired - lacking, observation.desired);
    let verdict = if lacking == 0 {
        refused(refusals).unwrap_or_else(|| trusted(&nodes))
    } else {
        lacking_nodes(&faults, observation.without_pod, &nodes, refusals)
    };
    Opinion { verdict, nodes: Some(nodes), everywhere, enough, provisional: false }
}

fn early(verdict: Verdict) -> Opinion {
    Opinion { verdict, nodes: None, everywhere: false, enough: false, provisional: false }
}

/// Nothing was seen of the newest list yet.
fn pending(snapshot: &Snapshot, key: &Key, entry: &TrustedRegistry) -> Opinion {
    let settled = snapshot.settled.as_ref().and_then(|settled| find(&settled.registries, key));
    let refusals = snapshot.refusals.get(key).map_or(&[][..], Vec::as_slice);
    if settled != Some(entry) {
        let verdict = Verdict::no(reason::PROGRESSING, "agents on the nodes are being told of the registry");
        return Opinion { provisional: snapshot.observation.is_none(), ..early(verdict) };
    }
    // The list that is settled is older than the one that was seen last, so its numbers are those of before.
    let nodes = snapshot.observation.as_ref().map(|observation| nodes(observation.desired, observation.desired));
    let verdict = refused(refusals).unwrap_or_else(|| match &nodes {
        Some(nodes) => trusted(nodes),
        None => Verdict::yes(reason::SUCCEEDED, "all nodes trust the registry"),
    });
    Opinion { nodes, ..early(verdict) }
}

fn find<'a>(entries: &'a [TrustedRegistry], key: &Key) -> Option<&'a TrustedRegistry> {
    entries.iter().find(|entry| entry.namespace == key.namespace && entry.name == key.name)
}

fn nodes(trusted: i32, desired: i32) -> NodesStatus {
    let trusted = trusted.max(0);
    NodesStatus { trusted, desired, summary: format!("{trusted}/{desired}"), trusted_since: None }
}

fn trusted(nodes: &NodesStatus) -> Verdict {
    let words = format!("{} nodes trust the registry", nodes.summary);
    Verdict::yes(reason::SUCCEEDED, words)
}

fn refused(refusals: &[Refusal]) -> Option<Verdict> {
    let first = refusals.first()?;
    let words: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
    Some(Verdict::no(first.reason, words.join("; ")))
}

fn faults(observation: &Observation, key: &Key, trusted_before: bool) -> Vec<Fault> {
    observation.agents.iter().filter_map(|agent| fault(agent, observation, key, trusted_before)).collect()
}

fn fault(agent: &Agent, observation: &Observation, key: &Key, trusted_before: bool) -> Option<Fault> {
    let (reason, words) = match &agent.state {
        AgentState::Starting => (reason::PROGRESSING, "its agent is starting".to_owned()),
        AgentState::Silent if trusted_before => {
            (reason::DEPENDENCY_NOT_READY, "its agent doesn't answer: is the node up?".to_owned())
        }
        AgentState::Lost => {
            (reason::DEPENDENCY_NOT_READY, "its agent hasn't answered for minutes: is the node up?".to_owned())
        }
        AgentState::Silent => (reason::PROGRESSING, "its agent doesn't answer yet".to_owned()),
        AgentState::Reported(report) if report.hash != observation.hash => {
            (reason::PROGRESSING, "its agent waits for the newest list".to_owned())
        }
        AgentState::Reported(report) => {
            let problem = report.problems.iter().find(|problem| concerns(problem, key))?;
            (word(problem.reason), problem.message.clone())
        }
    };
    Some(Fault { node: agent.node.clone(), reason, words, lost: agent.state == AgentState::Lost })
}

/// Whether a problem is about this registry, or about all.
fn concerns(problem: &Problem, key: &Key) -> bool {
    match (&problem.namespace, &problem.name) {
        (Some(namespace), Some(name)) => *namespace == key.namespace && *name == key.name,
        _ => true,
    }
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Progressing => reason::PROGRESSING,
        Reason::ConfigPathUnset => reason::CONFIG_PATH_UNSET,
        Reason::NameTaken => reason::NAME_TAKEN,
        Reason::WriteFailed | Reason::Unreachable => reason::PROGRESSING_WITH_RETRY,
    }
}

/// What needs somebody to act goes first.
fn weight(reason: &str) -> u8 {
    match reason {
        reason::CONFIG_PATH_UNSET => 0,
        reason::NAME_TAKEN => 1,
        reason::DEPENDENCY_NOT_READY => 2,
        reason::PROGRESSING_WITH_RETRY => 3,
        _ => 4,
    }
}

fn lacking_nodes(faults: &[Fault], without_pod: i32, nodes: &NodesStatus, refusals: &[Refusal]) -> Verdict {
    let mut sorted: Vec<&Fault> = faults.iter().collect();
    sorted.sort_by_key(|fault| (weight(fault.reason), &fault.node));
    let reason = sorted.first().map_or(reason::PROGRESSING, |fault| fault.reason);
    let lost = faults.iter().filter(|fault| fault.lost).count();
    let lost = if lost > 0 { format!(", {lost} can't be reached") } else { String::new() };
    let mut parts = vec![format!("{} nodes trust the registry{lost}", nodes.summary)];
    parts.extend(sorted.iter().take(NAMED).map(|fault| format!("node {}: {}", fault.node, fault.words)));
    if sorted.len() > NAMED {
        parts.push(format!("and {} more nodes", sorted.len() - NAMED));
    }
    if without_pod > 0 {
        parts.push(format!("{without_pod} without an agent yet"));
    }
    parts.extend(refusals.iter().map(|refusal| refusal.message.clone()));
    Verdict::no(reason, parts.join("; "))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use node_trust::{desired::Desired, report::Report};

    use super::{super::Written, *};
    use crate::condition::Status;

    fn key(name: &str) -> Key {
        Key { namespace: "apps".into(), name: name.into() }
    }

    fn entry(name: &str) -> TrustedRegistry {
        TrustedRegistry {
            namespace: "apps".into(),
            name: name.into(),
            hosts: vec![format!("{name}.apps.svc")],
            mirrors: Vec::new(),
            addresses: vec!["10.96.0.7".into()],
            port: 443,
            ca_bundle: "PEM".into(),
        }
    }

    fn agent(node: &str, state: AgentState) -> Agent {
        Agent { node: node.into(), state }
    }

    fn problem(name: Option<&str>, reason: Reason) -> AgentState {
        AgentState::Reported(Report {
            node: "n".into(),
            hash: "h2".into(),
            ready: false,
            problems: vec![Problem {
                namespace: name.map(|_| "apps".into()),
                name: name.map(Into::into),
                host: None,
                reason,
                message: "the words".into(),
            }],
        })
    }

    fn snapshot(agents: Vec<Agent>) -> Snapshot {
        Snapshot {
            written: Some(Written {
                desired: Desired { registries: vec![entry("a"), entry("b")] },
                hash: "h2".into(),
                since: Instant::now(),
            }),
            observation: Some(Observation { hash: "h2".into(), desired: 3, agents, without_pod: 0, fresh: false }),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_problem_of_another_registry_is_not_this_ones() {
        let seen = snapshot(vec![agent("n1", problem(Some("b"), Reason::Unreachable))]);
        let ours = opinion(&seen, &key("a"), false);
        assert_eq!(ours.verdict.status, Status::True);
        assert_eq!(ours.nodes.unwrap().summary, "3/3");
        assert!(ours.everywhere);
        let theirs = opinion(&seen, &key("b"), false);
        assert_eq!(theirs.verdict.reason, reason::PROGRESSING_WITH_RETRY);
        assert_eq!(theirs.nodes.unwrap().summary, "2/3");
    }

    #[test]
    fn a_problem_of_the_whole_node_concerns_every_registry() {
        let seen = snapshot(vec![agent("n1", problem(None, Reason::ConfigPathUnset))]);
        for name in ["a", "b"] {
            let verdict = opinion(&seen, &key(name), true).verdict;
            assert_eq!(verdict.reason, reason::CONFIG_PATH_UNSET);
            assert!(verdict.message.contains("node n1: the words"));
        }
    }

    #[test]
    fn a_silent_agent_is_a_lost_node_only_after_every_node_was_there_once() {
        let seen = snapshot(vec![agent("n1", AgentState::Silent)]);
        let reason_of = |before| opinion(&seen, &key("a"), before).verdict.reason;
        assert_eq!(reason_of(false), reason::PROGRESSING);
        assert_eq!(reason_of(true), reason::DEPENDENCY_NOT_READY);
    }

    #[test]
    fn nodes_that_are_lost_are_counted_and_not_waited_for() {
        let seen = snapshot(vec![agent("n1", AgentState::Lost)]);
        let ours = opinion(&seen, &key("a"), false);
        assert_eq!((ours.verdict.status, ours.verdict.reason), (Status::False, reason::DEPENDENCY_NOT_READY));
        assert!(ours.verdict.message.starts_with("2/3 nodes trust the registry, 1 can't be reached; node n1: "));
        assert!(ours.enough && !ours.everywhere);
        for waited_for in [AgentState::Starting, AgentState::Silent, problem(None, Reason::ConfigPathUnset)] {
            let seen = snapshot(vec![agent("n1", AgentState::Lost), agent("n2", waited_for)]);
            assert!(!opinion(&seen, &key("a"), false).enough);
        }
        let mut seen = snapshot(vec![agent("n1", AgentState::Lost)]);
        if let Some(observation) = &mut seen.observation {
            observation.without_pod = 1;
        }
        assert!(!opinion(&seen, &key("a"), false).enough);
    }

    #[test]
    fn with_all_nodes_lost_none_trusts_the_registry() {
        let agents = ["n1", "n2", "n3"].map(|node| agent(node, AgentState::Lost)).to_vec();
        assert!(!opinion(&snapshot(agents), &key("a"), false).enough);
    }

    #[test]
    fn after_a_start_there_is_no_opinion_until_something_was_seen() {
        assert!(opinion(&Snapshot::default(), &key("a"), true).provisional);
        let mut seen = snapshot(Vec::new());
        seen.looked = true;
        seen.observation = None;
        assert!(opinion(&seen, &key("a"), true).provisional);
        assert!(!opinion(&seen, &key("unlisted"), true).provisional);
        seen.observation = snapshot(Vec::new()).observation;
        assert!(!opinion(&seen, &key("a"), true).provisional);
        // Another list since, so there was something to see before.
        if let Some(written) = &mut seen.written {
            written.hash = "h3".into();
        }
        assert!(!opinion(&seen, &key("a"), true).provisional);
    }

    #[test]
    fn while_agents_uninstall_no_registry_is_trusted() {
        let seen = Snapshot { uninstalling: true, ..snapshot(Vec::new()) };
        let ours = opinion(&seen, &key("a"), true);
        assert_eq!((ours.verdict.status, ours.verdict.reason), (Status::False, reason::NOT_ALLOWED));
        assert!(!ours.everywhere && !ours.enough);
    }

    #[test]
    fn at_most_five_nodes_are_named() {
        let agents = (0..9).map(|n| agent(&format!("n{n}"), AgentState::Silent)).collect();
        let message = opinion(&snapshot(agents), &key("a"), true).verdict.message;
        assert!(message.contains("node n4:") && !message.contains("node n5:"));
        assert!(message.contains("and 4 more nodes"));
    }

    #[test]
    fn while_agents_restart_for_another_registry_the_first_stays_trusted() {
        let mut seen = snapshot(vec![agent("n1", AgentState::Starting)]);
        seen.settled = Some(Desired { registries: vec![entry("a")] });
        if let Some(observation) = &mut seen.observation {
            observation.fresh = true;
        }
        let first = opinion(&seen, &key("a"), true);
        assert_eq!(first.verdict.status, Status::True);
        assert!(!first.everywhere);
        assert_eq!(opinion(&seen, &key("b"), false).verdict.status, Status::False);
        seen.observation = None;
        assert_eq!(opinion(&seen, &key("a"), true).verdict.status, Status::True);
    }

    #[test]
    fn a_refused_mirror_is_said_although_all_nodes_trust_the_host() {
        let mut seen = snapshot(Vec::new());
        seen.refusals.insert(
            key("a"),
            vec![Refusal {
                name: "docker.io".into(),
                reason: reason::NOT_ALLOWED,
                message: "mirrors are not allowed".into(),
            }],
        );
        let ours = opinion(&seen, &key("a"), false);
        assert_eq!(ours.verdict.status, Status::False);
        assert_eq!(ours.verdict.reason, reason::NOT_ALLOWED);
        assert!(ours.everywhere);
        assert_eq!(opinion(&seen, &key("b"), false).verdict.status, Status::True);
    }

    #[test]
    fn what_keeps_the_list_from_being_written_is_said() {
        let seen = Snapshot { failure: Some("no such namespace".into()), ..Snapshot::default() };
        let verdict = opinion(&seen, &key("a"), false).verdict;
        assert_eq!(verdict.reason, reason::PROGRESSING_WITH_RETRY);
        assert_eq!(verdict.message, "no such namespace");
    }
}
