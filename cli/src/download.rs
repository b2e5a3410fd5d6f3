//! Files from other machines.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle::build::Fetch;
use reqwest::{Client, StatusCode};
use snafu::{ResultExt, Snafu, ensure};
use tokio::runtime::Runtime;
use url::Url;

use crate::progress::Transfer;

/// Nothing of a connection or of an answer's next bytes for so long: it is dead.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why a file was not downloaded. The one who asked knows the address.
#[derive(Debug, Snafu)]
pub enum DownloadError {
    /// No HTTP client.
    #[snafu(display("downloads are not possible: {source}"))]
    Start {
        /// Why.
        source: io::Error,
    },
    /// No HTTP client.
    #[snafu(display("downloads are not possible: {}", chain(source)))]
    Configure {
        /// Why.
        source: reqwest::Error,
    },
    /// No answer, or not to its end.
    #[snafu(display("{}", chain(source)))]
    Transfer {
        /// Why.
        source: reqwest::Error,
    },
    /// Another answer than 200.
    #[snafu(display("the answer is {status}, must be 200"))]
    Status {
        /// What came.
        status: StatusCode,
    },
    /// No place for it.
    #[snafu(display("{}: {source}", directory.display()))]
    Store {
        /// Where it was written.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Downloads into nameless files beside the output, so that nothing is left behind whatever happens.
pub struct Download {
    runtime: Runtime,
    client: Client,
    directory: PathBuf,
}

impl Download {
    /// A client that honours the environment's proxy settings.
    pub fn new(directory: &Path) -> Result<Self, DownloadError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(StartSnafu)?;
        let client = Client::builder()
            .user_agent(concat!("dcos-registry/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .build()
            .context(ConfigureSnafu)?;
        Ok(Self { runtime, client, directory: directory.to_owned() })
    }
}

impl Fetch for Download {
    type Error = DownloadError;

    fn fetch(&mut self, url: &Url) -> Result<File, Self::Error> {
        let Self { runtime, client, directory } = self;
        runtime.block_on(async {
            let mut file = tempfile::tempfile_in(&*directory).context(StoreSnafu { directory: &*directory })?;
            let without_url = reqwest::Error::without_url;
            let mut answer = client.get(url.clone()).send().await.map_err(without_url).context(TransferSnafu)?;
            let status = answer.status();
            ensure!(status == StatusCode::OK, StatusSnafu { status });
            let progress = answer.content_length().map(|total| Transfer::start("Download progress", total));
            while let Some(bytes) = answer.chunk().await.map_err(without_url).context(TransferSnafu)? {
                file.write_all(&bytes).context(StoreSnafu { directory: &*directory })?;
                if let Some(progress) = &progress {
                    progress.advance(bytes.len() as u64);
                }
            }
            if let Some(progress) = progress {
                progress.finish();
            }
            Ok(file)
        })
    }
}

/// An error with all its causes: the client's own words say little.
fn chain(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
