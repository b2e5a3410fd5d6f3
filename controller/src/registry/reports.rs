//! What the serving pods say of their storage: through the Service, and from each pod that isn't behind it yet.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crds::PackageRegistry;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use reqwest::StatusCode;

use super::build::deployment::ADMIN_PORT;
use crate::{
    context::Context,
    error::chain,
    server_client::{ServerCondition, StorageReport},
};

/// Longest time for an answer of a pod.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the registry's server says; `None` when it can't be asked, say because no pod serves.
pub(super) async fn of_service(registry: &PackageRegistry, context: &Context) -> Option<StorageReport> {
    let asked = async {
        let server = context.servers.connect(&context.client, &context.tokens, registry).await?;
        server.storage_report().await
    };
    asked.await.inspect_err(|error| tracing::debug!("the storage's state is unknown: {}", chain(error))).ok()
}

/// What pods say that run and don't serve; `None` where none of them gives an answer.
pub(super) async fn of_pods(pods: &[Pod]) -> Option<StorageReport> {
    let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().tls_certs_only(None).build().ok()?;
    let answers = join_all(pods.iter().filter_map(address).map(|address| ask(&http, address))).await;
    let mut answers: Vec<StorageReport> = answers.into_iter().flatten().collect();
    // One pod that can't use its storage says more than another one that starts.
    answers.sort_by_key(|report| report.storage().is_none_or(|finding| finding.ok));
    answers.into_iter().next()
}

fn address(pod: &Pod) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(ADMIN_PORT).ok()?))
}

/// A pod that is ready has no fault to find; one that isn't may say why.
async fn ask(http: &reqwest::Client, address: SocketAddr) -> Option<StorageReport> {
    let answer = http.get(format!("http://{address}/readyz")).send().await.ok()?;
    let status = answer.status();
    let body = answer.text().await.ok()?;
    reading(status, &body)
}

fn reading(status: StatusCode, body: &str) -> Option<StorageReport> {
    if let Ok(report) = serde_json::from_str::<StorageReport>(body) {
        return Some(report);
    }
    let finding = ServerCondition { type_: "Storage".into(), ok: true, ..ServerCondition::default() };
    status.is_success().then(|| StorageReport { conditions: vec![finding] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_not_ready_says_why_or_nothing() {
        let told = r#"{"conditions": [{"type": "Storage", "ok": false, "reason": "ClockSkew", "message": "20 min"}]}"#;
        let report = reading(StatusCode::SERVICE_UNAVAILABLE, told).unwrap();
        assert_eq!(report.storage().unwrap().reason, "ClockSkew");
        assert_eq!(reading(StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n"), None);
        assert!(reading(StatusCode::OK, "ok\n").unwrap().storage().unwrap().ok);
    }

    #[tokio::test]
    async fn pods_that_give_no_answer_are_passed_over() {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pod = serde_json::from_value(serde_json::json!({"status": {"podIP": "127.0.0.1"}})).unwrap();
        assert_eq!(of_pods(&[pod, Pod::default()]).await, None);
    }
}
