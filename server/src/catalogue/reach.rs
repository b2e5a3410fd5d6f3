//! What a walk through the store may remove. Pure.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::storage::keys::Place;

/// What is removed at once, if nobody needs it.
#[derive(Debug)]
pub(super) enum AtOnce {
    /// Everything: nothing is on its way in.
    Everything,
    /// What is known to have been left by this process.
    Only(HashSet<Place>),
}

/// What a walk may remove of that which nobody needs.
#[derive(Debug)]
pub(super) struct Reach {
    /// What goes at once.
    pub(super) at_once: AtOnce,
    /// How long that must have been untouched before the walk began, and what is to be changed.
    pub(super) settled: Duration,
    /// How long the rest must have been untouched before the walk began; nothing of it goes where this isn't set.
    pub(super) grace: Option<Duration>,
    /// When the walk began to read what is needed. Whoever relies on something makes it new first, so what was old then
    /// and still is in the same state is needed by nobody else.
    pub(super) began: Instant,
    /// Remove nothing, only count.
    pub(super) dry_run: bool,
}

impl Reach {
    /// Whether this may go. Where the age is unknown it may be new.
    pub(super) fn covers(&self, place: &Place, age: Option<Duration>) -> bool {
        self.wants(place) && self.is_settled(age) || self.is_old(age)
    }

    /// Whether nobody has touched this for long enough before the walk began.
    pub(super) fn is_settled(&self, age: Option<Duration>) -> bool {
        let than = self.settled.saturating_add(self.began.elapsed());
        self.settled.is_zero() || age.is_some_and(|age| age >= than)
    }

    /// Whether this goes at once, unless it was touched too lately.
    pub(super) fn wants(&self, place: &Place) -> bool {
        match &self.at_once {
            AtOnce::Everything => true,
            AtOnce::Only(places) => places.contains(place),
        }
    }

    /// Whether this has outlived the grace period.
    pub(super) fn is_old(&self, age: Option<Duration>) -> bool {
        let than = self.grace.map(|grace| grace.saturating_add(self.began.elapsed()));
        than.zip(age).is_some_and(|(than, age)| age >= than)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    const HOUR: Duration = Duration::from_hours(1);

    fn place(content: &str) -> Place {
        Place::Blob(Digest::sha256(content.as_bytes()))
    }

    fn reach(settled: Duration) -> Reach {
        let at_once = AtOnce::Only([place("gone")].into());
        Reach { at_once, settled, grace: Some(HOUR), began: Instant::now(), dry_run: false }
    }

    #[test]
    fn what_is_not_known_to_be_left_over_goes_when_it_is_old() {
        let reach = reach(Duration::ZERO);
        assert!(reach.covers(&place("x"), Some(HOUR * 2)));
        assert!(!reach.covers(&place("x"), Some(HOUR / 2)));
        assert!(!reach.covers(&place("x"), None));
        assert!(reach.covers(&place("gone"), None));
    }

    #[test]
    fn ages_count_from_before_the_walk_began() {
        let Some(began) = Instant::now().checked_sub(HOUR) else { return };
        let reach = Reach { began, ..reach(Duration::ZERO) };
        assert!(!reach.covers(&place("x"), Some(HOUR * 3 / 2)));
        assert!(reach.covers(&place("x"), Some(HOUR * 3)));
    }

    #[test]
    fn what_others_may_just_have_taken_up_is_left_for_later() {
        let reach = reach(HOUR / 60);
        assert!(!reach.covers(&place("gone"), Some(Duration::ZERO)));
        assert!(!reach.covers(&place("gone"), None));
        assert!(reach.covers(&place("gone"), Some(HOUR / 30)));
        assert!(reach.wants(&place("gone")) && !reach.wants(&place("x")));
    }

    #[test]
    fn without_a_grace_period_only_what_is_known_goes() {
        let reach = Reach { grace: None, ..reach(Duration::ZERO) };
        assert!(!reach.covers(&place("x"), Some(HOUR * 100)));
    }
}
