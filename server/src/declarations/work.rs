//! The work on a declaration: taking its package in, and out.

use std::sync::Arc;

use api::{Declaration, DeclarationSpec, FailureReason, State};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Declarations;
use super::ledger::{BEAT, Lease};
use super::slot::{Phase, Placed, Turn, pending};
use crate::audit::Change;
use crate::catalogue::SweepError;
use crate::catalogue::entry::{Declared, Entry};
use crate::ingest::IngestError;
use crate::storage::StorageError;

/// The lease of a piece of work, where instances share a store.
type Shared = Option<Arc<Mutex<Lease>>>;

impl Declarations {
    pub(super) fn start(&self, id: &str, spec: DeclarationSpec, turn: Turn, lease: Option<Lease>) {
        let (this, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move { this.take_in_surely(id, spec, turn, lease).await });
    }

    /// Takes in; whatever goes wrong on the way, the declaration doesn't stay where it is for ever.
    async fn take_in_surely(self, id: String, spec: DeclarationSpec, turn: Turn, lease: Option<Lease>) {
        let lease: Shared = lease.map(|lease| Arc::new(Mutex::new(lease)));
        let heart = lease.clone().map(|lease| self.beat(&id, &turn, lease));
        let (this, work_id, work_turn, shared) = (self.clone(), id.clone(), turn.clone(), lease.clone());
        let work = tokio::spawn(async move { this.take_in(work_id, spec, work_turn, &shared).await });
        if let Err(error) = work.await {
            tracing::error!(declaration.id = id, %error, "taking a package in stopped; this is a fault of the server");
            self.sweep().await;
            let message = "the server failed while it took the package in; its log says more".to_owned();
            self.failed(&id, &turn, FailureReason::FetchFailed, message, &lease).await;
        }
        if let Some(heart) = heart {
            heart.abort();
        }
    }

    /// Tells the other instances how far it is, until somebody takes it over.
    fn beat(&self, id: &str, turn: &Turn, lease: Arc<Mutex<Lease>>) -> JoinHandle<()> {
        let (this, id, turn) = (self.clone(), id.to_owned(), turn.clone());
        tokio::spawn(async move {
            loop {
                sleep(BEAT).await;
                let now = {
                    let slots = this.slots();
                    slots.get(&id).filter(|slot| slot.is_current(&turn)).map(|slot| slot.describe(&id))
                };
                // Another request to this process has begun something else.
                let Some(now) = now else { return };
                if now.state.is_final() {
                    return;
                }
                match lease.lock().await.say(now).await {
                    Ok(true) => {}
                    Ok(false) => {
                        tracing::info!(declaration.id = id, "another instance has taken a declaration over");
                        return turn.cancelled.cancel();
                    }
                    Err(error) => tracing::warn!(declaration.id = id, %error, "no sign of life could be given"),
                }
            }
        })
    }

    async fn take_in(&self, id: String, spec: DeclarationSpec, turn: Turn, lease: &Shared) {
        let _one_at_a_time = turn.lock.lock().await;
        let permit = tokio::select! {
            biased;
            () = turn.cancelled.cancelled() => return self.yielded(&id, &turn, lease),
            permit = self.inner.permits.acquire() => permit,
        };
        let by = spec.declared_by.clone();
        let declared = Declared { id: id.clone(), source: turn.wanted.source.clone(), by: by.clone() };
        let done = self.run(&id, spec, declared, &turn, lease).await;
        drop(permit);
        let outcome = done.as_ref().map_or_else(|error| format!("{:?}", error.reason()), |_| "Added".to_owned());
        if !matches!(done, Err(IngestError::Cancelled)) {
            self.inner.metrics.ingested(&outcome);
        }
        match done {
            Ok(entry) => self.added(&id, &by, &turn, &entry, lease).await,
            Err(error) => {
                self.sweep().await;
                tracing::warn!(declaration.id = id, declaration.by = by, %error, "a package was not added");
                if matches!(error, IngestError::Cancelled) {
                    return self.yielded(&id, &turn, lease);
                }
                self.failed(&id, &turn, error.reason(), error.to_string(), lease).await;
            }
        }
    }

    /// Fetches, and publishes if it is still this process' to do.
    async fn run(
        &self,
        id: &str,
        spec: DeclarationSpec,
        declared: Declared,
        turn: &Turn,
        lease: &Shared,
    ) -> Result<Entry, IngestError> {
        let received = self.inner.ingest.receive(spec, &turn.meter, &turn.cancelled).await?;
        if let Some(lease) = lease {
            let storing = Declaration { state: State::Storing, progress: turn.meter.progress(), ..pending(id) };
            let ours = lease.lock().await.say(storing).await;
            if !ours.map_err(|source| IngestError::Publish { source: source.into() })? {
                turn.cancelled.cancel();
            }
        }
        self.inner.ingest.publish(received, declared, &turn.cancelled).await
    }

    async fn failed(&self, id: &str, turn: &Turn, reason: FailureReason, message: String, lease: &Shared) {
        let progress = turn.meter.progress();
        if let Some(lease) = lease {
            let (reason, said) = (Some(reason), Some(message.clone()));
            let what = Declaration { state: State::Failed, reason, message: said, progress, ..pending(id) };
            match lease.lock().await.say(what).await {
                Ok(true) => {}
                Ok(false) => return self.yielded(id, turn, &None),
                Err(error) => tracing::error!(declaration.id = id, %error, "a failure could not be shared"),
            }
        }
        if let Some(slot) = self.slots().get_mut(id) {
            slot.finish(turn, Phase::Failed { reason, message });
        }
    }

    /// Somebody else works on it now, or nobody wants it.
    fn yielded(&self, id: &str, turn: &Turn, lease: &Shared) {
        if lease.is_some()
            && let Some(slot) = self.slots().get_mut(id)
        {
            slot.yielded(turn);
        }
    }

    async fn added(&self, id: &str, by: &str, turn: &Turn, entry: &Entry, lease: &Shared) {
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
        if let Some(lease) = lease
            && !self.shared_as_added(id, turn, lease).await
        {
            return;
        }
        let again = self.slots().get_mut(id).and_then(|slot| {
            slot.finish(turn, Phase::Added);
            slot.overtaken(turn).zip(slot.spec.clone())
        });
        if let Some((turn, spec)) = again {
            self.start(id, spec, turn, None);
        }
    }

    /// Says that it is added. False if somebody took it over meanwhile: what was published too late goes again where nobody
    /// wants it any more.
    async fn shared_as_added(&self, id: &str, turn: &Turn, lease: &Mutex<Lease>) -> bool {
        let progress = turn.meter.progress();
        let mut lease = lease.lock().await;
        let said = lease.say(Declaration { state: State::Added, progress, ..pending(id) }).await;
        match said {
            Ok(true) => return true,
            Err(error) => {
                tracing::error!(declaration.id = id, %error, "that a package was added could not be shared");
                return true;
            }
            Ok(false) => {}
        }
        let unwanted = match lease.successor().await {
            Ok(None) => true,
            Ok(Some(record)) => record.state == State::Removing,
            Err(_) => false,
        };
        if unwanted && let Err(error) = self.withdraw(id, None).await {
            tracing::error!(declaration.id = id, %error, "a package that nobody wants any more could not be withdrawn");
        }
        if let Some(slot) = self.slots().get_mut(id) {
            slot.yielded(turn);
        }
        false
    }

    pub(super) async fn take_out(&self, id: String, turn: Turn, lease: Option<Lease>) {
        let _one_at_a_time = turn.lock.lock().await;
        let placed = match self.slots().get(&id) {
            Some(slot) if slot.is_current(&turn) => slot.placed.clone(),
            // Declared again in the meantime: what is published now is for that declaration to replace.
            _ => return,
        };
        let lease: Shared = lease.map(|lease| Arc::new(Mutex::new(lease)));
        let heart = lease.clone().map(|lease| self.beat(&id, &turn, lease));
        let done = self.withdraw(&id, placed.as_ref()).await;
        if let Some(heart) = heart {
            heart.abort();
            let _ = heart.await;
        }
        if let Err(error) = done {
            tracing::error!(declaration.id = id, %error, "a package could not be withdrawn");
            let stuck = Some(error.to_string());
            if let Some(lease) = &lease {
                let what = Declaration { state: State::Removing, message: stuck.clone(), ..pending(&id) };
                Self::shared(&id, lease.lock().await.say(what).await.map(drop));
            }
            if let Some(slot) = self.slots().get_mut(&id) {
                slot.finish(&turn, Phase::Removing { stuck });
            }
            return;
        }
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            Self::shared(&id, lease.into_inner().end().await);
        }
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(&id) {
            slot.placed = None;
            if slot.is_current(&turn) {
                slots.remove(&id);
            }
        }
    }

    fn shared(id: &str, done: Result<(), StorageError>) {
        if let Err(error) = done {
            tracing::error!(declaration.id = id, %error, "what became of a declaration could not be shared");
        }
    }

    async fn withdraw(&self, id: &str, placed: Option<&Placed>) -> Result<(), SweepError> {
        let mut withdrawn = Vec::new();
        let done = self.catalogue().withdraw(id, placed.map(|placed| &placed.entry), &mut withdrawn).await;
        for entry in withdrawn {
            self.inner.audit.change(&Change {
                action: "remove",
                who: &entry.declaration.by,
                package: &entry.name,
                version: &entry.version,
                digest: &entry.digest,
                declaration: id,
            });
        }
        done
    }

    async fn sweep(&self) {
        if let Err(error) = self.catalogue().sweep().await {
            tracing::error!(%error, "what no package needs stays in the store until the next sweep");
        }
    }
}
