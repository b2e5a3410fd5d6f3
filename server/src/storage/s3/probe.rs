//! Finds out at the start whether the store keeps its word on conditional writes, on which everything that instances must
//! agree about rests: races of many writers, of whom exactly one may win.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::calls::{Bucket, Precondition};
use super::envelope::{Nonce, live};
use super::failure::{Failure, stopped};
use crate::storage::{Result, StorageError, keys};

/// Writers in one race.
const RACERS: usize = 32;

/// What the store was found to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Found {
    /// Why instances can't rely on the store; `None` where they can.
    pub unsafe_because: Option<String>,
    /// Whether it removes an object only in the state that was named.
    pub conditional_removal: bool,
}

/// What a race was about.
#[derive(Clone, Copy)]
enum Race {
    Create,
    Overwrite,
}

impl Race {
    fn condition(self) -> &'static str {
        match self {
            Self::Create => "If-None-Match: *",
            Self::Overwrite => "If-Match",
        }
    }
}

/// Asks the store. Leaves nothing in it.
pub(super) async fn probe(bucket: &Arc<Bucket>) -> Result<Found> {
    let key = format!("{}probe-{}", keys::DATA, Uuid::new_v4());
    let found = probe_at(bucket, &key).await;
    let removed = bucket.delete(&key, Precondition::Nothing).await;
    let found = found?;
    removed.map_err(|failure| failure.at(key))?;
    Ok(found)
}

async fn probe_at(bucket: &Arc<Bucket>, key: &str) -> Result<Found> {
    let created = race(bucket, key, None).await?;
    let mut unsafe_because = verdict(Race::Create, created);
    if unsafe_because.is_none() {
        let etag = bucket.get(key, None).await.map_err(|failure| failure.at(key))?.etag;
        unsafe_because = verdict(Race::Overwrite, race(bucket, key, Some(etag)).await?);
    }
    let conditional_removal = removes_conditionally(bucket, key).await?;
    Ok(Found { unsafe_because, conditional_removal })
}

/// How many win who write at the same time, all under the same condition.
async fn race(bucket: &Arc<Bucket>, key: &str, etag: Option<String>) -> Result<usize> {
    let (barrier, mut racers) = (Arc::new(Barrier::new(RACERS)), JoinSet::new());
    for _ in 0..RACERS {
        let (bucket, barrier, key, etag) = (Arc::clone(bucket), Arc::clone(&barrier), key.to_owned(), etag.clone());
        racers.spawn(async move {
            let bytes = live(Nonce::random(), b"");
            barrier.wait().await;
            let condition = etag.as_deref().map_or(Precondition::Absent, Precondition::Matches);
            won(&bucket, &key, bytes, condition).await
        });
    }
    let mut winners = 0;
    while let Some(done) = racers.join_next().await {
        winners += usize::from(done.map_err(stopped)??);
    }
    Ok(winners)
}

/// Whether a write won, the answer lost or not.
async fn won(bucket: &Bucket, key: &str, bytes: Bytes, condition: Precondition<'_>) -> Result<bool> {
    match bucket.put(key, bytes.clone(), condition).await {
        Ok(_) => Ok(true),
        Err(Failure::Precondition) => {
            let there = bucket.get(key, None).await.map_err(|failure| failure.at(key))?;
            let there = there.body.collect().await.map_err(|error| StorageError::Unavailable {
                trouble: crate::storage::health::Trouble::Unreachable,
                message: format!("the store's answer broke off: {error}"),
            })?;
            Ok(there.into_bytes() == bytes)
        }
        Err(failure) => Err(failure.at(key)),
    }
}

fn verdict(race: Race, winners: usize) -> Option<String> {
    let condition = race.condition();
    (winners != 1).then(|| {
        format!(
            "the store doesn't honour conditional writes ({condition}): of {RACERS} writers at the same time {winners} won \
             instead of one, so several instances, or a restart at a bad moment, could overwrite each other's tags and \
             packages; use a store that honours them, or one instance on file storage"
        )
    })
}

async fn removes_conditionally(bucket: &Bucket, key: &str) -> Result<bool> {
    let failed = |failure: Failure| failure.at(key);
    let stale = bucket.get(key, None).await.map_err(failed)?.etag;
    let now = bucket.put(key, live(Nonce::random(), b""), Precondition::Nothing).await.map_err(failed)?;
    let refused = match bucket.delete(key, Precondition::Matches(&stale)).await {
        Err(Failure::Precondition) => true,
        // Removed all the same, or a header that the store doesn't know.
        Ok(()) | Err(Failure::Unusable { .. } | Failure::Conflict) => false,
        Err(failure) => return Err(failed(failure)),
    };
    if !refused || bucket.size(key).await.map_err(failed)?.is_none() {
        return Ok(false);
    }
    bucket.delete(key, Precondition::Matches(&now)).await.map_err(failed)?;
    Ok(bucket.size(key).await.map_err(failed)?.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_winner_is_safe() {
        assert_eq!(verdict(Race::Create, 1), None);
        for winners in [0, 2, 32] {
            let why = verdict(Race::Overwrite, winners).unwrap();
            assert!(why.contains(&format!("{winners} won")) && why.contains("If-Match"), "{why}");
        }
    }
}
