//! The docker configuration's credentials: `auths`, `credsStore`, `credHelpers`. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// What shows who somebody is. It has no `Debug` form, so that it gets into no log.
#[derive(Clone)]
pub enum Credentials {
    /// User and password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that is exchanged for others (OAuth 2 refresh token).
    IdentityToken(String),
}

/// `config.json`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Auth {
    #[serde(rename = "auth")]
    encoded: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// Where a host's credentials are.
pub enum Found {
    /// Nowhere.
    Nothing,
    /// Here.
    Here(Credentials),
    /// A helper has them.
    Helper {
        /// `<name>` of the program `docker-credential-<name>`.
        name: String,
        /// What it is asked for.
        server: String,
    },
}

impl DockerConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// What is wrong, without any of its content.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| {
            format!("line {} column {}: it is not a docker configuration", error.line(), error.column())
        })
    }

    /// The credentials of a registry host, as docker looks them up.
    ///
    /// # Errors
    /// An entry that can't be read, named without its content.
    pub fn find(&self, host: &str) -> Result<Found, String> {
        let names = names(host);
        let server = names.first().cloned().unwrap_or_default();
        let known = |key: &str| names.iter().any(|name| bare(name) == bare(key));
        let helper = self.cred_helpers.iter().find(|(key, _)| known(key)).map(|(_, name)| name);
        if let Some(name) = helper.or(self.creds_store.as_ref()).filter(|name| !name.is_empty()) {
            return Ok(Found::Helper { name: name.clone(), server });
        }
        match self.auths.iter().find(|(key, _)| known(key)) {
            Some((key, auth)) => auth.clone().credentials().map_err(|reason| format!("auths.\"{key}\".{reason}")),
            None => Ok(Found::Nothing),
        }
    }
}

impl Auth {
    fn credentials(self) -> Result<Found, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Found::Here(Credentials::IdentityToken(self.identitytoken)));
        }
        if self.encoded.is_empty() {
            let Self { username: user, password, .. } = self;
            let empty = user.is_empty() && password.is_empty();
            return Ok(if empty { Found::Nothing } else { Found::Here(Credentials::Password { user, password }) });
        }
        let wrong = "auth: must be base64 of user:password";
        let decoded = STANDARD.decode(self.encoded.trim()).map_err(|_| wrong)?;
        let text = String::from_utf8(decoded).map_err(|_| wrong)?;
        let (user, password) = text.trim_end_matches('\0').split_once(':').ok_or(wrong)?;
        Ok(Found::Here(Credentials::Password { user: user.to_owned(), password: password.to_owned() }))
    }
}

/// The names under which a host may be filed, what helpers are asked for first.
fn names(host: &str) -> Vec<String> {
    match host {
        "docker.io" | "registry-1.docker.io" | "index.docker.io" => {
            ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"].map(str::to_owned).to_vec()
        }
        host => vec![host.to_owned()],
    }
}

/// A host without scheme and API path; an entry for a path of a host is another one.
fn bare(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key).trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, host: &str) -> String {
        match DockerConfig::parse(config.as_bytes()).unwrap().find(host) {
            Ok(Found::Nothing) => "nothing".to_owned(),
            Ok(Found::Here(Credentials::Password { user, password })) => format!("{user} {password}"),
            Ok(Found::Here(Credentials::IdentityToken(token))) => format!("token {token}"),
            Ok(Found::Helper { name, server }) => format!("helper {name} {server}"),
            Err(error) => error,
        }
    }

    #[test]
    fn credentials_are_looked_up_as_docker_files_them() {
        // "dTpwOnE=" is "u:p:q".
        let config = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpwOnE="}, "https://e.test:5000/v2/": {"auth": "dTpwOnE="},
            "t.test": {"auth": "eDo=", "identitytoken": "abc"}, "n.test": {}, "p.test": {"username": "a", "password": "b"},
            "w.test": {"auth": "c2VjcmV0"}}, "credHelpers": {"h.test": "vault"}, "HttpHeaders": {"x": 1}}"#;
        for (host, expected) in [
            ("docker.io", "u p:q"),
            ("registry-1.docker.io", "u p:q"),
            ("e.test:5000", "u p:q"),
            ("e.test", "nothing"),
            ("t.test", "token abc"),
            ("n.test", "nothing"),
            ("p.test", "a b"),
            ("h.test", "helper vault h.test"),
        ] {
            assert_eq!(found(config, host), expected, "{host}");
        }
        let wrong = found(config, "w.test");
        assert!(wrong.contains("w.test") && wrong.contains("user:password") && !wrong.contains("c2VjcmV0"), "{wrong}");
    }

    #[test]
    fn a_store_is_asked_for_every_host() {
        let config = r#"{"auths": {"e.test": {}}, "credsStore": "desktop"}"#;
        assert_eq!(found(config, "e.test"), "helper desktop e.test");
        assert_eq!(found(config, "docker.io"), "helper desktop https://index.docker.io/v1/");
    }

    #[test]
    fn a_file_that_is_wrong_is_not_shown() {
        let error = DockerConfig::parse(br#"{"auths": "secret"}"#).err().unwrap();
        assert!(error.contains("line 1") && !error.contains("secret"), "{error}");
    }
}
