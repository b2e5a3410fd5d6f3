//! How an authority is replaced while nodes go on trusting the registry.
//!
//! ```text
//!   one ──Begin──▶ overlap: next is in the bundle ──Promote──▶ retiring: the old one is still in the bundle ──Retire──▶ one
//! ```
//! The serving certificate follows the current authority, so it changes with `Promote`: only when every node that is up
//! has the bundle with both, or at a deadline, since nodes that are down must not hold it up for ever. The old one leaves
//! when the last certificate that it signed can't be in use any more.
//!
//! An authority whose Secret was deleted leaves only its certificate: its successor is current at once, and the serving
//! certificate follows when it would have followed a `Promote`.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    authority::Authorities,
    facts::{Facts, after},
};

/// How long nodes may hold up the next authority, at most.
const DEADLINE: Duration = Duration::from_hours(1);
/// How long the next authority is in the bundle before it signs, where no node trust says who has it.
const UNWATCHED_OVERLAP: Duration = Duration::from_mins(10);
/// How long serving pods may need to get and to load a new serving certificate.
const RETIREMENT: Duration = Duration::from_mins(10);

/// Who has the bundle that the Secret's authorities make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// Every node.
    Everywhere,
    /// Not every node yet.
    Spreading,
    /// Nobody says: node trust is off for this registry.
    Unwatched,
}

/// What decides about the next step.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What the Secret holds.
    pub authorities: &'a Authorities,
    /// Life that the spec asks for.
    pub life: Duration,
    /// Whether somebody has asked for a new authority.
    pub requested: bool,
    /// Who has the bundle.
    pub trust: Trust,
    /// The serving certificate in place, if it is readable.
    pub leaf: Option<&'a Facts>,
    /// The time.
    pub now: Timestamp,
}

/// What to do with the authorities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Make the next one and add it to the bundle.
    Begin,
    /// The next one takes over; `late` when not every node has it.
    Promote {
        /// Whether the deadline decided.
        late: bool,
    },
    /// Drop the previous one from the bundle.
    Retire,
}

/// The next step.
#[must_use]
pub fn step(input: Input<'_>) -> Step {
    let current = &input.authorities.current.facts;
    if let Some(next) = &input.authorities.next {
        return promotion(input, current, &next.facts);
    }
    if input.authorities.previous.is_some() {
        return retirement(input, current);
    }
    // One that isn't valid yet was made by a clock that was ahead.
    if input.requested || input.now >= due(current, input.life) || input.now < current.not_before {
        return Step::Begin;
    }
    Step::Keep
}

/// When an authority is replaced: at two thirds of its life, or of the life that the spec asks for where that is shorter.
#[must_use]
pub fn due(authority: &Facts, life: Duration) -> Timestamp {
    after(authority.issued, life.min(authority.life()) * 2 / 3)
}

fn promotion(input: Input<'_>, current: &Facts, next: &Facts) -> Step {
    if input.now >= current.not_after {
        return Step::Promote { late: input.trust != Trust::Everywhere };
    }
    match input.trust {
        Trust::Everywhere => Step::Promote { late: false },
        Trust::Unwatched if input.now >= after(next.issued, UNWATCHED_OVERLAP) => Step::Promote { late: false },
        Trust::Spreading if input.now >= after(next.issued, deadline(current, next)) => Step::Promote { late: true },
        Trust::Spreading | Trust::Unwatched => Step::Keep,
    }
}

/// Whether `leaf`, of the authority before, stays a little longer: nodes don't have the current one, which has come all at once
/// since the Secret was lost. Where it came by `Promote` they do, or have been waited for.
#[must_use]
pub fn awaits_nodes(leaf: &Facts, authorities: &Authorities, trust: Trust, now: Timestamp) -> bool {
    let previous = authorities.previous.as_ref();
    let Some(previous) = previous.and_then(|pem| Facts::read(pem.as_bytes(), "previous.crt").ok()) else {
        return false;
    };
    let current = &authorities.current.facts;
    let longest = match trust {
        Trust::Everywhere => return false,
        Trust::Spreading => deadline(leaf, current),
        Trust::Unwatched => deadline(leaf, current).min(UNWATCHED_OVERLAP),
    };
    leaf.is_signed_by(&previous) && now < after(current.issued, longest)
}

/// The deadline, or half of what is left of the current one where that is less.
fn deadline(current: &Facts, next: &Facts) -> Duration {
    let left = current.not_after.duration_since(next.issued);
    Duration::try_from(left).map_or(Duration::ZERO, |left| DEADLINE.min(left / 2))
}

fn retirement(input: Input<'_>, current: &Facts) -> Step {
    let loaded =
        input.leaf.is_some_and(|leaf| leaf.is_signed_by(current) && input.now >= after(leaf.issued, RETIREMENT));
    if loaded { Step::Retire } else { Step::Keep }
}

#[cfg(test)]
mod tests {
    use super::{super::authority::Authority, *};
    use crate::certificate::leaf::Names;

    const HOUR: Duration = Duration::from_hours(1);
    const LIFE: Duration = Duration::from_hours(300);

    fn at(minutes: u32) -> Timestamp {
        let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        after(start, Duration::from_mins(1) * minutes)
    }

    fn authority(minutes: u32) -> Authority {
        Authority::generate("demo/registry", at(minutes), LIFE).unwrap()
    }

    fn input(authorities: &Authorities, trust: Trust, now: Timestamp) -> Input<'_> {
        Input { authorities, life: LIFE, requested: false, trust, leaf: None, now }
    }

    #[test]
    fn an_authority_is_kept_for_two_thirds_of_its_life() {
        let one = Authorities::new(authority(0));
        let step_at = |now| step(input(&one, Trust::Everywhere, now));
        assert_eq!(step_at(at(0)), Step::Keep);
        assert_eq!(step_at(at(199 * 60)), Step::Keep);
        assert_eq!(step_at(at(200 * 60)), Step::Begin);
    }

    #[test]
    fn a_shorter_life_in_the_spec_or_a_request_begins_earlier() {
        let one = Authorities::new(authority(0));
        let mut now = input(&one, Trust::Everywhere, at(60));
        now.life = HOUR;
        assert_eq!(step(now), Step::Begin);
        now.life = LIFE;
        assert_eq!(step(now), Step::Keep);
        now.requested = true;
        assert_eq!(step(now), Step::Begin);
    }

    #[test]
    fn an_authority_that_is_not_valid_yet_is_replaced() {
        let ahead = Authorities::new(authority(60));
        assert_eq!(step(input(&ahead, Trust::Everywhere, at(54))), Step::Begin);
        assert_eq!(step(input(&ahead, Trust::Everywhere, at(55))), Step::Keep);
    }

    #[test]
    fn the_next_authority_signs_only_when_every_node_trusts_it_or_at_the_deadline() {
        let mut two = Authorities::new(authority(0));
        two.next = Some(authority(60));
        assert_eq!(step(input(&two, Trust::Spreading, at(61))), Step::Keep);
        assert_eq!(step(input(&two, Trust::Everywhere, at(61))), Step::Promote { late: false });
        assert_eq!(step(input(&two, Trust::Spreading, at(119))), Step::Keep);
        assert_eq!(step(input(&two, Trust::Spreading, at(120))), Step::Promote { late: true });
    }

    #[test]
    fn without_node_trust_the_next_authority_waits_for_the_bundle_to_spread() {
        let mut two = Authorities::new(authority(0));
        two.next = Some(authority(60));
        assert_eq!(step(input(&two, Trust::Unwatched, at(69))), Step::Keep);
        assert_eq!(step(input(&two, Trust::Unwatched, at(70))), Step::Promote { late: false });
    }

    #[test]
    fn an_authority_that_has_expired_is_not_waited_for() {
        let mut two = Authorities::new(authority(0));
        two.next = Some(authority(60 * 299 + 59));
        assert_eq!(step(input(&two, Trust::Spreading, at(60 * 300))), Step::Promote { late: true });
    }

    #[test]
    fn the_old_authority_leaves_after_the_last_certificate_that_it_signed() {
        let mut retiring = Authorities::new(authority(60));
        let old = authority(0);
        retiring.previous = Some(old.certificate.clone());
        let mut now = input(&retiring, Trust::Everywhere, at(1000));
        assert_eq!(step(now), Step::Keep);
        let of_old = old.sign(&Names::default(), at(0), HOUR).unwrap().facts;
        now.leaf = Some(&of_old);
        assert_eq!(step(now), Step::Keep);
        let fresh = retiring.current.sign(&Names::default(), at(995), HOUR).unwrap().facts;
        now.leaf = Some(&fresh);
        assert_eq!(step(now), Step::Keep);
        now.now = at(1005);
        assert_eq!(step(now), Step::Retire);
    }
}
