//! What the registry wants to see with every call.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use snafu::ResultExt;
use tokio::sync::Mutex;

use super::cluster::{Cluster, Found};
use super::error::{ArgumentSnafu, ConnectError, FileSnafu};

/// Where a call's authorization comes from.
pub enum Credentials {
    /// There is none; the server must take everybody.
    None,
    /// A file with a token, read again for each call: whoever wrote it may replace it.
    File(PathBuf),
    /// The token of a DC/OS user, in the front door's form.
    FrontDoor(HeaderValue),
    /// A token that the cluster makes for the registry's publisher.
    Cluster(Box<PublisherToken>),
}

/// A token of the registry's publisher, made anew before it ends.
pub struct PublisherToken {
    cluster: Cluster,
    registry: Found,
    /// The token, and how long it is used.
    known: Mutex<Option<(HeaderValue, Instant)>>,
}

impl PublisherToken {
    /// For a registry of a cluster. Nothing is asked yet.
    pub fn new(cluster: Cluster, registry: Found) -> Self {
        Self { cluster, registry, known: Mutex::new(None) }
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, ConnectError> {
        let mut known = self.known.lock().await;
        if let Some((value, _)) = known.as_ref().filter(|(_, until)| Instant::now() < *until) {
            return Ok(Some(value.clone()));
        }
        let (token, life) = self.cluster.token(&self.registry).await?;
        let value = secret(&format!("Bearer {token}"));
        *known = value.clone().map(|value| (value, Instant::now() + usable(life)));
        Ok(value)
    }
}

impl Credentials {
    /// Value of the `Authorization` header.
    pub async fn authorization(&self) -> Result<Option<HeaderValue>, ConnectError> {
        match self {
            Self::None => Ok(None),
            Self::FrontDoor(value) => Ok(Some(value.clone())),
            Self::File(path) => {
                const ARGUMENT: &str = "--token-file";
                let token = tokio::fs::read_to_string(path).await.context(FileSnafu { argument: ARGUMENT, path })?;
                let problem = || format!("{} does not hold a token: one line of printable characters", path.display());
                secret(&format!("Bearer {}", token.trim())).filter(|_| !token.trim().is_empty()).map_or_else(
                    || ArgumentSnafu { argument: ARGUMENT, problem: problem() }.fail(),
                    |value| Ok(Some(value)),
                )
            }
            Self::Cluster(token) => token.authorization().await,
        }
    }

    /// Forgets a token that was refused; says whether another one can be had.
    pub async fn renew(&self) -> bool {
        match self {
            Self::Cluster(token) => token.known.lock().await.take().is_some(),
            Self::None | Self::File(_) | Self::FrontDoor(_) => false,
        }
    }
}

/// A header that is never shown.
pub fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How long a token of that life is used: a request that runs when it ends was allowed when it began.
fn usable(life: Duration) -> Duration {
    life / 10 * 8
}
