//! The programs that are measured: ours as they are released, the others as their makers build them.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use e2e::walk;
use snafu::{OptionExt as _, ResultExt as _, Whatever, whatever};
use tempfile::TempDir;

use crate::{
    images::{Image, write_layout},
    package, serving,
};

/// What packages are measured with.
pub struct Programs {
    /// This project's server.
    pub server: PathBuf,
    /// This project's command line.
    pub cli: PathBuf,
}

impl Programs {
    /// Builds them for release; skopeo is there, too, from then on.
    ///
    /// # Errors
    /// A build that fails, a package that can't be had.
    pub fn ensure() -> Result<Self, Whatever> {
        e2e::clients::ensure().whatever_context("no skopeo")?;
        Ok(Self { server: release("package-registry-server")?, cli: release("dcos-registry")? })
    }

    /// A server that has these images; a folder that nobody else uses holds them on their way.
    ///
    /// # Errors
    /// When they can't be written or sent.
    pub fn registry_of(&self, images: &[Image]) -> Result<Serving, Whatever> {
        let (registry, layout) = (Serving::ours(&self.server)?, folder()?);
        write_layout(layout.path(), images)?;
        package::push(layout.path(), images, &registry)?;
        Ok(registry)
    }
}

/// A new folder on the disk, which goes when this goes.
///
/// # Errors
/// When it can't be made.
pub fn folder() -> Result<TempDir, Whatever> {
    tempfile::tempdir_in(scratch()?).whatever_context("cannot make a folder")
}

/// Builds one of this project's programs for release and says where it is.
///
/// # Errors
/// When cargo fails.
pub fn release(name: &str) -> Result<PathBuf, Whatever> {
    eprintln!("building {name} for release");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--bin", name, "--message-format=json-render-diagnostics"]);
    let output =
        cargo.current_dir(walk::root()).stderr(Stdio::inherit()).output().whatever_context("cannot start cargo")?;
    if !output.status.success() {
        whatever!("cargo build --release --bin {name} failed");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let mut messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = messages.find_map(|message| {
        let is_it = message["target"]["name"] == name;
        is_it.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    program.whatever_context(format!("cargo doesn't say where {name} is"))
}

/// Runs a program to its end and says how long that took.
///
/// # Errors
/// When it fails, with what it printed.
pub fn timed(command: &mut Command) -> Result<Duration, Whatever> {
    let start = Instant::now();
    output(command)?;
    Ok(start.elapsed())
}

/// Runs a program to its end; what it printed.
///
/// # Errors
/// When it fails, with what it said of it.
pub fn output(command: &mut Command) -> Result<String, Whatever> {
    let output = command.stdin(Stdio::null()).output().whatever_context(format!("cannot start {command:?}"))?;
    if !output.status.success() {
        whatever!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end; the most memory that it had at a time, in bytes, as the system counts it.
///
/// # Errors
/// When it fails.
pub fn peak(command: &mut Command) -> Result<u64, Whatever> {
    let mut child = command.stdout(Stdio::null()).spawn().whatever_context(format!("cannot start {command:?}"))?;
    let mut peak = 0;
    loop {
        let ended = child.try_wait().whatever_context("cannot wait for a program")?;
        if let Some(status) = ended {
            if !status.success() {
                whatever!("{command:?} failed");
            }
            return Ok(peak);
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or_default() * 1024);
        thread::sleep(Duration::from_millis(2));
    }
}

/// A server of images on loopback, with an empty store; ended when it is dropped.
pub struct Serving {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    /// This project's server.
    ///
    /// # Errors
    /// When it doesn't start.
    pub fn ours(program: &Path) -> Result<Self, Whatever> {
        Self::start(|folder, address| Ok(server(Command::new(program), folder, address)))
    }

    /// The same on the first core alone.
    ///
    /// # Errors
    /// When it doesn't start.
    pub fn ours_on_a_core(program: &Path) -> Result<Self, Whatever> {
        Self::start(|folder, address| Ok(server(on_a_core(program), folder, address)))
    }

    /// CNCF Distribution on the first core alone.
    ///
    /// # Errors
    /// When it doesn't start.
    pub fn distribution(program: &Path) -> Result<Self, Whatever> {
        Self::start(|folder, address| {
            let mut command = on_a_core(program);
            command.arg("serve").arg(serving::configuration(folder, address)?).env("OTEL_TRACES_EXPORTER", "none");
            Ok(command)
        })
    }

    fn start(command: impl FnOnce(&Path, SocketAddr) -> Result<Command, Whatever>) -> Result<Self, Whatever> {
        let folder = folder()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).whatever_context("no port")?;
        let address = listener.local_addr().whatever_context("no port")?;
        drop(listener);
        let log = File::create(folder.path().join("log")).whatever_context("cannot make a log")?;
        let errors = log.try_clone().whatever_context("cannot make a log")?;
        let mut command = command(folder.path(), address)?;
        let child = command.stdout(log).stderr(errors).spawn().whatever_context(format!("cannot start {command:?}"))?;
        let serving = Self { child, folder, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if start.elapsed() > Duration::from_secs(30) {
                let log = fs::read_to_string(serving.folder.path().join("log")).unwrap_or_default();
                whatever!("{command:?} doesn't serve: {log}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(serving)
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn server(mut command: Command, folder: &Path, address: SocketAddr) -> Command {
    command.args(["--plain-http", "--auth=none", "--admin-listen=127.0.0.1:0"]).env("RUST_LOG", "error");
    command.arg(format!("--listen={address}")).arg(format!("--storage=file://{}", folder.join("store").display()));
    command
}

fn on_a_core(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

/// The folder that holds what is measured with: on a disk, where `/tmp` may be memory.
///
/// # Errors
/// When it can't be made.
fn scratch() -> Result<PathBuf, Whatever> {
    let folder = walk::out().join("bench");
    fs::create_dir_all(&folder).whatever_context("cannot make out/bench")?;
    Ok(folder)
}

/// Writes so many bytes twice and removes them: the first write to memory that a virtual machine has handed back to its host
/// costs many times more than the next, and would be counted to whoever comes first.
///
/// # Errors
/// When they can't be written.
pub fn warm(bytes: u64) -> Result<(), Whatever> {
    for _ in 0..2 {
        let mut file = tempfile::tempfile_in(scratch()?).whatever_context("cannot make a file")?;
        let mut zeros = std::io::Read::take(std::io::repeat(0), bytes);
        std::io::copy(&mut zeros, &mut file).whatever_context("cannot write a file")?;
    }
    Ok(())
}
