//! Names that a runtime looks a registry up by, and so names of folders.

use std::fmt;
use std::str::FromStr;

use snafu::{Snafu, ensure};

/// A DNS name, with a port or without, in lower case: `registry.packages.svc`, `docker.io`, `registry.example:5000`.
///
/// It is used as the name of a folder, so nothing else may get in: no separator, no `..`, no leading dot, no underscore
/// (containerd reads `_default` for every host).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HostName(String);

/// Why a name can't be a registry's host.
#[derive(Debug, Eq, PartialEq, Snafu)]
#[snafu(display(
    "{name:?} isn't a registry's host name; it takes a DNS name in lower case, with :PORT or without, like registry.packages.svc"
))]
pub struct InvalidHostName {
    name: String,
}

/// RFC 1035: octets of a name and of one of its labels.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

impl HostName {
    /// The name as images and folders spell it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that containerd prefers to the one of this name when the name has a port: `host_5000_` to `host:5000`.
    #[must_use]
    pub fn preferred_folder(&self) -> Option<String> {
        self.0.split_once(':').map(|(host, port)| format!("{host}_{port}_"))
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(name: &str) -> Result<Self, InvalidHostName> {
        let (host, port) = match name.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (name, None),
        };
        ensure!(is_dns_name(host) && port.is_none_or(is_port), InvalidHostNameSnafu { name });
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0') && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_services_upstreams_and_hosts_with_a_port_are_taken() {
        for name in ["registry.packages.svc", "docker.io", "localhost:5000", "a.b-c.example:65535", "10.0.0.1:5000"] {
            assert_eq!(name.parse::<HostName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_could_leave_the_folder_or_mean_something_else_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = ["abc"; 64].join(".");
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "/etc",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "A.io",
            "_default",
            "a_5000_",
            "a:0",
            "a:05",
            "a:65536",
            "a:",
            "a:1:2",
            "a:+1",
            "[::1]",
            "a b",
            "a\nb",
            "a\0b",
            "ä.io",
            &long_label,
            &long_name,
        ] {
            assert!(name.parse::<HostName>().is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn a_port_moves_the_folder_that_containerd_prefers() {
        assert_eq!("a.io:5000".parse::<HostName>().unwrap().preferred_folder().as_deref(), Some("a.io_5000_"));
        assert_eq!("a.io".parse::<HostName>().unwrap().preferred_folder(), None);
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_one_plain_path_component(name in "[a-z0-9.:/_\\\\-]{0,20}|\\PC{0,12}") {
            if let Ok(host) = name.parse::<HostName>() {
                let components: Vec<_> = std::path::Path::new(host.as_str()).components().collect();
                prop_assert_eq!(components, vec![std::path::Component::Normal(name.as_ref())]);
                prop_assert!(!name.starts_with('.'));
            }
        }

        #[test]
        fn every_name_of_plain_labels_is_taken(name in "[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z0-9]{1,8}){0,4}(:[1-9][0-9]{0,3})?") {
            prop_assert!(name.parse::<HostName>().is_ok());
        }
    }
}
