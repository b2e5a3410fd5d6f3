//! The server's program, in a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a server may say nothing before it serves.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that runs, and ends with this value.
pub struct Process {
    child: Child,
    /// Where it serves.
    pub address: String,
    /// Where it answers probes.
    pub admin: String,
}

impl Process {
    /// Starts one on a folder, and waits until it serves.
    pub fn start(store: &Path) -> Self {
        Self::with(&[&format!("--storage=file://{}", store.display())], Command::env_clear)
    }

    /// Starts one with these flags beside the usual ones, in an environment of the caller's, and waits until it serves.
    pub fn with(flags: &[impl AsRef<OsStr>], environment: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_package-registry-server"));
        environment(&mut command)
            .args(["--plain-http", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--auth", "none"])
            .args(["--source-allowed-cidr", "127.0.0.1/32", "--source-require-digest", "false", "--log-format", "json"])
            .args(flags)
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = spoken(BufReader::new(child.stderr.take().unwrap()));
        let mut server = Self { child, address: String::new(), admin: String::new() };
        let mut said = Vec::new();
        // What it says after that nobody takes any more.
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            let fields = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default()["fields"].take();
            if let (Some(address), Some(admin)) = (fields["address"].as_str(), fields["admin.address"].as_str()) {
                (server.address, server.admin) = (address.to_owned(), admin.to_owned());
                return server;
            }
            said.push(line);
        }
        panic!("the server doesn't serve: {said:#?}");
    }

    /// Ends it as a power cut does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whoever ended it before has waited for it, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server says, line by line. What isn't a line of its log is shown besides: what it panics with.
fn spoken(lines: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            if !line.starts_with('{') {
                eprintln!("the server said: {line}");
            }
            let _ = sender.send(line);
        }
    });
    receiver
}
