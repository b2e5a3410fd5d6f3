//! What is declared, and what became of it. In memory; what is published is in the store.

mod slot;
mod source;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{Declaration, DeclarationSpec, FailureReason};
use snafu::{Snafu, ensure};
use tokio::sync::{Semaphore, oneshot};

use crate::audit::{Audit, Change};
use crate::catalogue::entry::{Declared, Entry};
use crate::catalogue::{Catalogue, Restored, describe};
use crate::digest::check_sha256_hex;
use crate::ingest::{Ingest, IngestError};
use crate::metrics::Metrics;
use crate::storage::StorageError;
use slot::{Phase, Placed, Slot, Turn, Wanted};
use source::source_hash;

/// Packages that are taken in at the same time; the others wait.
const AT_ONCE: usize = 4;
/// Most characters of an id.
const LONGEST_ID: usize = 128;

/// A declaration that can't be taken as it is.
#[derive(Debug, Snafu)]
#[snafu(display("{field}: {problem}"))]
pub struct InvalidDeclaration {
    field: &'static str,
    problem: String,
}

/// All declarations of the process.
#[derive(Clone)]
pub struct Declarations {
    inner: Arc<Inner>,
}

struct Inner {
    ingest: Ingest,
    slots: Mutex<HashMap<String, Slot>>,
    permits: Semaphore,
    audit: Audit,
    metrics: Metrics,
}

impl Declarations {
    /// The declarations that have a package in the store; others are put again by their owners.
    #[must_use]
    pub fn restore(ingest: Ingest, restored: Vec<Restored>, audit: Audit, metrics: Metrics) -> Self {
        let slots = restored.into_iter().map(|found| (found.id.clone(), found.into())).collect();
        let permits = Semaphore::new(AT_ONCE);
        Self { inner: Arc::new(Inner { ingest, slots: Mutex::new(slots), permits, audit, metrics }) }
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
    /// A spec that can't be taken; nothing changed then.
    pub async fn put(&self, id: &str, spec: DeclarationSpec) -> Result<Declaration, InvalidDeclaration> {
        check(id, &spec)?;
        let wanted = Wanted { source: source_hash(&spec), release_version: spec.release_version };
        self.notice_loss(id).await;
        let started = {
            let mut slots = self.slots();
            let slot = slots.entry(id.to_owned()).or_default();
            slot.spec = Some(spec.clone());
            slot.declare(wanted)
        };
        if let Some(turn) = started {
            self.start(id, spec, turn);
        }
        Ok(self.view(id).await.unwrap_or_else(|| slot::pending(id)))
    }

    /// What became of a declaration.
    pub async fn view(&self, id: &str) -> Option<Declaration> {
        let (mut declaration, placed) = {
            let slots = self.slots();
            let slot = slots.get(id)?;
            (slot.describe(id), slot.placed.clone())
        };
        if let Some(placed) = placed {
            match self.catalogue().read(&placed.entry).await {
                Ok((entry, _)) => declaration.package = Some(describe::published(&entry)),
                Err(error) => tracing::error!(declaration.id = id, %error, "a published package can't be read"),
            }
        }
        Some(declaration)
    }

    /// Withdraws, and says what was there before anything was removed. `None` if there is no such declaration (any more),
    /// neither in memory nor in the store.
    ///
    /// # Errors
    /// A store that fails when it is asked for a declaration that memory doesn't know.
    pub async fn delete(&self, id: &str) -> Result<Option<Declaration>, StorageError> {
        let known = self.slots().contains_key(id);
        if !known {
            let Some(found) = self.catalogue().declared(id).await? else { return Ok(None) };
            self.slots().entry(id.to_owned()).or_insert_with(|| found.into());
        }
        let started = match self.slots().get_mut(id) {
            Some(slot) => slot.remove(),
            None => return Ok(None),
        };
        let Some(turn) = started else { return Ok(self.view(id).await) };
        let (sender, before) = oneshot::channel();
        let (this, id) = (self.clone(), id.to_owned());
        // One task: the work begins when the answer is known, also if nobody waits for the answer any more.
        tokio::spawn(async move {
            let _ = sender.send(this.view(&id).await);
            this.take_out(id, turn).await;
        });
        Ok(before.await.ok().flatten())
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

    fn start(&self, id: &str, spec: DeclarationSpec, turn: Turn) {
        let (this, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move { this.take_in_surely(id, spec, turn).await });
    }

    /// Takes in; whatever goes wrong on the way, the declaration doesn't stay where it is for ever.
    async fn take_in_surely(self, id: String, spec: DeclarationSpec, turn: Turn) {
        let (this, work_id, work_turn) = (self.clone(), id.clone(), turn.clone());
        let work = tokio::spawn(async move { this.take_in(work_id, spec, work_turn).await });
        if let Err(error) = work.await {
            tracing::error!(declaration.id = id, %error, "taking a package in stopped; this is a fault of the server");
            self.sweep().await;
            if let Some(slot) = self.slots().get_mut(&id) {
                let message = "the server failed while it took the package in; its log says more".to_owned();
                slot.finish(&turn, Phase::Failed { reason: FailureReason::FetchFailed, message });
            }
        }
    }

    async fn take_in(&self, id: String, spec: DeclarationSpec, turn: Turn) {
        let _one_at_a_time = turn.lock.lock().await;
        let permit = tokio::select! {
            biased;
            () = turn.cancelled.cancelled() => return,
            permit = self.inner.permits.acquire() => permit,
        };
        let by = spec.declared_by.clone();
        let declared = Declared { id: id.clone(), source: turn.wanted.source.clone(), by: by.clone() };
        let done = self.inner.ingest.run(spec, declared, &turn.meter, &turn.cancelled).await;
        drop(permit);
        let outcome = done.as_ref().map_or_else(|error| format!("{:?}", error.reason()), |_| "Added".to_owned());
        if !matches!(done, Err(IngestError::Cancelled)) {
            self.inner.metrics.ingested(&outcome);
        }
        match done {
            Ok(entry) => self.added(&id, &by, &turn, &entry).await,
            Err(error) => {
                self.sweep().await;
                tracing::warn!(declaration.id = id, declaration.by = by, %error, "a package was not added");
                if let Some(slot) = self.slots().get_mut(&id) {
                    slot.finish(&turn, Phase::Failed { reason: error.reason(), message: error.to_string() });
                }
            }
        }
    }

    async fn added(&self, id: &str, by: &str, turn: &Turn, entry: &Entry) {
        self.inner.audit.change(&Change {
            action: "add",
            who: by,
            package: &entry.name,
            version: &entry.version,
            digest: &entry.digest,
            declaration: id,
        });
        let entry_key = match entry.roots() {
            Ok(roots) => roots.entry,
            Err(error) => {
                tracing::error!(%error, "an entry that was just written is wrong");
                return;
            }
        };
        let replaces = {
            let mut slots = self.slots();
            let slot = slots.entry(id.to_owned()).or_default();
            let source = turn.wanted.source.clone();
            let placed = Placed { source, release_version: entry.release_version, entry: entry_key };
            let before = slot.placed.replace(placed);
            // What was there under another name goes before this one counts as added.
            before.is_some()
        };
        if replaces {
            self.sweep().await;
        }
        let again = self.slots().get_mut(id).and_then(|slot| {
            slot.finish(turn, Phase::Added);
            slot.overtaken(turn).zip(slot.spec.clone())
        });
        if let Some((turn, spec)) = again {
            self.start(id, spec, turn);
        }
    }

    async fn take_out(&self, id: String, turn: Turn) {
        let _one_at_a_time = turn.lock.lock().await;
        let placed = match self.slots().get(&id) {
            Some(slot) if slot.is_current(&turn) => slot.placed.clone(),
            // Declared again in the meantime: what is published now is for that declaration to replace.
            _ => return,
        };
        let (known, mut withdrawn) = (placed.map(|placed| placed.entry), Vec::new());
        let done = self.catalogue().withdraw(&id, known.as_ref(), &mut withdrawn).await;
        for entry in withdrawn {
            self.inner.audit.change(&Change {
                action: "remove",
                who: &entry.declaration.by,
                package: &entry.name,
                version: &entry.version,
                digest: &entry.digest,
                declaration: &id,
            });
        }
        if let Err(error) = done {
            tracing::error!(declaration.id = id, %error, "a package could not be withdrawn");
            if let Some(slot) = self.slots().get_mut(&id) {
                slot.finish(&turn, Phase::Removing { stuck: Some(error.to_string()) });
            }
            return;
        }
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(&id) {
            slot.placed = None;
            if slot.is_current(&turn) {
                slots.remove(&id);
            }
        }
    }

    async fn sweep(&self) {
        if let Err(error) = self.catalogue().sweep().await {
            tracing::error!(%error, "what no package needs stays in the store until the next sweep");
        }
    }
}

impl From<Restored> for Slot {
    fn from(found: Restored) -> Self {
        Self::published(Placed { source: found.source, release_version: found.release_version, entry: found.entry })
    }
}

fn check(id: &str, spec: &DeclarationSpec) -> Result<(), InvalidDeclaration> {
    let id_right = (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let problem = format!("must have 1 to {LONGEST_ID} letters, digits, - _ or .");
    ensure!(id_right, InvalidDeclarationSnafu { field: "id", problem });
    if let Some(sha256) = &spec.url.sha256
        && check_sha256_hex(sha256).is_err()
    {
        let problem = "must be 64 lower-case hex digits";
        return InvalidDeclarationSnafu { field: "url.sha256", problem }.fail();
    }
    // Numbers above it lose digits in readers that take JSON numbers as floating point.
    let numbers = [("releaseVersion", spec.release_version), ("releaseVersionFrom", Some(spec.release_version_from))];
    for (field, number) in numbers {
        let right = number.is_none_or(|number| number < 1 << 53);
        ensure!(right, InvalidDeclarationSnafu { field, problem: "must be below 2^53" });
    }
    Ok(())
}
