//! The one writer of the ConfigMap and the DaemonSet.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crds::PackageRegistry;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::ConfigMap};
use kube::{Api, runtime::reflector::Store};
use node_trust::desired::{CONFIG_KEY, Desired};
use snafu::{ResultExt, Snafu};

use super::{
    Key, NAME, Snapshot, Trust, Written,
    agents::Mode,
    build,
    plan::{self, Plan, Refusal},
};
use crate::{apply, context::Context, error::chain};

/// Changes that come together are written together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Time until the next look when nothing happens.
const RESYNC: Duration = Duration::from_mins(1);
/// Time until the next attempt after a failure.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, Snafu)]
enum Error {
    #[snafu(display(
        "the namespace {namespace} of the node trust agents is missing, or the operator's Role in it: apply the operator's \
         manifests again (the API server says: {answer})"
    ))]
    OutOfReach { namespace: String, answer: String },
    #[snafu(display("node trust can't be read from namespace {namespace}"))]
    Read { namespace: String, source: Box<kube::Error> },
    #[snafu(display("node trust can't be written"))]
    Write { source: apply::Error },
    #[snafu(display("node trust can't be read or written: the API server gave no answer for {} s", after.as_secs()))]
    TimedOut { after: Duration },
    #[snafu(display("the list of what nodes trust has no JSON form"))]
    Form { source: serde_json::Error },
}

/// Writes what all registries ask for, whenever that changes and whenever somebody else has changed it. Never ends.
/// `registries` is the store whose changes ring.
pub async fn run(context: Arc<Context>, trust: Arc<Trust>, registries: Store<PackageRegistry>) {
    // A pass over any registry means that the store is filled. It must not be waited for here: it wakes only one of those
    // who wait, and that is the controller. Where there is no registry at all, an empty store is the truth.
    while registries.state().is_empty() && !context.registries.state().is_empty() {
        let _ = tokio::time::timeout(Duration::from_secs(1), trust.rung()).await;
    }
    loop {
        let longest = context.longest_pass;
        let pass = tokio::time::timeout(longest, Box::pin(pass(&context, &trust, &registries))).await;
        let wait = match pass.unwrap_or_else(|_| TimedOutSnafu { after: longest }.fail()) {
            Ok(()) => RESYNC,
            Err(error) => {
                let failure = chain(&error);
                let out_of_reach = matches!(error, Error::OutOfReach { .. });
                tracing::warn!("node trust: {failure}");
                trust.update(|snapshot| {
                    let changed = snapshot.failure.as_ref() != Some(&failure);
                    snapshot.failure = Some(failure);
                    snapshot.out_of_reach = out_of_reach;
                    changed
                });
                RETRY
            }
        };
        // A ring or the end of the wait: both mean to look again.
        let _ = tokio::time::timeout(wait, trust.rung()).await;
        tokio::time::sleep(DEBOUNCE).await;
    }
}

async fn pass(context: &Context, trust: &Trust, registries: &Store<PackageRegistry>) -> Result<(), Error> {
    let namespace = context.settings.node_trust_namespace.as_str();
    let config_maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let daemon_sets: Api<DaemonSet> = Api::namespaced(context.client.clone(), namespace);
    let (config_map, daemon_set) = tokio::try_join!(config_maps.get_opt(NAME), daemon_sets.get_opt(NAME))
        .map_err(|source| unreadable(source, namespace))?;
    let before = config_map.as_ref().and_then(content_of);

    let registries = registries.state();
    let mode = context.agents.mode;
    let wanted = match mode {
        Mode::Run => plan::plan(registries.iter().map(AsRef::as_ref), &context.settings, before.as_ref()),
        Mode::Uninstall => Plan::default(),
    };
    let untouched = config_map.is_none() && daemon_set.is_none();
    let needed = is_needed(mode, &wanted, untouched);
    let Plan { desired, refusals } = wanted;
    let written = if needed {
        let (text, hash) = build::content(&desired).context(FormSnafu)?;
        // The content first: an agent of the new hash waits for it, one of the old hash must not see a new template.
        let wanted = build::config_map(text, &context.settings);
        apply::apply_read(&config_maps, &wanted, config_map).await.map_err(|error| unwritable(error, namespace))?;
        let wanted = build::daemon_set(&hash, &context.settings, &context.agents);
        apply::apply_read(&daemon_sets, &wanted, daemon_set).await.map_err(|error| unwritable(error, namespace))?;
        Some((desired, hash))
    } else {
        None
    };
    trust.update(|snapshot| {
        snapshot.uninstalling = mode == Mode::Uninstall;
        record(snapshot, written, refusals)
    });
    Ok(())
}

/// Whether there must be agents. Before the first registry there are none; to uninstall they are made in any case, since nodes
/// may have files although somebody took the agents away. Pure.
fn is_needed(mode: Mode, wanted: &Plan, untouched: bool) -> bool {
    mode == Mode::Uninstall || !untouched || !wanted.desired.registries.is_empty()
}

/// Notes what was written; true when that is news.
fn record(snapshot: &mut Snapshot, written: Option<(Desired, String)>, refusals: BTreeMap<Key, Vec<Refusal>>) -> bool {
    let old = snapshot.written.as_ref().map(|written| &written.hash);
    let same_hash = old == written.as_ref().map(|(_, hash)| hash);
    let same = same_hash && snapshot.looked && snapshot.failure.is_none() && snapshot.refusals == refusals;
    if !same_hash {
        snapshot.written = written.map(|(desired, hash)| Written { desired, hash, since: Instant::now() });
    }
    snapshot.refusals = refusals;
    snapshot.looked = true;
    snapshot.failure = None;
    snapshot.out_of_reach = false;
    !same
}

fn content_of(config_map: &ConfigMap) -> Option<Desired> {
    serde_json::from_str(config_map.data.as_ref()?.get(CONFIG_KEY)?).ok()
}

fn unreadable(error: kube::Error, namespace: &str) -> Error {
    out_of_reach(&error, namespace)
        .unwrap_or_else(|| Error::Read { namespace: namespace.to_owned(), source: Box::new(error) })
}

fn unwritable(error: apply::Error, namespace: &str) -> Error {
    let out_of_reach = match &error {
        apply::Error::Call { source, .. } => out_of_reach(source, namespace),
        _ => None,
    };
    out_of_reach.unwrap_or(Error::Write { source: error })
}

/// An apply answers 404 only when the namespace is missing. The Role goes with the namespace, and then the answer is 403.
fn out_of_reach(error: &kube::Error, namespace: &str) -> Option<Error> {
    match error {
        kube::Error::Api(status) if status.is_not_found() || status.is_forbidden() => {
            let answer = status.message.as_str();
            Some(OutOfReachSnafu { namespace, answer }.build())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_come_with_the_first_registry_stay_after_the_last_and_come_to_uninstall() {
        let none = Plan::default();
        assert!(!is_needed(Mode::Run, &none, true));
        assert!(is_needed(Mode::Run, &none, false));
        assert!(is_needed(Mode::Uninstall, &none, true));
    }
}
