//! How often a registry that isn't as it should be is looked at again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Shortest time until the next look.
pub const SOON: Duration = Duration::from_secs(3);
/// Longest time until the next look.
pub const LATER: Duration = Duration::from_secs(30);
/// The time until the next look is this part of the time for which nothing has changed.
const PART: u32 = 20;

/// Since when the statuses of registries are what they are, by [`crate::error::key`]. All of it may be lost.
#[derive(Debug, Default)]
pub struct Polls {
    unchanged: Mutex<HashMap<String, Instant>>,
}

impl Polls {
    /// Time until the next look at `key`, whose status has `changed` now or not. What is watched is seen at once in any case;
    /// the polling is for pods and Events.
    #[must_use]
    pub fn next(&self, key: &str, changed: bool, now: Instant) -> Duration {
        let mut unchanged = self.unchanged();
        let since = unchanged.entry(key.to_owned()).or_insert(now);
        if changed {
            *since = now;
        }
        pause(now.saturating_duration_since(*since))
    }

    /// `key` is as it should be, or gone.
    pub fn forget(&self, key: &str) {
        self.unchanged().remove(key);
    }

    fn unchanged(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.unchanged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time until the next look, when nothing has changed for so long. Pure.
fn pause(unchanged: Duration) -> Duration {
    (unchanged / PART).clamp(SOON, LATER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_stays_as_it_is_is_looked_at_ever_more_seldom_but_not_in_its_first_minute() {
        for (seconds, pause) in [(0, 3), (59, 3), (60, 3), (200, 10), (600, 30), (86_400, 30)] {
            assert_eq!(super::pause(Duration::from_secs(seconds)).as_secs(), pause, "{seconds}");
        }
    }

    #[test]
    fn a_change_and_being_ready_begin_anew_and_others_are_left_alone() {
        let (polls, begin) = (Polls::default(), Instant::now());
        let later = begin + Duration::from_hours(1);
        for key in ["a", "b", "c"] {
            assert_eq!(polls.next(key, false, begin), SOON);
        }
        assert_eq!(polls.next("a", true, later), SOON);
        polls.forget("b");
        assert_eq!(polls.next("b", false, later), SOON);
        assert_eq!(polls.next("c", false, later), LATER);
        assert_eq!(polls.next("a", false, later + Duration::from_mins(5)), Duration::from_secs(15));
    }
}
