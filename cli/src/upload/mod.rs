//! A bundle on its way into a registry: what it consists of, what the registry lacks of it, and when it is there.

mod content;
mod send;

pub use content::content;
pub use send::send;

use std::time::{Duration, Instant};

use api::{State, Upload};
use reqwest::StatusCode;
use snafu::Snafu;

use crate::connection::{Api, CallError};
use crate::http::polling;

/// Why a bundle did not get into the registry.
#[derive(Debug, Snafu)]
pub enum UploadError {
    /// A document of the bundle is no text.
    #[snafu(display("{entry} is not UTF-8"))]
    NotText {
        /// Which.
        entry: String,
    },
    /// The registry asks for something that the bundle doesn't have.
    #[snafu(display("the registry asks for {digest}, which is not in the bundle"))]
    NotThere {
        /// What.
        digest: String,
    },
    /// The registry can't be asked, or refuses.
    #[snafu(display("{source}"))]
    Call {
        /// Why.
        source: CallError,
    },
    /// The registry takes nothing more.
    #[snafu(display("the registry is at byte {offset} of {digest} after {failures} attempts to go on"))]
    Stuck {
        /// Of what.
        digest: String,
        /// Where it is.
        offset: u64,
        /// Attempts.
        failures: u32,
    },
    /// Whatever is sent, the registry asks for more.
    #[snafu(display("the registry still lacks {count} parts of the package after {rounds} attempts to send them"))]
    StillMissing {
        /// How many.
        count: usize,
        /// Attempts.
        rounds: u32,
    },
    /// The registry found something wrong with it.
    #[snafu(display("{message}"))]
    Refused {
        /// What.
        message: String,
    },
    /// It takes too long.
    #[snafu(display(
        "the package is {state:?} after {} seconds; `describe` says what becomes of it",
        limit.as_secs()
    ))]
    Late {
        /// Where it is.
        state: State,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Waits until an upload that was completed is validated, or, with `added`, until the package is in the catalogue.
pub async fn settled(api: &Api, upload: Upload, added: bool, limit: Duration) -> Result<Upload, UploadError> {
    let (started, mut upload) = (Instant::now(), upload);
    for pause in polling() {
        match upload.state {
            State::Added => return Ok(upload),
            State::Storing if !added => return Ok(upload),
            State::Failed => {
                let message = upload.message.unwrap_or_else(|| "the registry refuses the package".to_owned());
                return RefusedSnafu { message }.fail();
            }
            State::Removing => {
                return RefusedSnafu { message: "the package is being removed" }.fail();
            }
            State::Pending | State::Validating | State::Storing => {}
        }
        if started.elapsed() >= limit {
            break;
        }
        tokio::time::sleep(pause).await;
        upload = asked(api, upload).await?;
    }
    LateSnafu { state: upload.state, limit }.fail()
}

/// How far it is. A registry may forget an upload once the package is in the catalogue.
async fn asked(api: &Api, before: Upload) -> Result<Upload, UploadError> {
    match api.upload(&before.id).await {
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {
            let there =
                api.awaited(&before.name, &before.version).await.map_err(|source| UploadError::Call { source })?;
            match there {
                Some(package) if package.digest.as_ref() == Some(&before.digest) => {
                    Ok(Upload { state: package.status, release_version: package.release_version, ..before })
                }
                _ => Err(UploadError::Call { source: error }),
            }
        }
        answer => answer.map_err(|source| UploadError::Call { source }),
    }
}
