//! What the serving pods say of their storage: each by itself, or one of them through the Service.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use api::ServerCondition;
use crds::PackageRegistry;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use reqwest::StatusCode;

use super::build::deployment::ADMIN_PORT;
use crate::{body, context::Context, error::chain};

/// Type of a server's condition about its storage.
const STORAGE: &str = "Storage";

/// What a pod says of its storage; `None` in it: nothing.
pub type StorageReport = Option<ServerCondition>;

/// Longest time for an answer of a pod.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer of a pod, in bytes.
const LONGEST: usize = 64 << 10;

/// What the server says that the Service happens to choose; `None` when it can't be asked, say because no pod serves.
pub(super) async fn of_service(registry: &PackageRegistry, context: &Context) -> Option<StorageReport> {
    let asked = async {
        let server = context.servers.connect(&context.client, &context.tokens, registry).await?;
        server.status().await.map(|status| status.conditions.into_iter().find(|found| found.kind == STORAGE))
    };
    asked.await.inspect_err(|error| tracing::debug!("the storage's state is unknown: {}", chain(error))).ok()
}

/// What is said by those of the pods that can be asked and that are those of `deployment`, not only labelled like them: a complaint
/// where there is one, since each has its own credentials (a changed Secret reaches one node a minute after another) and its own
/// clock. `None` where none of them gives an answer.
pub(super) async fn of_pods(pods: &[Pod], deployment: &str) -> Option<StorageReport> {
    let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().tls_certs_only(None).build().ok()?;
    let staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_of(pod, deployment));
    let answers = join_all(staying.filter_map(address).map(|address| ask(&http, address))).await;
    worst(answers.into_iter().flatten())
}

/// One pod that can't use its storage says more than others that can.
fn worst(reports: impl Iterator<Item = StorageReport>) -> Option<StorageReport> {
    reports.min_by_key(|report| report.as_ref().is_none_or(|finding| finding.ok))
}

/// Whether a `ReplicaSet` of that Deployment controls the pod, by its name: the Deployment's and a hash behind it.
fn is_of(pod: &Pod, deployment: &str) -> bool {
    pod.owner_references().iter().any(|owner| {
        let hash = owner.name.strip_prefix(deployment).and_then(|rest| rest.strip_prefix('-'));
        owner.controller == Some(true)
            && owner.kind == "ReplicaSet"
            && hash.is_some_and(|hash| !hash.is_empty() && !hash.contains('-'))
    })
}

fn address(pod: &Pod) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(ADMIN_PORT).ok()?))
}

async fn ask(http: &reqwest::Client, address: SocketAddr) -> Option<StorageReport> {
    let answer = http.get(format!("http://{address}/readyz")).send().await.ok()?;
    let status = answer.status();
    reading(status, &body::beginning(answer, LONGEST).await)
}

/// The line `storage: <word>: <message>` of a server's `/readyz`. One that is ready and has no such line finds no fault; one
/// that isn't may not have looked yet.
fn reading(status: StatusCode, body: &str) -> Option<StorageReport> {
    let complaint = body.lines().find_map(|line| line.strip_prefix("storage: ")?.split_once(": "));
    match complaint {
        Some((word, message)) => Some(Some(ServerCondition {
            kind: STORAGE.to_owned(),
            ok: false,
            reason: word.to_owned(),
            message: message.to_owned(),
        })),
        None => status.is_success().then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_says_what_is_wrong_with_its_storage_whether_it_is_ready_or_not() {
        let complaint = "starting or stopping\nstorage: ClockSkew: the clocks differ: 20 min\n";
        for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK] {
            let finding = reading(status, complaint).unwrap().unwrap();
            assert_eq!((finding.ok, finding.reason.as_str()), (false, "ClockSkew"));
            assert_eq!(finding.message, "the clocks differ: 20 min");
        }
        assert_eq!(reading(StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n"), None);
        assert_eq!(reading(StatusCode::OK, "ok\n"), Some(None));
    }

    #[test]
    fn one_pod_that_can_not_use_its_storage_is_heard_beside_others_that_can() {
        let complaint = reading(StatusCode::OK, "ok\nstorage: SecretInvalid: refused\n").unwrap();
        for reports in [[None, complaint.clone(), None], [complaint.clone(), None, None]] {
            assert_eq!(worst(reports.into_iter()), Some(complaint.clone()));
        }
        assert_eq!(worst([None, None].into_iter()), Some(None));
        assert_eq!(worst([].into_iter()), None);
    }

    #[tokio::test]
    async fn pods_that_give_no_answer_are_passed_over() {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pod = pod("ReplicaSet", "registry-5d4f", Some(true));
        assert_eq!(of_pods(&[pod, Pod::default()], "registry").await, None);
    }

    fn pod(kind: &str, owner: &str, controller: Option<bool>) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"ownerReferences": [
                {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u", "controller": controller}
            ]},
            "status": {"podIP": "127.0.0.1"}
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_that_only_has_the_labels_is_not_asked() {
        assert!(is_of(&pod("ReplicaSet", "registry-5d4f", Some(true)), "registry"));
        for stranger in [
            Pod::default(),
            pod("ReplicaSet", "registry-5d4f", None),
            pod("StatefulSet", "registry-5d4f", Some(true)),
            pod("ReplicaSet", "registry", Some(true)),
            pod("ReplicaSet", "registry-other-5d4f", Some(true)),
            pod("ReplicaSet", "other-5d4f", Some(true)),
        ] {
            assert!(!is_of(&stranger, "registry"), "{:?}", stranger.metadata);
        }
    }
}
