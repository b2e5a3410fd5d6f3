//! What the backend does by itself, for as long as it is used: it takes up new credentials, looks whether the store answers
//! when nobody else asks it, and clears leftovers.

use std::sync::Weak;
use std::time::{Duration, Instant};

use aws_sdk_s3::config::Credentials;

use super::client::{read_credentials, with_credentials};
use super::config::CredentialsSource;
use super::inner::Inner;
use crate::storage::{Listing, keys};

/// How often the credentials file is looked at. It is polled: what mounts Secrets swaps a symbolic link, which leaves
/// watchers of the file deaf.
const CREDENTIALS: Duration = Duration::from_secs(2);
/// How long nobody may have asked the store before it is asked for the sake of its health alone.
const QUIET: Duration = Duration::from_secs(10);
/// How often leftovers are cleared.
const LEFTOVERS: Duration = Duration::from_hours(6);
/// How old leftovers are that nobody can still be at work on.
const OLD: Duration = Duration::from_hours(24);

/// Takes up new credentials.
pub(super) async fn watch_credentials(inner: Weak<Inner>, source: CredentialsSource, mut used: Credentials) {
    loop {
        tokio::time::sleep(CREDENTIALS).await;
        let named = source.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || read_credentials(&named)).await else { return };
        let Some(inner) = inner.upgrade() else { return };
        let health = &inner.bucket.health;
        match read {
            Ok(read) if read != used => {
                health.credentials_read();
                let client = with_credentials(&inner.bucket.client.load(), read.clone());
                inner.bucket.client.store(client.into());
                used = read;
                tracing::info!(profile = source.profile, "new credentials for the store are in use");
            }
            Ok(_) => health.credentials_read(),
            // Whether the ones before still open the store, calls tell.
            Err(error) => health.credentials_unreadable(format!("{error}; the credentials before it stay in use")),
        }
    }
}

/// Asks the store when nobody else does.
pub(super) async fn watch_health(inner: Weak<Inner>) {
    let mut before = None;
    loop {
        tokio::time::sleep(QUIET).await;
        let Some(inner) = inner.upgrade() else { return };
        let answers = inner.bucket.health.answers();
        if before.is_none_or(|before| before == answers) {
            // The answer is noted by the call itself.
            let listing = Listing { prefix: keys::PACKAGES, folders: true, after: None, limit: 1 };
            let _ = inner.page(&listing).await;
        }
        before = Some(inner.bucket.health.answers());
    }
}

/// Clears leftovers for ever.
pub(super) async fn clear(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(LEFTOVERS).await;
        let Some(inner) = inner.upgrade() else { return };
        let begun = Instant::now();
        match inner.clear_leftovers(OLD).await {
            Ok(cleared) => tracing::info!(
                uploads = cleared.uploads,
                objects = cleared.objects,
                seconds = begun.elapsed().as_secs(),
                "leftovers in the bucket are cleared"
            ),
            Err(error) => tracing::warn!(%error, "leftovers in the bucket stay for now"),
        }
    }
}
