//! From where packages may be fetched, by the rules of the server: it ends when a flag can't be parsed, and with a new flag
//! the running one is stopped first. Pure.

use std::net::IpAddr;

use crds::Sources;
use snafu::ensure;
use url::Url;

use super::{Error, InvalidSpecSnafu};

/// Checks both lists.
///
/// # Errors
/// [`Error::InvalidSpec`] with the list and the entry that the server would not take.
pub(super) fn check(sources: &Sources) -> Result<(), Error> {
    for host in &sources.allowed_hosts {
        ensure!(
            is_host(host),
            InvalidSpecSnafu {
                field: "spec.packages.sources.allowedHosts",
                problem: format!(
                    "{host:?} is no host: write NAME or NAME:PORT, as files.example:8443, with a port up to 65535 and \
                     without scheme, path or wildcard"
                )
            }
        );
    }
    for cidr in &sources.allowed_cidrs {
        ensure!(
            is_cidr(cidr),
            InvalidSpecSnafu {
                field: "spec.packages.sources.allowedCIDRs",
                problem: format!("{cidr:?} is no address range: write one as 10.20.0.0/16")
            }
        );
    }
    Ok(())
}

/// What the server's `--source-allowed-host` takes: a name as the URL parser reads it, and a port. A name whose last label is
/// a number must be an IPv4 address.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !text.ends_with(']') && !name.contains(':') || text.contains("]:") => (name, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) || name.contains(['/', '*', '\\', '?', '#', '@']) {
        return false;
    }
    Url::parse(&format!("https://{name}/")).is_ok_and(|url| {
        // A port that is left was part of the name.
        url.port().is_none() && url.host_str().is_some_and(|host| !host.is_empty())
    })
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_takes_as_a_host_is_taken() {
        for text in ["a", "a.example", "a.example:8443", "a.example:443", "10.0.0.1", "10.0.0.1:80", "[fd00::1]:80"] {
            assert!(is_host(text), "{text}");
        }
    }

    #[test]
    fn what_the_server_refuses_as_a_host_is_refused() {
        for text in [
            "",
            "https://a.example",
            "a.example/x",
            "*.a.example",
            "a.example:x",
            "a:99999",
            "u@a.example",
            "a example",
            "files.example.123",
            "1.2.3.400",
        ] {
            assert!(!is_host(text), "{text}");
        }
    }

    #[test]
    fn a_range_has_an_address_and_as_many_bits_as_that_has_at_most() {
        for text in ["10.0.0.0/8", "10.0.0.1/32", "fd00::/8", "::/0"] {
            assert!(is_cidr(text), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0", "x/8"] {
            assert!(!is_cidr(text), "{text}");
        }
    }
}
