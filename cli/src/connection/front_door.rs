//! Calls as plugin of the `dcos` command: what it says of its cluster in the environment.

use std::env;
use std::path::PathBuf;

use snafu::ResultExt;
use url::Url;

use super::cluster::DEFAULT_NAME;
use super::error::{ArgumentSnafu, ConnectError, FileSnafu};
use super::token::{Credentials, secret};

/// A DC/OS cluster.
pub struct FrontDoor {
    /// Where the service is.
    pub base: Url,
    /// The user's token.
    pub credentials: Credentials,
    /// Authorities (PEM) instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// Nothing is verified: the user said so to the `dcos` command.
    pub insecure: bool,
}

impl FrontDoor {
    /// The cluster that the `dcos` command is attached to; `None` when it did not call.
    pub fn of_environment(service: Option<&str>) -> Result<Option<Self>, ConnectError> {
        let Some(url) = variable("DCOS_URL") else { return Ok(None) };
        let base = base(&url, service.unwrap_or(DEFAULT_NAME))?;
        let token = variable("DCOS_ACS_TOKEN").and_then(|token| secret(&format!("token={token}")));
        let path = variable("DCOS_TLS_CA_PATH").map(PathBuf::from);
        let read = |path: PathBuf| std::fs::read(&path).context(FileSnafu { argument: "DCOS_TLS_CA_PATH", path });
        Ok(Some(Self {
            base,
            credentials: token.map_or(Credentials::None, Credentials::FrontDoor),
            ca: path.map(read).transpose()?,
            insecure: variable("DCOS_TLS_INSECURE").is_some_and(|value| matches!(value.as_str(), "1" | "true")),
        }))
    }
}

/// `DCOS_VERBOSITY`: 1 says what is asked, 2 what is answered, too.
pub fn verbosity() -> u8 {
    variable("DCOS_VERBOSITY").and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn base(url: &str, service: &str) -> Result<Url, ConnectError> {
    let service = service.trim_matches('/');
    let text = format!("{}/service/{service}", url.trim_end_matches('/'));
    Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https")).map_or_else(
        || ArgumentSnafu { argument: "DCOS_URL", problem: format!("\"{url}\" is no http or https address") }.fail(),
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_behind_the_front_door_by_its_id() {
        for (url, service) in [("https://dcos.test", "dcos-registry"), ("https://dcos.test/", "/dcos-registry")] {
            assert_eq!(base(url, service).unwrap().as_str(), "https://dcos.test/service/dcos-registry");
        }
        assert_eq!(base("https://dcos.test", "/my/registry").unwrap().path(), "/service/my/registry");
        let refused = base("dcos.test", "x").unwrap_err().to_string();
        assert!(refused.contains("DCOS_URL") && refused.contains("http"), "{refused}");
    }
}
