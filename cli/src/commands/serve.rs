//! `serve`: a registry without Kubernetes over bundles on this machine, read-only, so that a bundle can be tried before it
//! travels.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::Duration;

use clap::Args;
use snafu::{ResultExt, Snafu};
use tempfile::TempDir;
use url::Url;

use crate::commands::add::{AddError, bring};
use crate::connection::Api;
use crate::failure::Failure;
use crate::local_server::{LocalServer, find};
use crate::output::{Output, message};
use crate::runtime::runtime;

/// How long a bundle may take to be validated here.
const PATIENCE: Duration = Duration::from_hours(1);

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Packages (.dcos), or folders with some
    #[arg(required = true, value_name = "DIRECTORY|FILE")]
    paths: Vec<PathBuf>,
    /// Address and port to serve on, by plain HTTP; container engines take it without more ado from localhost alone
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// Where the content is unpacked while it is served [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIRECTORY")]
    work_directory: Option<PathBuf>,
    /// The program package-registry-server [default: beside this program, else in PATH]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
}

/// Why nothing is served.
#[derive(Debug, Snafu)]
enum ServeError {
    /// A file or folder can't be read.
    #[snafu(display("{}: {source}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// A folder has no packages.
    #[snafu(display("{}: there is no .dcos file in it", path.display()))]
    Empty { path: PathBuf },
    /// A package is wrong.
    #[snafu(display("{}: {source}", path.display()))]
    Bring { path: PathBuf, source: AddError },
    /// Somebody did not want to wait.
    #[snafu(display("interrupted before anything was served"))]
    Interrupted,
}

/// Brings the bundles into a server of their own, and serves until it is interrupted.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let files = files(&arguments.paths)?;
    let program = find(arguments.server.as_deref())?;
    let prefix = "dcos-registry-serve-";
    let store = match &arguments.work_directory {
        Some(directory) => TempDir::with_prefix_in(prefix, directory),
        None => TempDir::with_prefix(prefix),
    }?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let mut asked = pin!(interrupted()?);
        let serving = async {
            fill(&program, store.path(), &files).await?;
            LocalServer::start(&program, store.path(), arguments.listen, false).await.map_err(Failure::from)
        };
        let server = tokio::select! {
            // On a terminal the server is interrupted, too: that it ends or does not answer then is no failure.
            biased;
            () = &mut asked => return InterruptedSnafu.fail().map_err(Failure::from),
            serving = serving => serving?,
        };
        serve(server, files.len(), asked).await
    });
    // A package that is still being read does not hold this up.
    runtime.shutdown_background();
    let removed = store.close();
    served.and_then(|()| Ok(removed?))
}

/// The packages in the order of their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ServeError> {
    let mut files = Vec::new();
    for path in paths {
        if !fs::metadata(path).context(ReadSnafu { path })?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        for entry in fs::read_dir(path).context(ReadSnafu { path })? {
            let file = entry.context(ReadSnafu { path })?.path();
            if file.extension().is_some_and(|extension| extension == "dcos") && file.is_file() {
                files.push(file);
            }
        }
        snafu::ensure!(files.len() > before, EmptySnafu { path });
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// A server that takes packages, and that nobody else knows of, fills the store.
async fn fill(program: &Path, store: &Path, files: &[PathBuf]) -> Result<(), Failure> {
    let server = LocalServer::start(program, store, SocketAddr::from(([127, 0, 0, 1], 0)), true).await?;
    let base = Url::parse(&format!("http://{}", server.address))
        .map_err(|error| Failure::Failed { message: error.to_string() })?;
    let api = Api::local(base)?;
    for path in files {
        let brought = bring(&api, path, true, PATIENCE).await.context(BringSnafu { path })?;
        message(&format!("{}: {} {}", path.display(), brought.name, brought.version));
    }
    Ok(())
}

/// Says where the server is, and lets it serve until it is interrupted.
async fn serve(
    mut server: LocalServer,
    packages: usize,
    interrupted: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Failure> {
    let address = server.address;
    Output::new(false).line(&format!(
        "Serving {packages} packages at http://{address}, until interrupted\n  catalogue: http://{address}/repo\n  images:    {address}/docker.io/REPOSITORY:TAG",
    ))?;
    tokio::select! {
        biased;
        () = interrupted => Ok(()),
        ended = server.ended() => {
            ended?;
            Err(Failure::Failed { message: "the server has ended".to_owned() })
        }
    }
}

/// Ends with Ctrl-C, or with what a service manager sends. From the call on, neither ends this process by itself.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(async move {
            tokio::select! {
                _ = signals.0.recv() => {}
                _ = signals.1.recv() => {}
            }
        })
    }
    #[cfg(windows)]
    {
        let mut signal = tokio::signal::windows::ctrl_c()?;
        Ok(async move {
            signal.recv().await;
        })
    }
}
