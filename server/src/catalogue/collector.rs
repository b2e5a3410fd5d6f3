//! Collecting what nobody needs, now and then, in the background.

use std::time::Duration;

use futures::future::join;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Catalogue, Removed, SweepError};
use crate::metrics::Metrics;

/// Uploads of blobs that nobody has gone on with for so long are forgotten.
const SESSION_AGE: Duration = Duration::from_hours(24);
/// What is pinned is made new so many times in a grace period.
const RENEWALS: u32 = 4;

/// Collects for ever. Several instances on one store need no agreement: whatever one removes, the others find removed.
pub async fn run(catalogue: Catalogue, interval: Duration, metrics: Metrics) {
    join(collect(&catalogue, interval, &metrics), renew(&catalogue)).await;
}

async fn collect(catalogue: &Catalogue, interval: Duration, metrics: &Metrics) {
    loop {
        sleep(jittered(interval, Uuid::new_v4().as_u128())).await;
        match pass(catalogue).await {
            Ok(removed) => {
                let Removed { blobs, bytes, small } = removed;
                let dry_run = catalogue.options().dry_run;
                tracing::info!(blobs, bytes, links = small, dry_run, "the store was collected");
                metrics.collected(&removed, dry_run);
            }
            Err(error) => {
                tracing::error!(%error, "the store was not collected; it is tried again");
                metrics.collection_failed();
            }
        }
    }
}

/// One collection, with what is left of old uploads of blobs.
async fn pass(catalogue: &Catalogue) -> Result<Removed, SweepError> {
    for session in catalogue.storage().stale_sessions(SESSION_AGE).await? {
        tracing::info!(%session, dry_run = catalogue.options().dry_run, "an upload that nobody goes on with is forgotten");
        if !catalogue.options().dry_run {
            catalogue.storage().drop_session(session).await?;
        }
    }
    catalogue.collect().await
}

/// Keeps what is pinned young where others may collect.
async fn renew(catalogue: &Catalogue) {
    while catalogue.storage().is_shared() {
        sleep(catalogue.options().grace_period / RENEWALS).await;
        if let Err(error) = catalogue.renew_pinned().await {
            tracing::warn!(%error, "what is on its way into the store could not be made new");
        }
    }
}

/// An interval between three and five quarters of what is asked for, so that several instances don't collect all at once.
fn jittered(interval: Duration, random: u128) -> Duration {
    let quarter = interval / 4;
    let part = u32::try_from(random % 1024).unwrap_or_default();
    quarter * 3 + quarter * 2 * part / 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn intervals_differ_by_a_quarter_at_most(random: u128, seconds in 1_u64..1_000_000) {
            let interval = Duration::from_secs(seconds);
            let found = jittered(interval, random);
            prop_assert!(found + Duration::from_micros(1) >= interval * 3 / 4 && found <= interval * 5 / 4);
        }
    }

    #[test]
    fn intervals_are_spread() {
        let hour = Duration::from_hours(1);
        assert_ne!(jittered(hour, 0), jittered(hour, 1000));
    }
}
