//! What is declared, and what became of it. What is published is in the store; what is on its way is in memory, and where
//! several instances work on one store, in its [`ledger`] too.

mod ledger;
mod slot;
mod source;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{Declaration, DeclarationSpec, PublishedPackage, State};
use snafu::{Snafu, ensure};
use tokio::sync::{Semaphore, oneshot};

use crate::audit::Audit;
use crate::catalogue::{Catalogue, Restored, describe};
use crate::digest::check_sha256_hex;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::names::{DeclarationId, InvalidName};
use crate::storage::{Key, StorageError};
use ledger::{Acquired, Ledger};
use slot::{Placed, Slot, Turn, Wanted};
use source::source_hash;

/// Packages that are taken in at the same time; the others wait.
const AT_ONCE: usize = 4;

/// Why a declaration isn't taken.
#[derive(Debug, Snafu)]
pub enum PutError {
    /// It can't be taken as it is.
    #[snafu(display("{field}: {problem}"))]
    Invalid {
        /// The field.
        field: &'static str,
        /// What would be right.
        problem: String,
    },
    /// The store that instances share fails.
    #[snafu(display("{source}"), context(false))]
    Store {
        /// Why.
        source: StorageError,
    },
}

/// All declarations of the process.
#[derive(Clone)]
pub struct Declarations {
    inner: Arc<Inner>,
}

struct Inner {
    ingest: Ingest,
    /// What instances tell each other; none where there is one.
    ledger: Option<Ledger>,
    slots: Mutex<HashMap<String, Slot>>,
    /// One request at a time decides what becomes of a declaration.
    asking: tokio::sync::Mutex<()>,
    permits: Semaphore,
    audit: Audit,
    metrics: Metrics,
}

impl Declarations {
    /// The declarations that have a package in the store; others are put again by their owners.
    #[must_use]
    pub fn restore(ingest: Ingest, restored: Vec<Restored>, audit: Audit, metrics: Metrics) -> Self {
        let slots = restored.into_iter().map(|found| (found.id.clone(), found.into())).collect();
        let ledger = Ledger::of(ingest.catalogue.storage());
        let inner = Inner {
            ingest,
            ledger,
            slots: Mutex::new(slots),
            asking: tokio::sync::Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
            audit,
            metrics,
        };
        Self { inner: Arc::new(inner) }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalogue(&self) -> &Catalogue {
        &self.inner.ingest.catalogue
    }

    /// Declares. The same spec again changes nothing, unless its last attempt failed or its package was lost.
    ///
    /// # Errors
    /// A spec that can't be taken, or a store that fails; nothing changed then.
    pub async fn put(&self, id: &str, spec: DeclarationSpec) -> Result<Declaration, PutError> {
        let name = check(id, &spec)?;
        let wanted = Wanted { source: source_hash(&spec), release_version: spec.release_version };
        self.notice_loss(id).await;
        let _one = self.inner.asking.lock().await;
        if let Some(ledger) = &self.inner.ledger {
            let ours = self.slots().get(id).is_some_and(|slot| slot.is_taking_in(&wanted));
            if !ours && let Some(theirs) = self.put_with(ledger, id, &name, &spec, &wanted).await? {
                return Ok(theirs);
            }
        } else if let Some(turn) = self.declare(id, &spec, wanted) {
            self.start(id, spec, turn, None);
        }
        Ok(self.view(id).await?.unwrap_or_else(|| slot::pending(id)))
    }

    fn declare(&self, id: &str, spec: &DeclarationSpec, wanted: Wanted) -> Option<Turn> {
        let mut slots = self.slots();
        let slot = slots.entry(id.to_owned()).or_default();
        slot.spec = Some(spec.clone());
        slot.declare(wanted)
    }

    /// As [`Self::put`], where other instances may work on the declaration. What another one says of it, if that does the
    /// work already.
    async fn put_with(
        &self,
        ledger: &Ledger,
        id: &str,
        name: &DeclarationId,
        spec: &DeclarationSpec,
        wanted: &Wanted,
    ) -> Result<Option<Declaration>, StorageError> {
        self.learn(id).await?;
        let Some(turn) = self.declare(id, spec, wanted.clone()) else {
            // It is published. Whoever works on something else must not publish that any more.
            let other = ledger.read(name).await?.is_some_and(|seen| !seen.is_over());
            if other && let Acquired::Mine(mut lease) = ledger.acquire(name, wanted, State::Added).await? {
                lease.say(Declaration { state: State::Added, ..slot::pending(id) }).await?;
            }
            return Ok(None);
        };
        let acquired = ledger.acquire(name, wanted, State::Pending).await;
        if let Ok(Acquired::Mine(lease)) = acquired {
            self.start(id, spec.clone(), turn, Some(lease));
            return Ok(None);
        }
        if let Some(slot) = self.slots().get_mut(id) {
            slot.yielded(&turn);
        }
        match acquired? {
            Acquired::Theirs(record) => self.describe(id, record.describe(id)).await.map(Some),
            Acquired::Mine(_) => Ok(None),
        }
    }

    /// Takes over what the catalogue says of a declaration's package.
    async fn learn(&self, id: &str) -> Result<(), StorageError> {
        let placed = self.catalogue().declared(id).await?.map(Placed::from);
        let mut slots = self.slots();
        match slots.get_mut(id) {
            Some(slot) => slot.learn(placed),
            None => slots.entry(id.to_owned()).or_default().learn(placed),
        }
        Ok(())
    }

    /// What became of a declaration.
    ///
    /// # Errors
    /// A store that fails, where other instances may know more than this one.
    pub async fn view(&self, id: &str) -> Result<Option<Declaration>, StorageError> {
        let (found, underway) = {
            let slots = self.slots();
            let slot = slots.get(id);
            (slot.map(|slot| (slot.describe(id), slot.placed.clone())), slot.is_some_and(Slot::is_underway))
        };
        if let (Some(ledger), false) = (&self.inner.ledger, underway) {
            return self.view_shared(ledger, id).await;
        }
        let Some((mut declaration, placed)) = found else { return Ok(None) };
        if let Some(placed) = placed {
            declaration.package = self.published(id, &placed.entry).await;
        }
        Ok(Some(declaration))
    }

    /// As [`Self::view`], of a declaration that this process doesn't work on.
    async fn view_shared(&self, ledger: &Ledger, id: &str) -> Result<Option<Declaration>, StorageError> {
        // Nobody declared what no id has.
        let Ok(name) = id.parse::<DeclarationId>() else { return Ok(None) };
        let seen = ledger.read(&name).await?;
        let added = Declaration { state: State::Added, ..slot::pending(id) };
        let said = seen.as_ref().and_then(|seen| seen.describe(id)).unwrap_or(added);
        let declaration = self.describe(id, said).await?;
        // Without a package, it is for its owner to declare it again: it was lost, or nobody works on it any more.
        let lost = declaration.state == State::Added || seen.is_some_and(|seen| seen.stopped);
        let over = lost && declaration.state != State::Removing && declaration.package.is_none();
        Ok(Some(declaration).filter(|_| !over))
    }

    /// Adds what the declaration has in the catalogue.
    async fn describe(&self, id: &str, declaration: Declaration) -> Result<Declaration, StorageError> {
        let package = match self.catalogue().declared(id).await? {
            Some(found) => self.published(id, &found.entry).await,
            None => None,
        };
        Ok(Declaration { package, ..declaration })
    }

    async fn published(&self, id: &str, entry: &Key) -> Option<PublishedPackage> {
        match self.catalogue().read(entry).await {
            Ok((entry, _)) => Some(describe::published(&entry)),
            Err(error) => {
                tracing::error!(declaration.id = id, %error, "a published package can't be read");
                None
            }
        }
    }

    /// Withdraws, and says what was there before anything was removed. `None` if there is no such declaration (any more),
    /// neither in memory nor in the store.
    ///
    /// # Errors
    /// A store that fails when it is asked for a declaration that memory doesn't know.
    pub async fn delete(&self, id: &str) -> Result<Option<Declaration>, StorageError> {
        let _one = self.inner.asking.lock().await;
        let mut lease = None;
        if let Some(ledger) = &self.inner.ledger {
            let Ok(name) = id.parse::<DeclarationId>() else { return Ok(None) };
            self.learn(id).await?;
            let known = self.slots().get(id).is_some_and(|slot| slot.placed.is_some() || slot.is_underway());
            if !known && ledger.read(&name).await?.is_none() {
                self.slots().remove(id);
                return Ok(None);
            }
            match ledger.acquire(&name, &Wanted::default(), State::Removing).await? {
                Acquired::Mine(mine) => lease = Some(mine),
                Acquired::Theirs(record) => return self.describe(id, record.describe(id)).await.map(Some),
            }
        } else if !self.slots().contains_key(id) {
            let Some(found) = self.catalogue().declared(id).await? else { return Ok(None) };
            self.slots().entry(id.to_owned()).or_insert_with(|| found.into());
        }
        let started = match self.slots().get_mut(id) {
            Some(slot) => slot.remove(),
            None => return Ok(None),
        };
        let Some(turn) = started else { return self.view(id).await };
        let (sender, before) = oneshot::channel();
        let (this, id) = (self.clone(), id.to_owned());
        // One task: the work begins when the answer is known, also if nobody waits for the answer any more.
        tokio::spawn(async move {
            let _ = sender.send(this.view(&id).await);
            this.take_out(id, turn, lease).await;
        });
        before.await.unwrap_or(Ok(None))
    }

    /// Forgets a package whose entry is gone from the catalogue, so that it is taken in again.
    async fn notice_loss(&self, id: &str) {
        let placed = self.slots().get(id).and_then(|slot| slot.placed.clone());
        let Some(placed) = placed else { return };
        match self.catalogue().read(&placed.entry).await {
            Err(error) if error.is_gone() || error.is_damage() => {
                tracing::error!(declaration.id = id, %error, "a published package was lost; it is taken in again");
                if let Some(slot) = self.slots().get_mut(id) {
                    slot.lost(&placed);
                }
            }
            _ => {}
        }
    }
}

impl From<Restored> for Placed {
    fn from(found: Restored) -> Self {
        Self { source: found.source, release_version: found.release_version, entry: found.entry }
    }
}

impl From<Restored> for Slot {
    fn from(found: Restored) -> Self {
        Self::published(found.into())
    }
}

fn check(id: &str, spec: &DeclarationSpec) -> Result<DeclarationId, PutError> {
    let name =
        id.parse().map_err(|error: InvalidName| PutError::Invalid { field: "id", problem: error.to_string() })?;
    if let Some(sha256) = &spec.url.sha256
        && check_sha256_hex(sha256).is_err()
    {
        let problem = "must be 64 lower-case hex digits";
        return InvalidSnafu { field: "url.sha256", problem }.fail();
    }
    // Numbers above it lose digits in readers that take JSON numbers as floating point.
    let numbers = [("releaseVersion", spec.release_version), ("releaseVersionFrom", Some(spec.release_version_from))];
    for (field, number) in numbers {
        let right = number.is_none_or(|number| number < 1 << 53);
        ensure!(right, InvalidSnafu { field, problem: "must be below 2^53" });
    }
    Ok(name)
}
