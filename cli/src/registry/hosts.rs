//! A folder in containerd's form: `<host>/hosts.toml`, `_default/hosts.toml`, or certificates as docker keeps them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};

use super::hosts_toml::{Endpoint, Tls, by_default, parse};

/// Where images come from can't be said.
#[derive(Debug, Snafu)]
pub enum HostsError {
    /// A file or folder can't be read.
    #[snafu(display("{}: {source}", path.display()))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is wrong.
    #[snafu(display("{}: {reason}", path.display()))]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A host that can't be asked.
    #[snafu(display("{reason}"))]
    Host {
        /// What is wrong.
        reason: String,
    },
}

/// Which endpoints are asked for the images of a host.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    directory: Option<PathBuf>,
}

impl Hosts {
    /// By this folder, which must be there; without one, every host's own registry is asked.
    pub fn new(directory: Option<PathBuf>) -> Result<Self, HostsError> {
        if let Some(path) = &directory {
            fs::read_dir(path).context(ReadSnafu { path })?;
        }
        Ok(Self { directory })
    }

    /// The endpoints of a host, in the order in which they are asked.
    pub fn endpoints(&self, host: &str) -> Result<Vec<Endpoint>, HostsError> {
        let by_default = |tls| by_default(host, tls).map(|one| vec![one]).or_else(|reason| HostSnafu { reason }.fail());
        let Some(folder) = self.folder(host) else { return by_default(Tls::default()) };
        let path = folder.join("hosts.toml");
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text, host, &folder).or_else(|reason| WrongSnafu { path, reason }.fail()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => by_default(certificates(&folder)?),
            Err(source) => Err(HostsError::Read { path, source }),
        }
    }

    /// The host's folder: `host:5000`, or `host_5000_` where a colon can't be in a name, else `_default`.
    fn folder(&self, host: &str) -> Option<PathBuf> {
        let directory = self.directory.as_ref()?;
        let plain = host.split_once(':').map(|(name, port)| format!("{name}_{port}_"));
        let names = plain.iter().map(String::as_str).chain([host, "_default"]);
        names.map(|name| directory.join(name)).find(|folder| folder.is_dir())
    }
}

/// `*.crt` are trusted, `*.cert` with its `*.key` is the client's.
fn certificates(folder: &Path) -> Result<Tls, HostsError> {
    let entries = fs::read_dir(folder).context(ReadSnafu { path: folder })?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let with = |extension: &str| {
        paths.iter().filter(|path| path.extension().is_some_and(|e| e == extension)).cloned().collect()
    };
    let (ca, clients): (Vec<_>, Vec<PathBuf>) = (with("crt"), with("cert"));
    let client = clients.into_iter().next().map(|certificate| {
        let key = certificate.with_extension("key");
        (certificate, Some(key))
    });
    Ok(Tls { ca, client, skip_verify: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(hosts: &Hosts, host: &str) -> String {
        hosts.endpoints(host).unwrap()[0].base.to_string()
    }

    #[test]
    fn a_host_has_its_own_folder_or_the_default_or_its_own_registry() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("hosts.toml"), text).unwrap();
        };
        write("quay.io", "[host.\"https://m.test\"]");
        write("e.test_5000_", "server = \"http://plain.test\"");
        let hosts = Hosts::new(Some(folder.path().to_owned())).unwrap();
        assert_eq!(asked(&hosts, "quay.io"), "https://m.test/v2/");
        assert_eq!(asked(&hosts, "e.test:5000"), "http://plain.test/v2/");
        assert_eq!(asked(&hosts, "ghcr.io"), "https://ghcr.io/v2/");
        write("_default", "[host.\"https://d.test\"]");
        assert_eq!(asked(&hosts, "ghcr.io"), "https://d.test/v2/");
        assert_eq!(asked(&hosts, "quay.io"), "https://m.test/v2/");
    }

    #[test]
    fn certificates_alone_are_used_for_the_hosts_own_registry() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("e.test");
        fs::create_dir_all(&own).unwrap();
        for name in ["ca.crt", "client.cert", "client.key"] {
            fs::write(own.join(name), "").unwrap();
        }
        let endpoint = Hosts::new(Some(folder.path().to_owned())).unwrap().endpoints("e.test").unwrap().remove(0);
        assert_eq!(endpoint.base.as_str(), "https://e.test/v2/");
        let client = Some((own.join("client.cert"), Some(own.join("client.key"))));
        assert_eq!(endpoint.tls, Tls { ca: vec![own.join("ca.crt")], client, skip_verify: false });
    }

    #[test]
    fn a_folder_that_is_not_there_and_a_file_that_is_wrong_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Hosts::new(Some(folder.path().join("none"))).unwrap_err().to_string().contains("none"));
        fs::create_dir_all(folder.path().join("e.test")).unwrap();
        fs::write(folder.path().join("e.test/hosts.toml"), "server = [").unwrap();
        let error = Hosts::new(Some(folder.path().to_owned())).unwrap().endpoints("e.test").unwrap_err().to_string();
        assert!(error.contains("e.test/hosts.toml") && error.contains("line 1"), "{error}");
    }
}
