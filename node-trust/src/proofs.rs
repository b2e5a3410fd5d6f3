//! Which registries have been proved to answer, and which are to be asked again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::entries::{Owner, Target};
use crate::report::{Problem, Reason};

/// How long a right answer holds; a wrong one is followed by another try in the next pass.
pub const FRESH_FOR: Duration = Duration::from_secs(30);

/// The last answer of each registry.
#[derive(Debug, Default)]
pub struct Proofs {
    by_owner: BTreeMap<Owner, Proof>,
}

#[derive(Debug)]
struct Proof {
    target: Target,
    last: Option<(Instant, Result<(), String>)>,
}

impl Proofs {
    /// Takes over what is to be proved. Whose address or CA changed has proved nothing yet.
    pub fn expect(&mut self, targets: &[Target]) {
        self.by_owner.retain(|_, proof| targets.contains(&proof.target));
        for target in targets {
            self.by_owner.entry(target.owner.clone()).or_insert_with(|| Proof { target: target.clone(), last: None });
        }
    }

    /// Whom to ask now.
    #[must_use]
    pub fn due(&self, now: Instant) -> Vec<Target> {
        let due = self.by_owner.values().filter(|proof| match &proof.last {
            Some((at, Ok(()))) => now.duration_since(*at) >= FRESH_FOR,
            Some((_, Err(_))) | None => true,
        });
        due.map(|proof| proof.target.clone()).collect()
    }

    /// Keeps an answer.
    pub fn keep(&mut self, owner: &Owner, at: Instant, answer: Result<(), String>) {
        if let Some(proof) = self.by_owner.get_mut(owner) {
            proof.last = Some((at, answer));
        }
    }

    /// Who doesn't answer rightly.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |(owner, proof): (&Owner, &Proof)| match &proof.last {
            Some((_, Ok(()))) => None,
            Some((_, Err(why))) => Some(Problem::of(owner, None, Reason::Unreachable, why.clone())),
            None => Some(Problem::of(owner, None, Reason::Unreachable, "it has not been asked yet".to_owned())),
        };
        self.by_owner.iter().filter_map(problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(ca_bundle: &str) -> Target {
        Target {
            owner: Owner { namespace: "packages".into(), name: "main".into() },
            addresses: vec!["10.96.0.7".parse().unwrap()],
            port: 443,
            ca_bundle: ca_bundle.into(),
        }
    }

    #[test]
    fn a_registry_is_asked_until_it_answers_and_then_from_time_to_time() {
        let start = Instant::now();
        let mut proofs = Proofs::default();
        proofs.expect(&[target("CA")]);
        assert_eq!((proofs.due(start).len(), proofs.problems().len()), (1, 1));
        proofs.keep(&target("CA").owner, start, Err("no route".into()));
        assert_eq!((proofs.due(start).len(), proofs.problems()[0].message.as_str()), (1, "no route"));
        proofs.keep(&target("CA").owner, start, Ok(()));
        proofs.expect(&[target("CA")]);
        assert_eq!((proofs.due(start).len(), proofs.problems().len()), (0, 0));
        assert_eq!(proofs.due(start + FRESH_FOR).len(), 1);
    }

    #[test]
    fn a_changed_ca_has_to_be_proved_and_a_dropped_registry_not_at_all() {
        let mut proofs = Proofs::default();
        proofs.expect(&[target("CA")]);
        proofs.keep(&target("CA").owner, Instant::now(), Ok(()));
        proofs.expect(&[target("new CA")]);
        assert_eq!(proofs.due(Instant::now()), [target("new CA")]);
        proofs.expect(&[]);
        assert_eq!((proofs.due(Instant::now()).len(), proofs.problems().len()), (0, 0));
    }
}
