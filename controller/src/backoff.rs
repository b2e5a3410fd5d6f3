//! Exponential backoff per object: kube's `error_policy` gets no count of attempts.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// First delay.
pub const FIRST: Duration = Duration::from_secs(1);
/// Longest delay.
pub const LONGEST: Duration = Duration::from_mins(5);

/// Delay before attempt number `failures + 1`, without jitter: doubles from [`FIRST`] up to [`LONGEST`].
#[must_use]
pub fn delay(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST)
}

/// Spreads `delay` over its upper half; `random` is any number.
#[must_use]
pub fn jittered(delay: Duration, random: u64) -> Duration {
    let half = delay / 2;
    let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_millis(random % span)
}

/// A number that differs from call to call; good enough to spread delays.
#[must_use]
pub fn random() -> u64 {
    u64::try_from(uuid::Uuid::new_v4().as_u128() & u128::from(u64::MAX)).unwrap_or_default()
}

/// Lost races in a row that are tried again at once.
pub const RACES: u32 = 5;

#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    failures: u32,
    races: u32,
}

/// Failures in a row, by object.
#[derive(Debug, Default)]
pub struct Backoffs {
    streaks: Mutex<HashMap<String, Streak>>,
}

impl Backoffs {
    /// Counts a failure of `key` and says how long to wait.
    #[must_use]
    pub fn next(&self, key: &str) -> Duration {
        let mut streaks = self.streaks();
        let count = &mut streaks.entry(key.to_owned()).or_default().failures;
        let wait = jittered(delay(*count), random());
        *count = count.saturating_add(1);
        wait
    }

    /// Counts a race that `key` lost; whether it is one of the first [`RACES`] in a row. Whoever loses more may never win.
    #[must_use]
    pub fn is_early_race(&self, key: &str) -> bool {
        let mut streaks = self.streaks();
        let count = &mut streaks.entry(key.to_owned()).or_default().races;
        *count = count.saturating_add(1);
        *count <= RACES
    }

    /// Forgets the races that `key` lost: it came to something else.
    pub fn end_races(&self, key: &str) {
        if let Some(streak) = self.streaks().get_mut(key) {
            streak.races = 0;
        }
    }

    /// Forgets the failures of `key`: it succeeded, or it is gone.
    pub fn reset(&self, key: &str) {
        self.streaks().remove(key);
    }

    fn streaks(&self) -> MutexGuard<'_, HashMap<String, Streak>> {
        self.streaks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        assert_eq!([delay(0), delay(1), delay(2)].map(|d| d.as_secs()), [1, 2, 4]);
        assert_eq!(delay(30), LONGEST);
        assert_eq!(delay(u32::MAX), LONGEST);
    }

    #[test]
    fn jitter_stays_in_the_upper_half() {
        for random in [0, 1, 499, 500, u64::MAX] {
            let wait = jittered(Duration::from_secs(1), random);
            assert!(wait >= Duration::from_millis(500) && wait < Duration::from_secs(1), "{wait:?}");
        }
    }

    #[test]
    fn a_success_starts_over_and_leaves_other_objects_alone() {
        let backoffs = Backoffs::default();
        for _ in 0..6 {
            let _ = backoffs.next("a");
            let _ = backoffs.next("b");
        }
        backoffs.reset("a");
        assert!(backoffs.next("a") <= FIRST);
        assert!(backoffs.next("b") > FIRST * 8);
    }
}
