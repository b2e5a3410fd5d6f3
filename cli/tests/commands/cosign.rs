//! The real cosign, where it is there: on the `PATH`, or `PACKAGE_REGISTRY_COSIGN`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

pub struct Cosign(OsString);

impl Cosign {
    pub fn find() -> Option<Self> {
        let program = std::env::var_os("PACKAGE_REGISTRY_COSIGN").unwrap_or_else(|| "cosign".into());
        if Command::new(&program).arg("version").output().is_ok_and(|ran| ran.status.success()) {
            return Some(Self(program));
        }
        eprintln!("skipped: no cosign on the PATH nor at PACKAGE_REGISTRY_COSIGN");
        None
    }

    /// Runs it in a folder. Registries are trusted that `ca.pem` there has the certificates of.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.0);
        command.args(arguments).current_dir(folder).env("COSIGN_PASSWORD", "a password").env("HOME", folder);
        command.env("SSL_CERT_FILE", folder.join("ca.pem")).env("NO_PROXY", "127.0.0.1,localhost");
        command.output().unwrap()
    }

    #[track_caller]
    pub fn succeed(&self, folder: &Path, arguments: &[&str]) {
        let Output { status, stdout, stderr } = self.run(folder, arguments);
        assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    }
}
