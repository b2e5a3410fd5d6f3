//! How long this process has seen the same status of an upload, by its own clock. Hosts' clocks are never compared.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::UploadId;
use crate::storage::Version;

/// What was seen, and since when.
#[derive(Debug, Default)]
pub struct Observed {
    seen: HashMap<UploadId, (Version, Instant)>,
}

impl Observed {
    /// Notes a status; returns for how long it has been this one.
    pub fn note(&mut self, id: &UploadId, version: &Version, now: Instant) -> Duration {
        match self.seen.get(id) {
            Some((seen, since)) if seen == version => now.saturating_duration_since(*since),
            _ => {
                self.seen.insert(id.clone(), (version.clone(), now));
                Duration::ZERO
            }
        }
    }

    /// Forgets all others.
    pub fn keep(&mut self, there: &std::collections::HashSet<UploadId>) {
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
        observed.keep(&std::collections::HashSet::new());
        assert_eq!(observed.note(&id, &two, at(20)), Duration::ZERO);
    }
}
