//! What this process has seen of uploads' statuses: for how long they have been the same, by its own clock, and which of
//! them say that nobody works. Hosts' clocks are never compared.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::UploadId;
use super::status::Status;
use crate::storage::Version;

/// What was seen, and since when.
#[derive(Debug, Default)]
pub struct Observed {
    seen: HashMap<UploadId, Seen>,
}

#[derive(Debug)]
struct Seen {
    version: Version,
    since: Instant,
    rest: Option<Rest>,
}

/// What a status says on which nobody works: as long as it is the same one, it needs no second look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rest {
    /// The upload waits for its blobs.
    Waiting,
    /// It is over, or nobody can read it.
    Over,
}

impl Rest {
    /// That of a status; `None` while somebody works, or should.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        (!status.is_in_work()).then(|| if status.holds_blobs() { Self::Waiting } else { Self::Over })
    }
}

impl Observed {
    /// Notes a status; returns for how long it has been this one.
    pub fn note(&mut self, id: &UploadId, version: &Version, now: Instant) -> Duration {
        match self.seen.get(id) {
            Some(seen) if seen.version == *version => now.saturating_duration_since(seen.since),
            _ => {
                self.seen.insert(id.clone(), Seen { version: version.clone(), since: now, rest: None });
                Duration::ZERO
            }
        }
    }

    /// Notes what a status says.
    pub fn note_rest(&mut self, id: &UploadId, version: &Version, rest: Option<Rest>, now: Instant) {
        self.note(id, version, now);
        if let Some(seen) = self.seen.get_mut(id) {
            seen.rest = rest;
        }
    }

    /// What this status is known to say.
    #[must_use]
    pub fn rest(&self, id: &UploadId, version: &Version) -> Option<Rest> {
        self.seen.get(id).filter(|seen| seen.version == *version)?.rest
    }

    /// Forgets all others.
    pub fn keep(&mut self, there: &HashSet<UploadId>) {
        self.seen.retain(|id, _| there.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_from_the_first_sight_of_a_version() {
        let (mut observed, id, start) = (Observed::default(), UploadId::of("a", "1", "x"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (one, two) = (Version::new("1"), Version::new("2"));
        assert_eq!(observed.note(&id, &one, at(0)), Duration::ZERO);
        assert_eq!(observed.note(&id, &one, at(7)), Duration::from_secs(7));
        assert_eq!(observed.note(&id, &two, at(9)), Duration::ZERO);
        assert_eq!(observed.note(&id, &two, at(10)), Duration::from_secs(1));
        observed.keep(&HashSet::new());
        assert_eq!(observed.note(&id, &two, at(20)), Duration::ZERO);
    }

    #[test]
    fn what_a_status_says_is_known_as_long_as_it_is_the_same_one() {
        let (mut observed, id, now) = (Observed::default(), UploadId::of("a", "1", "x"), Instant::now());
        let (one, two) = (Version::new("1"), Version::new("2"));
        observed.note_rest(&id, &one, Some(Rest::Over), now);
        assert_eq!(observed.rest(&id, &one), Some(Rest::Over));
        observed.note(&id, &one, now);
        assert_eq!((observed.rest(&id, &one), observed.rest(&id, &two)), (Some(Rest::Over), None));
        observed.note(&id, &two, now);
        assert_eq!((observed.rest(&id, &one), observed.rest(&id, &two)), (None, None));
    }
}
