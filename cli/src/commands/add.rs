//! `add`: packages are brought into a registry.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::{State, Upload};
use bundle::file::BundleFile;
use bundle::stream::{Limits, ReadError};
use clap::Args;
use serde::Serialize;
use snafu::{ResultExt, Snafu};

use crate::connection::{Api, CallError, Target};
use crate::failure::Failure;
use crate::output::{Json, Output, error, message};
use crate::progress::Transfer;
use crate::runtime::runtime;
use crate::size::Size;
use crate::upload::{UploadError, content, send, settled};

/// Arguments of `add`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The package (.dcos); several files can be given
    #[arg(long = "dcos-file", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Wait until the packages are in the catalogue, not only validated
    #[arg(long)]
    wait: bool,
    /// How long to wait for the registry once everything of a package was sent
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    json: Json,
}

/// Why a file's package was not added.
#[derive(Debug, Snafu)]
pub enum AddError {
    /// It can't be read.
    #[snafu(display("{source}"))]
    Open {
        /// Why.
        source: io::Error,
    },
    /// It is wrong.
    #[snafu(display("{source}"))]
    Wrong {
        /// Where in it, and what would be right.
        source: ReadError<io::Error>,
    },
    /// The registry can't be asked, or refuses.
    #[snafu(display("{source}"))]
    Call {
        /// Why.
        source: CallError,
    },
    /// It did not get in.
    #[snafu(display("{source}"))]
    Upload {
        /// Why.
        source: UploadError,
    },
    /// Standard output is gone.
    #[snafu(display("standard output: {source}"))]
    Write {
        /// Why.
        source: io::Error,
    },
}

/// A package that was added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Added {
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    status: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_version: Option<u64>,
    digest: String,
    size: u64,
    bytes_sent: u64,
    file: PathBuf,
}

/// A file whose package was not.
#[derive(Debug, Serialize)]
struct NotAdded {
    file: PathBuf,
    message: String,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    packages: Vec<Added>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<NotAdded>,
}

/// Adds one file after the other; one that fails does not keep the others out.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let output = Output::from(arguments.json);
    runtime()?.block_on(async {
        let connection = arguments.target.connect().await?;
        let mut summary = Summary::default();
        for file in &arguments.files {
            match add(&connection.api, file, arguments, output).await {
                Ok(added) => {
                    if arguments.files.len() > 1 {
                        message(&added.line());
                    }
                    summary.packages.push(added);
                }
                Err(failed) => summary.failed.push(NotAdded { file: file.clone(), message: failed.to_string() }),
            }
        }
        report(output, &summary, arguments)
    })
}

impl Added {
    fn line(&self) -> String {
        let Self { name, version, size, bytes_sent, file, .. } = self;
        format!("{}: {name} {version}, {} in all, {} sent", file.display(), Size(*size), Size(*bytes_sent))
    }
}

fn report(output: Output, summary: &Summary, arguments: &Arguments) -> Result<(), Failure> {
    let files = arguments.files.len();
    if !summary.packages.is_empty() {
        let lines: Vec<_> = summary.packages.iter().map(|it| format!("\t {} {}\n", it.name, it.version)).collect();
        let lines = lines.concat();
        let note = "Note: It will take a couple of minutes for the packages to be added to the registry\n";
        // Who waited has them in the registry.
        let note = if arguments.wait { "" } else { note };
        output.result(format_args!("Added packages:\n{lines}{note}"), summary)?;
    }
    let said = |failed: &NotAdded| format!("{}: {}", failed.file.display(), failed.message);
    match summary.failed.as_slice() {
        [] => Ok(()),
        [only] if files == 1 => Err(Failure::Failed { message: said(only) }),
        several => {
            for failed in several {
                error(&said(failed));
            }
            Err(Failure::Failed { message: format!("{} of {files} files were not added", several.len()) })
        }
    }
}

async fn add(api: &Api, path: &Path, arguments: &Arguments, output: Output) -> Result<Added, AddError> {
    let sent = Sent::send(api, path).await?;
    let full = "=".repeat(38);
    output.line(&format!("File Upload progress: [{full}] {0}/{0}", Size(sent.size))).context(WriteSnafu)?;
    let words = "Package uploaded successfully. Please wait while it is being validated..";
    output.line(words).context(WriteSnafu)?;
    sent.settled(api, arguments.wait, Duration::from_secs(arguments.timeout)).await
}

/// Brings a package in without a word about it; with `added`, it is in the catalogue afterwards.
pub async fn bring(api: &Api, path: &Path, added: bool, limit: Duration) -> Result<Added, AddError> {
    Sent::send(api, path).await?.settled(api, added, limit).await
}

/// A package, all of whose bytes are in the registry.
struct Sent {
    file: PathBuf,
    upload: Upload,
    size: u64,
    /// Bytes that were not there before.
    new: u64,
}

impl Sent {
    async fn send(api: &Api, path: &Path) -> Result<Self, AddError> {
        let owned = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || read(&owned));
        let opened = reading.await.map_err(io::Error::other).context(OpenSnafu)??;
        let bundle = opened.bundle();
        let content = content(bundle).context(UploadSnafu)?;
        let upload = api.open_upload(&content).await.context(CallSnafu)?;
        let (upload, new) = sent(api, &opened, upload, bundle.size).await?;
        Ok(Self { file: path.to_owned(), upload, size: bundle.size, new })
    }

    async fn settled(self, api: &Api, added: bool, limit: Duration) -> Result<Added, AddError> {
        let Self { file, upload, size, new } = self;
        let Upload { name, version, digest, state, release_version, .. } =
            settled(api, upload, added, limit).await.context(UploadSnafu)?;
        Ok(Added { name, version, status: state, release_version, digest, size, bytes_sent: new, file })
    }
}

fn read(path: &Path) -> Result<BundleFile, AddError> {
    let file = File::open(path).context(OpenSnafu)?;
    let size = file.metadata().context(OpenSnafu)?.len();
    let unpacked = tempfile::tempfile().context(OpenSnafu)?;
    let progress = Transfer::start("File check progress", size);
    let opened = BundleFile::read(file, unpacked, &Limits::default(), &mut |bytes| progress.advance(bytes));
    progress.clear();
    opened.context(WrongSnafu)
}

/// Sends what is missing. A package that is on its way already, or there, is not sent again.
async fn sent(api: &Api, bundle: &BundleFile, upload: Upload, total: u64) -> Result<(Upload, u64), AddError> {
    if !matches!(upload.state, State::Pending | State::Failed) {
        return Ok((upload, 0));
    }
    let progress = Arc::new(Transfer::start("File Upload progress", total));
    let missing: u64 = upload.missing.iter().map(|blob| blob.size.saturating_sub(blob.offset)).sum();
    progress.advance(total.saturating_sub(missing));
    let done = send(api, bundle, upload, &progress).await;
    progress.clear();
    done.context(UploadSnafu)
}
