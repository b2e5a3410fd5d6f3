//! What the registry wants to see with every call.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use snafu::{OptionExt, ResultExt};
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

    /// The token, but never `refused`. Who asks while another one is made waits for that one.
    async fn other_than(&self, refused: Option<&HeaderValue>) -> Result<Option<HeaderValue>, ConnectError> {
        let mut known = self.known.lock().await;
        let usable = |(value, until): &&(HeaderValue, Instant)| Instant::now() < *until && Some(value) != refused;
        if let Some((value, _)) = known.as_ref().filter(usable) {
            return Ok(Some(value.clone()));
        }
        let (token, life) = self.cluster.token(&self.registry).await?;
        let value = secret(&format!("Bearer {token}"));
        *known = value.clone().map(|value| (value, Instant::now() + usable_for(life)));
        Ok(value)
    }
}

impl Credentials {
    /// Value of the `Authorization` header.
    pub async fn authorization(&self) -> Result<Option<HeaderValue>, ConnectError> {
        match self {
            Self::None => Ok(None),
            Self::FrontDoor(value) => Ok(Some(value.clone())),
            Self::File(path) => of_file(path).await.map(Some),
            Self::Cluster(token) => token.other_than(None).await,
        }
    }

    /// What there is in place of a value that was refused; `None` when there is nothing else. All whose calls were refused
    /// with the same value get the same other one.
    pub async fn instead_of(&self, refused: &HeaderValue) -> Result<Option<HeaderValue>, ConnectError> {
        match self {
            Self::None | Self::FrontDoor(_) => Ok(None),
            Self::File(path) => Ok(Some(of_file(path).await?).filter(|value| value != refused)),
            Self::Cluster(token) => token.other_than(Some(refused)).await,
        }
    }
}

async fn of_file(path: &Path) -> Result<HeaderValue, ConnectError> {
    const ARGUMENT: &str = "--token-file";
    let token = tokio::fs::read_to_string(path).await.context(FileSnafu { argument: ARGUMENT, path })?;
    let problem = || format!("{} does not hold a token: one line of printable characters", path.display());
    let value =
        Some(token.trim()).filter(|token| !token.is_empty()).and_then(|token| secret(&format!("Bearer {token}")));
    value.with_context(|| ArgumentSnafu { argument: ARGUMENT, problem: problem() })
}

/// A header that is never shown.
pub fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How long a token of that life is used: a request that runs when it ends was allowed when it began.
fn usable_for(life: Duration) -> Duration {
    life / 10 * 8
}
