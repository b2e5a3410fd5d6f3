//! The `Ready` condition: sums the others up. Pure.

use crds::reason;

use crate::condition::{Activity, Status, Verdict};

/// The conditions that `Ready` sums up.
#[derive(Clone, Debug)]
pub struct Parts {
    /// `StorageReady`
    pub storage: Verdict,
    /// `CertificateReady`
    pub certificate: Verdict,
    /// `ServingReady`
    pub serving: Verdict,
    /// `NodesTrusted`; none where node trust is off.
    pub nodes: Option<Nodes>,
}

/// What nodes' trust means for `Ready`.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// `NodesTrusted`
    pub verdict: Verdict,
    /// Whether that is the condition as it stands, since nobody knows better.
    pub stands: bool,
    /// Whether it must become True first. Not after the first success: a lost node doesn't make a registry unready. And
    /// not for a refused upstream: the rest works.
    pub required: bool,
}

/// The verdict on the whole.
#[must_use]
pub fn verdict(parts: &Parts, url: &str) -> (Verdict, Activity) {
    let required = parts.nodes.iter().filter(|nodes| nodes.required).map(|nodes| &nodes.verdict);
    let holding = [&parts.storage, &parts.certificate, &parts.serving]
        .into_iter()
        .chain(required)
        .filter(|part| part.status != Status::True)
        .min_by_key(|part| weight(part.reason));
    if let Some(part) = holding {
        let verdict = Verdict::no(part.reason, part.message.clone());
        return (verdict, activity(part.reason));
    }
    let unmet = parts.nodes.as_ref().filter(|nodes| nodes.verdict.status != Status::True);
    let words = match unmet {
        Some(nodes) => format!("serves at {url}; {}", nodes.verdict.message),
        None => format!("serves at {url}"),
    };
    (Verdict::yes(reason::SUCCEEDED, words), Activity::Idle)
}

/// What somebody must act on goes first, what follows from something else last.
fn weight(word: &str) -> u8 {
    match activity(word) {
        Activity::Stalled => 0,
        Activity::Reconciling(reason::PROGRESSING_WITH_RETRY) => 1,
        _ if word == reason::DEPENDENCY_NOT_READY => 3,
        _ => 2,
    }
}

/// Whether something happens by itself.
#[must_use]
pub fn activity(word: &str) -> Activity {
    match word {
        reason::NAME_TAKEN
        | reason::SECRET_INVALID
        | reason::NOT_ALLOWED
        | reason::INVALID_SPEC
        | reason::CONFIG_PATH_UNSET
        | reason::CLOCK_SKEW
        | reason::S3_COORDINATION_UNSAFE
        | reason::SUSPENDED => Activity::Stalled,
        reason::PROGRESSING_WITH_RETRY | reason::UNREACHABLE => Activity::Reconciling(reason::PROGRESSING_WITH_RETRY),
        _ => Activity::Reconciling(reason::PROGRESSING),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes() -> Verdict {
        Verdict::yes(reason::SUCCEEDED, "fine")
    }

    fn parts() -> Parts {
        Parts {
            storage: yes(),
            certificate: yes(),
            serving: yes(),
            nodes: Some(Nodes { verdict: yes(), stands: false, required: true }),
        }
    }

    #[test]
    fn everything_true_is_ready_and_idle() {
        let (ready, activity) = verdict(&parts(), "https://a.b.svc");
        assert_eq!(ready.status, Status::True);
        assert_eq!(ready.message, "serves at https://a.b.svc");
        assert_eq!(activity, Activity::Idle);
    }

    #[test]
    fn what_somebody_must_act_on_is_said_first() {
        let mut parts = parts();
        parts.storage = Verdict::no(reason::PROGRESSING, "claiming");
        parts.certificate = Verdict::no(reason::DEPENDENCY_NOT_READY, "no address");
        parts.serving = Verdict::no(reason::NAME_TAKEN, "taken");
        let (ready, activity) = verdict(&parts, "");
        assert_eq!((ready.reason, ready.message.as_str()), (reason::NAME_TAKEN, "taken"));
        assert_eq!(activity, Activity::Stalled);
    }

    #[test]
    fn nodes_hold_it_back_only_where_they_are_required() {
        let mut parts = parts();
        let lost = Verdict::no(reason::DEPENDENCY_NOT_READY, "node n2 is lost");
        parts.nodes = Some(Nodes { verdict: lost.clone(), stands: false, required: true });
        let (ready, activity) = verdict(&parts, "u");
        assert_eq!(ready.status, Status::False);
        assert_eq!(activity, Activity::Reconciling(reason::PROGRESSING));
        parts.nodes = Some(Nodes { verdict: lost, stands: false, required: false });
        let (ready, _) = verdict(&parts, "u");
        assert_eq!(ready.status, Status::True);
        assert!(ready.message.contains("node n2 is lost"));
    }
}
