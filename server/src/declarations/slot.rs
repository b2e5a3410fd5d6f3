//! One declaration in memory. Decides, does nothing itself.

use std::sync::Arc;

use api::{Declaration, DeclarationSpec, FailureReason, Progress, State};
use tokio_util::sync::CancellationToken;

use crate::ingest::Meter;
use crate::storage::Key;

/// What is wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// Hash of the source.
    pub source: String,
    /// The release version, where the declaring side has decided.
    pub release_version: Option<u64>,
}

/// Where a declaration's package is in the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// Hash of the source that it came from.
    pub source: String,
    /// The release version that it has.
    pub release_version: u64,
    /// Key of its entry.
    pub entry: Key,
}

impl Placed {
    fn is(&self, wanted: &Wanted) -> bool {
        self.source == wanted.source && wanted.release_version.is_none_or(|number| number == self.release_version)
    }
}

/// What a declaration is about.
#[derive(Clone, Debug, Default)]
pub enum Phase {
    /// Just made.
    #[default]
    New,
    /// On its way in.
    Running,
    /// In the catalogue.
    Added,
    /// Given up.
    Failed {
        /// Why.
        reason: FailureReason,
        /// In words.
        message: String,
    },
    /// On its way out.
    Removing {
        /// Why it could not be taken out; the next request tries again.
        stuck: Option<String>,
    },
}

/// One piece of work on a declaration.
#[derive(Clone, Debug)]
pub struct Turn {
    generation: u64,
    /// What is wanted.
    pub wanted: Wanted,
    /// How far it is.
    pub meter: Arc<Meter>,
    /// Set when a later request makes this work pointless.
    pub cancelled: CancellationToken,
    /// Held by the work, so that a later one starts when this has ended.
    pub lock: Arc<tokio::sync::Mutex<()>>,
}

/// One declaration.
#[derive(Debug, Default)]
pub struct Slot {
    generation: u64,
    wanted: Wanted,
    phase: Phase,
    meter: Arc<Meter>,
    cancelled: CancellationToken,
    lock: Arc<tokio::sync::Mutex<()>>,
    /// What it has in the catalogue.
    pub placed: Option<Placed>,
    /// The spec behind what is wanted, where it was declared since the start.
    pub spec: Option<DeclarationSpec>,
}

impl Slot {
    /// A declaration whose package was found in the store.
    #[must_use]
    pub fn published(placed: Placed) -> Self {
        Self {
            wanted: Wanted { source: placed.source.clone(), release_version: Some(placed.release_version) },
            phase: Phase::Added,
            placed: Some(placed),
            ..Self::default()
        }
    }

    /// Takes a spec; returns the work to be started, if any.
    pub fn declare(&mut self, wanted: Wanted) -> Option<Turn> {
        let leaving = matches!(self.phase, Phase::Removing { .. });
        let published = self.placed.as_ref().is_some_and(|placed| placed.is(&wanted));
        if published && !leaving {
            // Back to what is there already, whatever was tried in between.
            if !matches!(self.phase, Phase::Added) {
                self.cancelled.cancel();
                self.generation += 1;
            }
            self.wanted = wanted;
            self.phase = Phase::Added;
            return None;
        }
        if self.wanted == wanted && matches!(self.phase, Phase::Running) {
            return None;
        }
        self.wanted = wanted;
        self.phase = Phase::Running;
        Some(self.turn())
    }

    /// Takes a withdrawal; returns the work to be started, if any.
    pub fn remove(&mut self) -> Option<Turn> {
        if matches!(self.phase, Phase::Removing { stuck: None }) {
            return None;
        }
        self.phase = Phase::Removing { stuck: None };
        Some(self.turn())
    }

    /// Work that a later request had made pointless was done all the same. Returns the work that brings back what is
    /// wanted, if any.
    pub fn overtaken(&mut self, turn: &Turn) -> Option<Turn> {
        let right = self.placed.as_ref().is_some_and(|placed| placed.is(&self.wanted));
        if self.is_current(turn) || right || !matches!(self.phase, Phase::Added) {
            return None;
        }
        self.phase = Phase::Running;
        Some(self.turn())
    }

    /// Its package isn't in the catalogue any more: the next spec is taken in, also if it is the same.
    pub fn lost(&mut self, placed: &Placed) {
        if self.placed.as_ref() == Some(placed) && matches!(self.phase, Phase::Added) {
            self.placed = None;
            self.phase = Phase::New;
        }
    }

    /// Takes what the catalogue says of its package, which another instance may have published or withdrawn.
    pub fn learn(&mut self, placed: Option<Placed>) {
        match (&self.phase, &placed) {
            (Phase::New | Phase::Failed { .. }, Some(placed)) => {
                self.wanted = Wanted { source: placed.source.clone(), release_version: Some(placed.release_version) };
                self.phase = Phase::Added;
            }
            (Phase::Added, None) => self.phase = Phase::New,
            _ => {}
        }
        self.placed = placed;
    }

    /// Leaves the work to another instance.
    pub fn yielded(&mut self, turn: &Turn) {
        if self.is_current(turn) {
            self.cancelled.cancel();
            self.phase = Phase::New;
        }
    }

    /// Whether this process works on it.
    #[must_use]
    pub fn is_underway(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Removing { stuck: None })
    }

    /// Whether this process is taking just this in.
    #[must_use]
    pub fn is_taking_in(&self, wanted: &Wanted) -> bool {
        self.wanted == *wanted && matches!(self.phase, Phase::Running)
    }

    fn turn(&mut self) -> Turn {
        self.cancelled.cancel();
        self.generation += 1;
        self.cancelled = CancellationToken::new();
        self.meter = Arc::new(Meter::default());
        Turn {
            generation: self.generation,
            wanted: self.wanted.clone(),
            meter: Arc::clone(&self.meter),
            cancelled: self.cancelled.clone(),
            lock: Arc::clone(&self.lock),
        }
    }

    /// Whether no later request came.
    #[must_use]
    pub fn is_current(&self, turn: &Turn) -> bool {
        self.generation == turn.generation
    }

    /// Notes how work ended, unless a later request came.
    pub fn finish(&mut self, turn: &Turn, phase: Phase) {
        if self.is_current(turn) {
            self.phase = phase;
        }
    }

    /// In the API's words, without the package.
    #[must_use]
    pub fn describe(&self, id: &str) -> Declaration {
        let mut declaration = Declaration { progress: self.meter.progress(), ..pending(id) };
        match &self.phase {
            Phase::New => {}
            Phase::Running => declaration.state = self.meter.state(),
            Phase::Added => declaration.state = State::Added,
            Phase::Failed { reason, message } => {
                declaration.state = State::Failed;
                declaration.reason = Some(*reason);
                declaration.message = Some(message.clone());
            }
            Phase::Removing { stuck } => {
                declaration.state = State::Removing;
                declaration.message.clone_from(stuck);
            }
        }
        declaration
    }
}

/// A declaration that nothing was done for yet.
#[must_use]
pub fn pending(id: &str) -> Declaration {
    Declaration {
        id: id.to_owned(),
        state: State::Pending,
        reason: None,
        message: None,
        progress: Progress::default(),
        package: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::keys;

    fn placed(source: &str) -> Placed {
        Placed { source: source.into(), release_version: 1, entry: keys::entry(&"pmrg4".parse().unwrap()) }
    }

    fn wanted(source: &str) -> Wanted {
        Wanted { source: source.into(), release_version: None }
    }

    fn failed() -> Phase {
        Phase::Failed { reason: FailureReason::FetchFailed, message: "m".into() }
    }

    #[test]
    fn the_same_spec_starts_nothing_while_it_runs_or_once_it_is_added() {
        let mut slot = Slot::default();
        let turn = slot.declare(wanted("a")).unwrap();
        assert!(slot.declare(wanted("a")).is_none());
        slot.placed = Some(placed("a"));
        slot.finish(&turn, Phase::Added);
        assert!(slot.declare(wanted("a")).is_none());
        assert_eq!(slot.describe("x").state, State::Added);
    }

    #[test]
    fn the_same_spec_starts_again_after_a_failure() {
        let mut slot = Slot::default();
        let turn = slot.declare(wanted("a")).unwrap();
        slot.finish(&turn, failed());
        assert_eq!(slot.describe("x").reason, Some(FailureReason::FetchFailed));
        assert!(slot.declare(wanted("a")).is_some());
        assert_eq!(slot.describe("x").reason, None);
    }

    #[test]
    fn another_spec_cancels_the_work_on_the_first() {
        let mut slot = Slot::default();
        let first = slot.declare(wanted("a")).unwrap();
        let second = slot.declare(wanted("b")).unwrap();
        assert!(first.cancelled.is_cancelled());
        assert!(!second.cancelled.is_cancelled());
        slot.finish(&first, failed());
        assert_eq!(slot.describe("x").state, State::Pending);
    }

    #[test]
    fn going_back_to_what_is_published_fetches_nothing() {
        let mut slot = Slot::published(placed("a"));
        let other = slot.declare(wanted("b")).unwrap();
        assert!(slot.declare(wanted("a")).is_none());
        assert!(other.cancelled.is_cancelled());
        slot.finish(&other, failed());
        assert_eq!(slot.describe("x").state, State::Added);
    }

    #[test]
    fn what_was_published_too_late_is_replaced_by_what_is_wanted() {
        let mut slot = Slot::published(placed("a"));
        let late = slot.declare(wanted("b")).unwrap();
        slot.declare(wanted("a"));
        slot.placed = Some(placed("b"));
        let again = slot.overtaken(&late).unwrap();
        assert_eq!((again.wanted, slot.describe("x").state), (wanted("a"), State::Pending));
    }

    #[test]
    fn what_was_published_in_time_is_left_as_it_is() {
        let mut slot = Slot::default();
        let turn = slot.declare(wanted("a")).unwrap();
        slot.placed = Some(placed("a"));
        assert!(slot.overtaken(&turn).is_none());
        slot.finish(&turn, Phase::Added);
        assert!(slot.overtaken(&turn).is_none());
        // Somebody else works on it already.
        slot.declare(wanted("b")).unwrap();
        assert!(slot.overtaken(&turn).is_none());
    }

    #[test]
    fn a_lost_package_is_taken_in_again_for_the_same_spec() {
        let mut slot = Slot::published(placed("a"));
        slot.lost(&placed("b"));
        assert!(slot.declare(wanted("a")).is_none());
        slot.lost(&placed("a"));
        assert!(slot.declare(wanted("a")).is_some());
    }

    #[test]
    fn another_release_version_of_the_same_source_is_taken_in_anew() {
        let mut slot = Slot::published(placed("a"));
        let kept = Wanted { release_version: Some(1), ..wanted("a") };
        assert!(slot.declare(kept).is_none());
        let raised = Wanted { release_version: Some(2), ..wanted("a") };
        assert!(slot.declare(raised).is_some());
    }

    #[test]
    fn a_withdrawal_that_is_stuck_is_tried_again() {
        let mut slot = Slot::published(placed("a"));
        let turn = slot.remove().unwrap();
        assert!(slot.remove().is_none());
        slot.finish(&turn, Phase::Removing { stuck: Some("disk".into()) });
        assert_eq!(slot.describe("x").message.as_deref(), Some("disk"));
        assert!(slot.remove().is_some());
    }

    #[test]
    fn what_another_instance_published_is_not_taken_in_again() {
        let mut slot = Slot::default();
        slot.learn(Some(placed("a")));
        assert!(slot.declare(wanted("a")).is_none());
        slot.learn(None);
        assert!(slot.declare(wanted("a")).is_some());
    }

    #[test]
    fn work_that_another_instance_does_is_left_to_it() {
        let mut slot = Slot::default();
        let turn = slot.declare(wanted("a")).unwrap();
        assert!(slot.is_underway() && slot.is_taking_in(&wanted("a")) && !slot.is_taking_in(&wanted("b")));
        slot.yielded(&turn);
        assert!(!slot.is_underway() && turn.cancelled.is_cancelled());
        assert!(slot.declare(wanted("a")).is_some());
    }

    #[test]
    fn declaring_again_while_it_is_withdrawn_starts_anew() {
        let mut slot = Slot::published(placed("a"));
        slot.remove().unwrap();
        assert!(slot.declare(wanted("a")).is_some());
        assert_eq!(slot.describe("x").state, State::Pending);
    }
}
