//! Waiting for a registry to become Ready, saying what it waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{PackageRegistry, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::Api;
use snafu::{ResultExt, Snafu};

use super::PAUSE;
use crate::http::{PATIENT_ATTEMPTS, chain, repeat};
use crate::output::message;

/// Why a registry is not Ready.
#[derive(Debug, Snafu)]
pub enum WaitError {
    /// The cluster does not answer.
    #[snafu(display("PackageRegistry {name}: {}", chain(source)))]
    Kubernetes {
        /// Which.
        name: String,
        /// What it says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// Nothing will change until somebody acts.
    #[snafu(display("PackageRegistry {name}: {reason}"))]
    Stalled {
        /// Which.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// It takes too long.
    #[snafu(display("PackageRegistry {name} is not Ready after {} seconds: {reason}", limit.as_secs()))]
    Late {
        /// Which.
        name: String,
        /// What holds it back.
        reason: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Waits, and prints each condition when it changes. An API server that restarts meanwhile is waited for, too.
pub async fn until_ready(
    registries: &Api<PackageRegistry>,
    name: &str,
    limit: Duration,
) -> Result<PackageRegistry, WaitError> {
    let mut said = BTreeMap::new();
    let mut reason = "the operator has not looked at it yet".to_owned();
    let waiting = async {
        loop {
            let registry = repeat(PATIENT_ATTEMPTS, async || registries.get(name).await).await;
            let registry = registry.context(KubernetesSnafu { name })?;
            let status = registry.status.clone().unwrap_or_default();
            if status.observed_generation == registry.metadata.generation {
                for line in news(&mut said, &status.conditions) {
                    message(&line);
                }
                let is = |type_: &str| status.conditions.iter().find(|it| it.type_ == type_ && it.status == "True");
                if is(condition::READY).is_some() {
                    return Ok(registry);
                }
                if let Some(stalled) = is(condition::STALLED) {
                    return StalledSnafu { name, reason: stalled.message.clone() }.fail();
                }
                if let Some(ready) = status.conditions.iter().find(|it| it.type_ == condition::READY) {
                    reason.clone_from(&ready.message);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(limit, waiting).await;
    waited.unwrap_or_else(|_| LateSnafu { name, reason, limit }.fail())
}

/// What changed since the last time: `NodesTrusted False: 1/2 nodes`.
fn news(said: &mut BTreeMap<String, String>, conditions: &[Condition]) -> Vec<String> {
    let mut lines = Vec::new();
    for condition in conditions {
        let line = format!("{:<17} {:<7} {}", condition.type_, condition.status, condition.message);
        if said.insert(condition.type_.clone(), line.clone()).as_ref() != Some(&line) {
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_said_again_only_when_it_changed() {
        let condition = |status: &str| {
            let text = format!(
                r#"{{"type":"StorageReady","status":"{status}","reason":"x","message":"m","lastTransitionTime":"2026-01-01T00:00:00Z"}}"#
            );
            serde_json::from_str::<Condition>(&text).unwrap()
        };
        let mut said = BTreeMap::new();
        assert_eq!(news(&mut said, &[condition("False")]), ["StorageReady      False   m"]);
        assert!(news(&mut said, &[condition("False")]).is_empty());
        assert_eq!(news(&mut said, &[condition("True")]).len(), 1);
    }
}
