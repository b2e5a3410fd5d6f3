//! Making links and tags right that don't hold what the packages say.
//!
//! A walk only notes what is wrong. It is made right in a turn, with what the packages need as it is then, and only where
//! nobody has changed it since it was seen: a collection takes its time, and packages come and go meanwhile.

use super::Catalogue;
use super::links::Held;
use super::needs::Needs;
use super::snapshot::Freshness;
use super::sweep::SweepError;
use crate::storage::keys::Place;
use crate::storage::{Condition, StorageError, Version};

/// A link or tag of a package that doesn't hold what the package says.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    /// Where.
    pub(super) place: Place,
    /// The state in which it was seen, and what it held, unless that is damaged; nothing where it isn't there.
    pub(super) seen: Option<(Version, Option<Held>)>,
}

impl Catalogue {
    /// Makes right what a walk found wrong that took its time.
    ///
    /// # Errors
    /// A store that fails: what wasn't made right is with a later collection.
    pub(super) async fn repair(&self, wrong: &[Wrong]) -> Result<(), SweepError> {
        if wrong.is_empty() {
            return Ok(());
        }
        let _turn = self.inner.turn.lock().await;
        let generation = self.look(Freshness::Now).await?.generation;
        let needs = self.known_unchanged().await?.needs;
        for wrong in wrong {
            // Where others work on the store too, their packages come and go without our turn.
            if self.look(Freshness::Recent).await?.generation != generation {
                tracing::info!("packages came or went; the rest is made right by the next collection");
                return Ok(());
            }
            self.make_right(wrong, &needs).await?;
        }
        Ok(())
    }

    /// Makes one link or tag right, in a turn. While there is no room for it, the package is there without it. One that
    /// somebody has changed, or that no package has any more, is left alone.
    pub(super) async fn make_right(&self, wrong: &Wrong, needs: &Needs) -> Result<(), StorageError> {
        let Some(held) = needs.held(&wrong.place) else { return Ok(()) };
        let key = wrong.place.key();
        let (held, condition) = match &wrong.seen {
            None => (held.clone(), Condition::Absent),
            Some((state, there)) => (held.over(there.as_ref()), Condition::Unchanged(state.clone())),
        };
        let bytes = held.document(&key)?;
        match (self.storage().put(&key, bytes, condition).await, &wrong.seen) {
            (Err(StorageError::ConditionFailed { .. }), _) => Ok(()),
            // A tag that can't be moved must not stay where it is; removing it needs no room.
            (Err(StorageError::StorageFull { .. }), Some((state, _))) if matches!(wrong.place, Place::Tag(..)) => {
                self.storage().delete_unchanged(&key, state).await.map(drop)
            }
            (Err(error @ StorageError::StorageFull { .. }), _) => {
                tracing::error!(%key, %error, "a link or tag is missing or damaged for now");
                Ok(())
            }
            (other, _) => other.map(drop),
        }
    }
}
