//! The `ServingReady` condition: from the Deployment, and from its pods while it isn't available. Pure.

use crds::{InstancesStatus, reason};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod, Service},
};

use super::outcome;
use crate::{condition::Verdict, error::chain, registry::apply::Outcome};

/// What they mean.
#[must_use]
pub fn verdict(
    service: &Outcome<Service>,
    identity: &Outcome<()>,
    deployment: &Outcome<Deployment>,
    budget: &Outcome<()>,
    pods: &[Pod],
) -> Verdict {
    let deployment = match (service, identity, deployment) {
        (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => {
            return outcome::verdict(error);
        }
        (Ok(_), Ok(()), Ok(deployment)) => deployment,
    };
    let numbers = instances(deployment);
    if is_available(deployment) {
        let mut words = format!("{} of {} pods serve", numbers.ready, numbers.desired);
        if let Err(error) = budget {
            words = format!("{words}; all of them may be evicted at once: {}", chain(error));
        }
        return Verdict::yes(reason::SUCCEEDED, words);
    }
    if let Some(trouble) = replica_failure(deployment) {
        return Verdict::no(reason::PROGRESSING_WITH_RETRY, trouble);
    }
    match pods.iter().find_map(trouble) {
        Some(trouble) => Verdict::no(reason::PROGRESSING_WITH_RETRY, trouble),
        None => Verdict::no(reason::PROGRESSING, format!("{} of {} pods serve", numbers.ready, numbers.desired)),
    }
}

/// Whether the newest pods serve, all of them.
#[must_use]
pub fn is_available(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else {
        return false;
    };
    let desired = instances(deployment).desired;
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or_default() >= desired
        && status.available_replicas.unwrap_or_default() >= desired
        && status.replicas.unwrap_or_default() <= desired
}

/// Numbers of pods.
#[must_use]
pub fn instances(deployment: &Deployment) -> InstancesStatus {
    let status = deployment.status.as_ref();
    InstancesStatus {
        ready: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
        desired: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
    }
}

/// Why no pod could be made, say for a quota.
fn replica_failure(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure =
        conditions.iter().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    Some(format!("no pod can be made: {}", failure.message.as_deref().unwrap_or_default()))
}

/// What keeps a pod from serving, in words.
fn trouble(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    let unscheduled =
        status.conditions.iter().flatten().find(|condition| {
            condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
        });
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().unwrap_or_default();
        return Some(format!("no node takes pod {name}: {why}"));
    }
    let troubled = status.container_statuses.iter().flatten();
    troubled.filter_map(container_trouble).map(|why| format!("pod {name}: {why}")).next()
}

fn container_trouble(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let why = waiting.reason.as_deref()?;
    if matches!(why, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(|ended| {
        let words = ended.message.as_deref().unwrap_or_default().trim();
        format!("; it ended with code {}: {words}", ended.exit_code)
    });
    Some(format!("{why}: {}{}", waiting.message.as_deref().unwrap_or_default(), last.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::condition::Status;

    fn deployment(available: i32, updated: i32, replicas: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "registry", "generation": 4},
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": {"observedGeneration": 4, "availableReplicas": available, "readyReplicas": available,
                "updatedReplicas": updated, "replicas": replicas}
        }))
        .unwrap()
    }

    fn say(deployment: Deployment, pods: &[Pod]) -> Verdict {
        verdict(&Ok(Service::default()), &Ok(()), &Ok(deployment), &Ok(()), pods)
    }

    fn pod(status: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    #[test]
    fn only_the_newest_pods_count() {
        assert_eq!(say(deployment(1, 1, 1), &[]).status, Status::True);
        assert_eq!(say(deployment(1, 0, 1), &[]).reason, reason::PROGRESSING);
        assert_eq!(say(deployment(1, 1, 2), &[]).reason, reason::PROGRESSING);
        assert_eq!(say(deployment(0, 1, 1), &[]).reason, reason::PROGRESSING);
    }

    #[test]
    fn a_pod_that_can_not_start_says_why() {
        let cases = [
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}]}),
                "no node takes pod p: 0/2 nodes",
            ),
            (
                json!({"containerStatuses": [{"name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}),
                "pod p: ImagePullBackOff: no such image",
            ),
            (
                json!({"containerStatuses": [{"name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {"exitCode": 1, "message": "the storage is locked\n"}}}]}),
                "pod p: CrashLoopBackOff: back-off; it ended with code 1: the storage is locked",
            ),
        ];
        for (status, expected) in cases {
            let said = say(deployment(0, 1, 1), &[pod(&status)]);
            assert_eq!(said.message, expected);
            assert_eq!(said.reason, reason::PROGRESSING_WITH_RETRY);
        }
    }

    #[test]
    fn a_service_of_somebody_else_holds_serving_back() {
        let taken = crate::apply::Error::NameTaken { kind: "Service".into(), name: "registry".into() };
        let said = verdict(&Err(taken), &Ok(()), &Ok(deployment(1, 1, 1)), &Ok(()), &[]);
        assert_eq!(said.reason, reason::NAME_TAKEN);
        assert!(said.message.contains("Service registry"));
    }

    #[test]
    fn pods_that_no_budget_protects_serve_and_it_is_said() {
        let taken = || crate::apply::Error::NameTaken { kind: "PodDisruptionBudget".into(), name: "registry".into() };
        let said = verdict(&Ok(Service::default()), &Ok(()), &Ok(deployment(1, 1, 1)), &Err(taken()), &[]);
        assert_eq!(said.status, Status::True);
        assert!(
            said.message.starts_with("1 of 1 pods serve; all of them may be evicted at once: "),
            "{}",
            said.message
        );
        assert!(said.message.contains("PodDisruptionBudget registry"), "{}", said.message);
    }
}
