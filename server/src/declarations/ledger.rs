//! What instances on one store tell each other of declarations that are on their way: `declarations/<id>.json`.
//!
//! A record says who works on a declaration, and how far that is; never a secret. It is written by conditional writes, so
//! that one instance works on a declaration at a time: whoever finds that somebody else wrote it stops. Whether an owner
//! still lives is told by its record's changing, by this process's own clock: hosts' clocks are never compared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::{Declaration, FailureReason, Progress, State};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::slot::{Wanted, pending};
use crate::names::DeclarationId;
use crate::storage::{Condition, Storage, StorageError, Version, document, keys};

/// How often an owner shows that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(5);
/// After so long without a sign of life an owner has stopped: some of those may be late.
const STOPPED: Duration = Duration::from_secs(30);
/// How often a record is written that others write at the same time.
const ATTEMPTS: usize = 16;
/// Most bytes of a record.
const LIMIT: u64 = 1 << 20;

/// What is said of a declaration.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// The process that works on it, or did last.
    owner: String,
    /// Tells this piece of work from every other one.
    nonce: String,
    /// Grows with each write, so that each is another state of the object.
    beat: u64,
    /// Hash of the source that is wanted.
    source: String,
    /// The release version that is wanted, where the declaring side has decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release_version: Option<u64>,
    /// How far it is.
    pub(super) state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<FailureReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    progress: Progress,
}

impl Record {
    fn new(owner: &str, wanted: &Wanted, state: State) -> Self {
        Self {
            owner: owner.to_owned(),
            nonce: Uuid::new_v4().to_string(),
            beat: 0,
            source: wanted.source.clone(),
            release_version: wanted.release_version,
            state,
            reason: None,
            message: None,
            progress: Progress::default(),
        }
    }

    /// In the API's words, without the package.
    pub(super) fn describe(&self, id: &str) -> Declaration {
        Declaration {
            state: self.state,
            reason: self.reason,
            message: self.message.clone(),
            progress: self.progress,
            ..pending(id)
        }
    }

    fn wants(&self, wanted: &Wanted) -> bool {
        self.source == wanted.source && self.release_version == wanted.release_version
    }

    /// Whether somebody who wants `state` of `wanted` leaves it to the owner. `stopped`: the owner shows no sign of life.
    fn is_left_to_its_owner(&self, me: &str, wanted: &Wanted, state: State, stopped: bool) -> bool {
        let same = match (self.state, state) {
            (State::Removing, State::Removing) => true,
            (State::Added | State::Failed | State::Removing, _) | (_, State::Removing) => false,
            _ => self.wants(wanted),
        };
        same && !stopped && self.owner != me
    }
}

/// The records of one store.
#[derive(Clone)]
pub(super) struct Ledger {
    storage: Arc<dyn Storage>,
    me: Arc<str>,
    /// After so long without a sign of life an owner has stopped.
    patience: Duration,
    observed: Arc<Mutex<HashMap<DeclarationId, (Version, Instant)>>>,
}

/// A record that was found.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// What it says; nothing where it is damaged.
    pub(super) record: Option<Record>,
    /// Whether somebody should still be working on it, but shows no sign of life.
    pub(super) stopped: bool,
    version: Version,
}

impl Seen {
    /// Whether nobody should be working on it.
    pub(super) fn is_over(&self) -> bool {
        self.record.as_ref().is_none_or(|record| record.state.is_final())
    }

    /// In the API's words, without the package. An owner that stopped on the way in has failed: whoever wants the package
    /// declares it again. A withdrawal is told as one in any case, or its package would be taken for gone.
    pub(super) fn describe(&self, id: &str) -> Option<Declaration> {
        let record = self.record.as_ref()?;
        if self.stopped && record.state != State::Removing {
            let message = "the instance that took the package in has stopped; it is taken in again".to_owned();
            let reason = Some(FailureReason::FetchFailed);
            return Some(Declaration { state: State::Failed, reason, message: Some(message), ..record.describe(id) });
        }
        Some(record.describe(id))
    }
}

/// Who works on a declaration now.
pub(super) enum Acquired {
    /// The one who asked.
    Mine(Lease),
    /// Another instance.
    Theirs(Record),
}

impl Ledger {
    /// The ledger of a store; none where this process works on it alone: then memory knows everything.
    pub(super) fn of(storage: &Arc<dyn Storage>) -> Option<Self> {
        let me = Uuid::new_v4().to_string().into();
        storage.is_shared().then(|| Self {
            storage: Arc::clone(storage),
            me,
            patience: STOPPED,
            observed: Arc::default(),
        })
    }

    /// What is said of a declaration.
    pub(super) async fn read(&self, id: &DeclarationId) -> Result<Option<Seen>, StorageError> {
        let (bytes, version) = match self.storage.get(&keys::declaration(id), LIMIT).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => {
                self.observed().remove(id);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let record: Option<Record> = serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::error!(declaration.id = %id, %error, "what is shared of it is damaged"))
            .ok();
        let runs = record.as_ref().is_some_and(|record| !record.state.is_final());
        let stopped = runs && self.unchanged(id, &version) >= self.patience;
        Ok(Some(Seen { record, stopped, version }))
    }

    fn observed(&self) -> std::sync::MutexGuard<'_, HashMap<DeclarationId, (Version, Instant)>> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long a record has been in this state, as far as this process saw.
    fn unchanged(&self, id: &DeclarationId, version: &Version) -> Duration {
        let mut observed = self.observed();
        let (known, since) = observed.entry(id.clone()).or_insert_with(|| (version.clone(), Instant::now()));
        if known != version {
            (*known, *since) = (version.clone(), Instant::now());
        }
        since.elapsed()
    }

    /// Takes a declaration over, unless another instance does the same work already.
    pub(super) async fn acquire(
        &self,
        id: &DeclarationId,
        wanted: &Wanted,
        state: State,
    ) -> Result<Acquired, StorageError> {
        let record = Record::new(&self.me, wanted, state);
        let mut lease = Lease { ledger: self.clone(), id: id.clone(), record, version: Version::new("") };
        for _ in 0..ATTEMPTS {
            let condition = match self.read(id).await? {
                Some(Seen { record: Some(there), version, .. }) if there == lease.record => {
                    // The answer to the write was lost.
                    lease.version = version;
                    return Ok(Acquired::Mine(lease));
                }
                Some(Seen { record: Some(there), stopped, .. })
                    if there.is_left_to_its_owner(&self.me, wanted, state, stopped) =>
                {
                    return Ok(Acquired::Theirs(there));
                }
                Some(seen) => Condition::Unchanged(seen.version),
                None => Condition::Absent,
            };
            match self.storage.put(&keys::declaration(id), lease.bytes()?, condition).await {
                Ok(version) => {
                    lease.version = version;
                    return Ok(Acquired::Mine(lease));
                }
                Err(StorageError::ConditionFailed { .. } | StorageError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StorageError::ConditionFailed { key: keys::declaration(id).to_string() })
    }
}

/// The right to work on a declaration, until somebody else takes it over.
pub(super) struct Lease {
    ledger: Ledger,
    id: DeclarationId,
    record: Record,
    version: Version,
}

impl Lease {
    fn bytes(&self) -> Result<bytes::Bytes, StorageError> {
        document::write(&keys::declaration(&self.id), &self.record)
    }

    /// Says how far the work is; false if somebody else has taken it over.
    pub(super) async fn say(&mut self, what: Declaration) -> Result<bool, StorageError> {
        let Declaration { state, reason, message, progress, .. } = what;
        self.record = Record { state, reason, message, progress, beat: self.record.beat + 1, ..self.record.clone() };
        for _ in 0..ATTEMPTS {
            let condition = Condition::Unchanged(self.version.clone());
            match self.ledger.storage.put(&keys::declaration(&self.id), self.bytes()?, condition).await {
                Ok(version) => {
                    self.version = version;
                    return Ok(true);
                }
                Err(StorageError::ConditionFailed { .. } | StorageError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.own().await? {
                None => return Ok(false),
                // The answer to this write was lost.
                Some(there) if there == self.record => return Ok(true),
                // That to an earlier one was, or nobody waited for it.
                Some(_) => {}
            }
        }
        Err(StorageError::ConditionFailed { key: keys::declaration(&self.id).to_string() })
    }

    /// What is in the store if it is still this work's, and its state from now on.
    async fn own(&mut self) -> Result<Option<Record>, StorageError> {
        let Some(seen) = self.ledger.read(&self.id).await? else { return Ok(None) };
        let own = seen.record.filter(|there| there.nonce == self.record.nonce);
        if own.is_some() {
            self.version = seen.version;
        }
        Ok(own)
    }

    /// What is said of the declaration by whoever has taken it over.
    pub(super) async fn successor(&self) -> Result<Option<Record>, StorageError> {
        Ok(self.ledger.read(&self.id).await?.and_then(|seen| seen.record))
    }

    /// Removes the record, unless somebody else has taken it over.
    pub(super) async fn end(mut self) -> Result<(), StorageError> {
        let key = keys::declaration(&self.id);
        while !self.ledger.storage.delete_unchanged(&key, &self.version).await? {
            if self.own().await?.is_none() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryStorage;

    fn wanted(source: &str) -> Wanted {
        Wanted { source: source.into(), release_version: None }
    }

    fn left(there: State, wanted_source: &str, state: State, me: &str, stopped: bool) -> bool {
        let record = Record::new("owner", &wanted("a"), there);
        record.is_left_to_its_owner(me, &wanted(wanted_source), state, stopped)
    }

    #[test]
    fn the_same_work_of_an_owner_that_lives_is_left_to_it() {
        for there in [State::Pending, State::Validating, State::Storing] {
            assert!(left(there, "a", State::Pending, "other", false));
            assert!(!left(there, "a", State::Pending, "other", true));
            assert!(!left(there, "a", State::Pending, "owner", false));
            assert!(!left(there, "b", State::Pending, "other", false));
            assert!(!left(there, "a", State::Removing, "other", false));
        }
        assert!(left(State::Removing, "b", State::Removing, "other", false));
        assert!(!left(State::Removing, "a", State::Pending, "other", false));
    }

    #[test]
    fn what_has_ended_may_begin_again() {
        for there in [State::Added, State::Failed] {
            assert!(!left(there, "a", State::Pending, "other", false));
        }
    }

    #[tokio::test]
    async fn an_owner_without_a_sign_of_life_is_taken_over_and_notices() {
        const PATIENCE: Duration = Duration::from_millis(400);
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let ledger = |me: &str| Ledger {
            storage: Arc::clone(&storage),
            me: me.into(),
            patience: PATIENCE,
            observed: Arc::default(),
        };
        let (one, other) = (ledger("one"), ledger("other"));
        let id: DeclarationId = "u".parse().unwrap();
        let acquire = async |ledger: &Ledger| match ledger.acquire(&id, &wanted("a"), State::Pending).await.unwrap() {
            Acquired::Mine(lease) => Some(lease),
            Acquired::Theirs(_) => None,
        };
        let mut lease = acquire(&one).await.unwrap();
        for _ in 0..10 {
            assert!(acquire(&other).await.is_none());
            tokio::time::sleep(PATIENCE / 5).await;
            assert!(lease.say(Declaration { state: State::Validating, ..pending("u") }).await.unwrap());
        }
        assert!(acquire(&other).await.is_none());
        tokio::time::sleep(PATIENCE).await;
        let seen = other.read(&id).await.unwrap().unwrap();
        assert_eq!(seen.describe("u").unwrap().state, State::Failed);
        assert!(acquire(&other).await.is_some());
        assert!(!lease.say(pending("u")).await.unwrap());
        // What its successor wrote stays.
        lease.end().await.unwrap();
        assert!(other.read(&id).await.unwrap().is_some());
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record::new("owner", &wanted("a"), State::Validating);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert_eq!(record.describe("x").state, State::Validating);
    }
}
