//! The `NodesTrusted` condition and the numbers beside it. Pure.

use crds::{NodesStatus, PackageRegistryStatus, condition::NODES_TRUSTED, reason};
use jiff::Timestamp;

use super::ready::Nodes;
use crate::{
    condition::{self, Status, Verdict},
    trust::verdict::Opinion,
};

/// Reasons that the condition may have.
const REASONS: [&str; 7] = [
    reason::SUCCEEDED,
    reason::PROGRESSING,
    reason::PROGRESSING_WITH_RETRY,
    reason::NOT_ALLOWED,
    reason::NAME_TAKEN,
    reason::CONFIG_PATH_UNSET,
    reason::DEPENDENCY_NOT_READY,
];

/// What the condition becomes. While nothing was seen since the start of this process it stays what it was.
#[must_use]
pub fn part(before: &PackageRegistryStatus, opinion: &Opinion) -> Nodes {
    let stands = if opinion.provisional { of_before(before) } else { None };
    Nodes {
        stands: stands.is_some(),
        verdict: stands.unwrap_or_else(|| opinion.verdict.clone()),
        required: !trusted_before(before) && !opinion.enough,
    }
}

/// The numbers; while nobody knows better, those of before.
#[must_use]
pub fn numbers(before: &PackageRegistryStatus, opinion: &Opinion, now: Timestamp) -> Option<NodesStatus> {
    let mut nodes = opinion.nodes.clone().or_else(|| before.nodes.clone())?;
    let succeeded = opinion.enough || opinion.verdict.status == Status::True;
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    nodes.trusted_since = since(before).cloned().or_else(|| succeeded.then(|| seconds.to_string()));
    Some(nodes)
}

/// Whether nodes trusted the registry once, so that `Ready` waits for them no more.
#[must_use]
pub fn trusted_before(status: &PackageRegistryStatus) -> bool {
    since(status).is_some()
}

fn since(status: &PackageRegistryStatus) -> Option<&String> {
    status.nodes.as_ref()?.trusted_since.as_ref()
}

fn of_before(before: &PackageRegistryStatus) -> Option<Verdict> {
    let condition = condition::find(&before.conditions, NODES_TRUSTED)?;
    let reason = REASONS.into_iter().find(|reason| *reason == condition.reason)?;
    let status = match condition.status.as_str() {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    Some(Verdict { status, reason, message: condition.message.clone() })
}
