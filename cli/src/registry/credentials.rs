//! The user's credentials: the docker configuration of this machine, and the helpers that it names.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use snafu::{ResultExt, Snafu, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::docker_config::{Credentials, DockerConfig, Found};

/// A helper that has not answered for so long hangs; some ask their user something first.
const PATIENCE: Duration = Duration::from_mins(2);
/// What helpers answer for a host that they have nothing for.
const NOT_FOUND: &str = "credentials not found";
/// What helpers give as user of an identity token.
const TOKEN_USER: &str = "<token>";

/// Why there are no credentials to be had.
#[derive(Debug, Snafu)]
pub enum CredentialsError {
    /// The configuration can't be read.
    #[snafu(display("{}: {source}", path.display()))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration is wrong.
    #[snafu(display("{}: {reason}", path.display()))]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Where, and what would be right.
        reason: String,
    },
    /// A helper can't be run.
    #[snafu(display("{program}: {source}"))]
    Run {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A helper fails.
    #[snafu(display("{program}: {reason}"))]
    Helper {
        /// Which.
        program: String,
        /// What it says.
        reason: String,
    },
}

/// The credentials of the user who runs this.
pub struct Keyring {
    path: PathBuf,
    config: DockerConfig,
}

impl Keyring {
    /// Reads `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; none is as good as an empty one.
    pub fn open() -> Result<Self, CredentialsError> {
        let folder = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".docker"))).unwrap_or_default();
        let path = folder.join("config.json");
        match std::fs::read(&path) {
            Ok(text) => match DockerConfig::parse(&text) {
                Ok(config) => Ok(Self { path, config }),
                Err(reason) => WrongSnafu { path, reason }.fail(),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { path, config: DockerConfig::default() }),
            Err(source) => Err(CredentialsError::Read { path, source }),
        }
    }

    /// The credentials of a registry host; `None`: it is asked without.
    pub async fn find(&self, host: &str) -> Result<Option<Credentials>, CredentialsError> {
        match self.config.find(host) {
            Ok(Found::Nothing) => Ok(None),
            Ok(Found::Here(credentials)) => Ok(Some(credentials)),
            Ok(Found::Helper { name, server }) => ask(&name, &server).await,
            Err(reason) => WrongSnafu { path: &self.path, reason }.fail(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-<name>`, by docker's protocol for such helpers.
async fn ask(name: &str, server: &str) -> Result<Option<Credentials>, CredentialsError> {
    let program = format!("docker-credential-{name}");
    let plain = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'));
    ensure!(plain, HelperSnafu { program, reason: "the name of a helper has letters, digits, - _ and . only" });
    let run = async {
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(server.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let ran = tokio::time::timeout(PATIENCE, run).await;
    let ran = ran.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).context(RunSnafu { program: &program })?;
    if !ran.status.success() {
        // Helpers say on standard output what is wrong; it has no secret then.
        let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
        ensure!(said.contains(NOT_FOUND), HelperSnafu { program, reason: format!("{} {said}", ran.status) });
        return Ok(None);
    }
    let Ok(Answer { username: user, secret: password }) = serde_json::from_slice(&ran.stdout) else {
        return HelperSnafu { program, reason: "it did not answer with Username and Secret" }.fail();
    };
    let token = user == TOKEN_USER;
    Ok(Some(if token { Credentials::IdentityToken(password) } else { Credentials::Password { user, password } }))
}
