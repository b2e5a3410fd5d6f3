//! The real server in a process of its own, with a certificate of its own authority.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// Ends with this value.
pub struct Server {
    child: Child,
    pub port: u16,
    pub folder: TempDir,
}

/// The server's program; built when the first test asks for it.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        // As the other targets do: without its package, so that all builds share one set of features.
        cargo.args(["build", "--quiet", "--bin", "package-registry-server"]);
        assert!(cargo.current_dir(workspace).status().unwrap().success());
        let beside = Path::new(env!("CARGO_BIN_EXE_dcos-registry")).parent().unwrap();
        beside.join(format!("package-registry-server{}", std::env::consts::EXE_SUFFIX))
    })
}

impl Server {
    /// A server that takes everybody, on `localhost`.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        let (child, port) = started(folder.path(), "127.0.0.1:0");
        Self { child, port, folder }
    }

    /// Kills it and starts it again over the same store, on the same port.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = started(self.folder.path(), &format!("127.0.0.1:{}", self.port)).0;
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// `--url` and `--ca-file` for it, or for a wire to it.
    pub fn target(&self, port: u16) -> [String; 2] {
        [format!("--url=https://localhost:{port}"), format!("--ca-file={}", self.ca_file().display())]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn started(folder: &Path, listen: &str) -> (Child, u16) {
    let mut child = Command::new(program())
        .args(["--auth=none", "--admin-listen=127.0.0.1:0", "--log-format=json", "--listen", listen])
        .arg(format!("--tls-dir={}", folder.display()))
        .arg(format!("--storage=file://{}", folder.join("store").display()))
        .env("RUST_LOG", "info")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut port = None;
    for line in lines.by_ref() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let address = line["fields"]["address"].as_str().map(str::to_owned);
        if let Some(address) = address {
            port = address.rsplit_once(':').map(|(_, port)| port.parse().unwrap());
            break;
        }
    }
    let Some(port) = port else { panic!("the server does not serve") };
    // Nobody reads on, but a full pipe would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    (child, port)
}
