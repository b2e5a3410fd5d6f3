//! A registry's server on this machine, as a process of its own: the command line does not link it.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::output::message;

/// The server's file name.
const PROGRAM: &str = "package-registry-server";
/// How long it may take to start.
const START: Duration = Duration::from_secs(30);
/// How long it may take to be gone once it was killed.
const END: Duration = Duration::from_secs(5);
/// Lines that are shown of a server that doesn't start.
const MOST_LINES: usize = 20;

/// Why there is no server.
#[derive(Debug, Snafu)]
pub enum ServerError {
    /// It is not installed.
    #[snafu(display(
        "{PROGRAM} is neither beside this program nor in PATH; it comes in the same archive, or is named with --server"
    ))]
    NotFound,
    /// It can't be started.
    #[snafu(display("{}: {source}", program.display()))]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended.
    #[snafu(display("{} does not serve: {said}", program.display()))]
    NotServing {
        /// Which.
        program: PathBuf,
        /// What it says.
        said: String,
    },
}

/// A server that serves; it ends with this value. What it acknowledged is in the store.
pub struct LocalServer {
    /// Where.
    pub address: SocketAddr,
    process: Process,
}

/// A process that has ended when this value is gone: whoever removes its store then must not find it writing.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // An error: it has ended already.
        let _ = self.0.start_kill();
        let killed = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && killed.elapsed() < END {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Finds the server: the one that was named, beside this program, or in PATH.
pub fn find(named: Option<&Path>) -> Result<PathBuf, ServerError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let file = format!("{PROGRAM}{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().and_then(|program| program.canonicalize().ok()?.parent().map(Path::to_owned));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(env::split_paths(&path));
    folders.map(|folder| folder.join(&file)).find(|path| path.is_file()).context(NotFoundSnafu)
}

impl LocalServer {
    /// Starts it over a folder and waits until it serves. `writable` for everybody who reaches it, else nothing can be changed.
    pub async fn start(program: &Path, store: &Path, listen: SocketAddr, writable: bool) -> Result<Self, ServerError> {
        let mut command = Command::new(program);
        command
            .args(["--plain-http", "--admin-listen=127.0.0.1:0", "--log-format=json"])
            .arg(format!("--storage=file://{}", store.display()))
            .arg(format!("--listen={listen}"))
            .arg(if writable { "--auth=none" } else { "--auth=read-only" })
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process(command.spawn().context(StartSnafu { program })?);
        let errors = process.0.stderr.take().map(BufReader::new);
        let mut lines =
            errors.with_context(|| NotServingSnafu { program, said: "it has no output".to_owned() })?.lines();
        let mut said = Vec::new();
        let found = tokio::time::timeout(START, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = address(&line) {
                    return Some(address);
                }
                if said.len() < MOST_LINES {
                    said.push(line);
                }
            }
            None
        });
        let address = found.await.ok().flatten();
        let address = address.with_context(|| NotServingSnafu { program, said: said.join("; ") })?;
        // Read on: a pipe that is full would stop the server.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(line) = trouble(&line) {
                    message(&line);
                }
            }
        });
        Ok(Self { address, process })
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> io::Result<()> {
        self.process.0.wait().await.map(drop)
    }
}

/// The address of the line in which the server says that it serves.
fn address(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    line.pointer("/fields/address")?.as_str()?.parse().ok()
}

/// A line about something that is wrong, for people.
fn trouble(line: &str) -> Option<String> {
    let Ok(said) = serde_json::from_str::<Value>(line) else { return Some(line.to_owned()) };
    let level = said.get("level")?.as_str()?;
    matches!(level, "WARN" | "ERROR").then(|| line.to_owned())
}
