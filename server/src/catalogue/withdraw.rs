//! Withdrawing packages, and finding what a declaration has.

use super::entry::{Entry, Roots};
use super::snapshot::Freshness;
use super::sweep::{Restored, SweepError};
use super::{Catalogue, Turn};
use crate::storage::StorageError;
use crate::storage::keys::Key;

/// How often an entry is removed that somebody else writes at the same time.
const ATTEMPTS: usize = 8;

impl Catalogue {
    /// What a declaration has in the store, its latest publication. Entries that can't be read are passed over.
    ///
    /// # Errors
    /// A listing that fails.
    pub async fn declared(&self, id: &str) -> Result<Option<Restored>, StorageError> {
        let snapshot = self.look(Freshness::Now).await?;
        let own = snapshot.packages.iter().filter(|package| package.declaration.id == id);
        Ok(own.max_by_key(|package| package.order).map(|package| Restored::from(package.as_ref())))
    }

    /// Removes everything that a declaration has in the catalogue, and what nobody else needs of it from the store.
    /// `known` is where its package was put last. Adds what was withdrawn to `withdrawn`, also where it fails later.
    ///
    /// # Errors
    /// A store that fails; what was not removed goes with a later sweep.
    pub async fn withdraw(&self, id: &str, known: Option<&Key>, withdrawn: &mut Vec<Entry>) -> Result<(), SweepError> {
        let mut turn = self.inner.turn.lock().await;
        let snapshot = self.look(Freshness::Now).await?;
        let own = snapshot.packages.iter().filter(|package| package.declaration.id == id).map(|package| &package.key);
        let mut keys: Vec<&Key> = own.collect();
        // Also where it can't be read: its last trace.
        keys.extend(known.filter(|known| !keys.contains(known)));
        for key in keys {
            self.take_out(&mut turn, id, key, known == Some(key), withdrawn).await?;
        }
        self.sweep_in_turn(&mut turn).await
    }

    /// Removes an entry if it is the declaration's. First of all that belongs to a package, so that nobody sees half of it.
    async fn take_out(
        &self,
        turn: &mut Turn,
        id: &str,
        key: &Key,
        known: bool,
        withdrawn: &mut Vec<Entry>,
    ) -> Result<(), SweepError> {
        for _ in 0..ATTEMPTS {
            let (entry, state) = match self.read(key).await {
                Ok(found) => found,
                Err(error) if error.is_gone() => return Ok(()),
                // Nobody needs it in quarantine.
                Err(error) if known && error.is_damage() => {
                    turn.unknown_gone = true;
                    self.storage().delete(key).await?;
                    self.note_removed(key).await;
                    return Ok(());
                }
                Err(error) if known => return Err(error.into()),
                // The next sweep says so.
                Err(_) => return Ok(()),
            };
            if entry.declaration.id != id {
                return Ok(());
            }
            // Noted first: what is noted is removed also when this is interrupted.
            let roots: Roots = entry.roots()?;
            turn.gone.push(roots);
            if self.storage().delete_unchanged(key, &state).await? {
                self.note_removed(key).await;
                withdrawn.push(entry);
                return Ok(());
            }
        }
        Err(StorageError::ConditionFailed { key: key.to_string() }.into())
    }
}
