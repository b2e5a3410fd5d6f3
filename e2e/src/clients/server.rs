//! The server's own program on loopback, plain or with a certificate of a private authority.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use snafu::{OptionExt, ResultExt, Whatever};
use tempfile::TempDir;

use crate::cluster::{pki::Authority, wait};
use crate::program;

/// How clients talk to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// HTTP.
    Plain,
    /// HTTPS, with a certificate of an authority that no machine knows.
    Tls,
}

/// A server that runs; ended when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    host: String,
    transport: Transport,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Builds the server and starts it on an empty store.
    ///
    /// # Errors
    /// A server that can't be built or doesn't start.
    pub fn start(transport: Transport) -> Result<Self, Whatever> {
        let binary = program::build("server")?;
        let folder = tempfile::tempdir().whatever_context("cannot make a folder")?;
        let log = folder.path().join("server.log");
        let output = File::create(&log).whatever_context("cannot make the server's log")?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary).args(["--listen", "127.0.0.1:0"]);
        command.args(["--admin-listen", "127.0.0.1:0", "--auth", "none", "--log-format", "json"]);
        command.arg(format!("--storage=file://{}", folder.path().join("store").display()));
        match transport {
            Transport::Plain => command.arg("--plain-http"),
            Transport::Tls => command.arg("--tls-dir").arg(write_certificate(folder.path())?),
        };
        command.env("RUST_LOG", "info").stdout(Stdio::null()).stderr(output);
        let child = command.spawn().whatever_context("cannot start the server")?;
        let mut server = Self { child, folder, host: String::new(), transport };
        server.host = wait::until("the server serves", Duration::from_secs(30), || {
            address(&log).ok_or_else(|| fs::read_to_string(&log).unwrap_or_default())
        })
        .whatever_context("the server does not start")?;
        Ok(server)
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How clients talk to it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// A folder with the authority's certificate as `ca.crt`, and nothing else.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.folder.path().join("authority")
    }
}

/// Writes the authority's certificate to `authority/`, and the server's with its key to the folder that is returned.
fn write_certificate(folder: &Path) -> Result<PathBuf, Whatever> {
    let (authority, _) = Authority::generate("clients").whatever_context("cannot make an authority")?;
    let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let identity = authority.sign("registry", None, &hosts).whatever_context("cannot make a certificate")?;
    let server = folder.join("tls");
    for (path, content) in [
        (folder.join("authority/ca.crt"), &identity.authority),
        (server.join("tls.crt"), &identity.certificate),
        (server.join("tls.key"), &identity.key),
    ] {
        let parent = path.parent().whatever_context("a file has a folder")?;
        fs::create_dir_all(parent).whatever_context("cannot make a folder")?;
        fs::write(&path, content).whatever_context("cannot write a certificate")?;
    }
    Ok(server)
}

/// Where the server says that it serves.
fn address(log: &Path) -> Option<String> {
    let lines = BufReader::new(File::open(log).ok()?).lines();
    lines.map_while(Result::ok).find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line).ok()?;
        line["fields"]["address"].as_str().map(str::to_owned)
    })
}
