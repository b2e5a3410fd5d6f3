//! What the server may fetch: the list of hosts, the list of address ranges, and what is never allowed. Pure.

use std::net::IpAddr;
use std::str::FromStr;

use snafu::{Snafu, ensure};
use url::Url;

use super::addresses::{Cidr, effective, forbidden};

/// An allowed host: `files.example.test` (any port) or `files.example.test:8443`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

/// The text is no host.
#[derive(Debug, Snafu)]
#[snafu(display("{text:?} is not a host: NAME or NAME:PORT is needed, without scheme, path or wildcard"))]
pub struct InvalidHost {
    text: String,
}

impl FromStr for AllowedHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidHostSnafu { text }.build();
        // The URL parser knows how hosts are normalised; a literal port 443 would be lost with https, so it is read apart.
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !text.ends_with(']') && !name.contains(':') || text.contains("]:") => {
                (name, Some(port.parse().map_err(|_| invalid())?))
            }
            _ => (text, None),
        };
        let parsed = Url::parse(&format!("https://{name}/")).map_err(|_| invalid())?;
        let bare = parsed.username().is_empty()
            && parsed.password().is_none()
            && parsed.path() == "/"
            && parsed.query().is_none()
            && parsed.fragment().is_none()
            && parsed.port().is_none()
            && !name.contains(['/', '*', '\\', '?', '#', '@']);
        match parsed.host_str() {
            Some(host) if bare && !host.is_empty() => Ok(Self { host: normal(host), port }),
            _ => Err(invalid()),
        }
    }
}

fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// What may be fetched.
#[derive(Clone, Debug, Default)]
pub struct SourcePolicy {
    /// Hosts by name.
    pub hosts: Vec<AllowedHost>,
    /// Hosts by where their name leads to.
    pub ranges: Vec<Cidr>,
    /// Whether a declaration has to promise a digest.
    pub require_digest: bool,
    /// Never fetched from: the API server.
    pub refused: Vec<IpAddr>,
}

/// Why a source may not be asked. The messages name the field of the registry's spec that decides.
#[derive(Debug, Snafu)]
pub enum Refusal {
    /// Not an address that can be fetched.
    #[snafu(display("the source's url is not usable: {reason}"))]
    Unusable {
        /// Why.
        reason: String,
    },
    /// In none of the lists.
    #[snafu(display(
        "{host} is not in spec.packages.sources.allowedHosts of the registry; add it there if packages may come from it"
    ))]
    NotListed {
        /// Host and port.
        host: String,
    },
    /// Never allowed.
    #[snafu(display("{host} leads to {address}, {what}; nothing is ever fetched from there"))]
    Forbidden {
        /// Host and port.
        host: String,
        /// The address.
        address: IpAddr,
        /// What it is.
        what: &'static str,
    },
    /// No digest.
    #[snafu(display(
        "the source has no sha256; give one, or set spec.packages.sources.requireDigest of the registry to false"
    ))]
    NoDigest,
}

impl SourcePolicy {
    /// Checks what can be checked without asking a name server. True if the host is allowed by name; false if its
    /// addresses decide.
    ///
    /// # Errors
    /// An address that may not be fetched.
    pub fn check_url(&self, url: &Url) -> Result<bool, Refusal> {
        let http = matches!(url.scheme(), "http" | "https");
        ensure!(http, UnusableSnafu { reason: format!("{}: is not http: or https:", url.scheme()) });
        let clean = url.username().is_empty() && url.password().is_none();
        ensure!(clean, UnusableSnafu { reason: "user and password belong into a Secret, not into the address" });
        let host = url.host_str().unwrap_or_default();
        ensure!(!host.is_empty(), UnusableSnafu { reason: "it has no host" });
        let port = url.port_or_known_default();
        let named = self
            .hosts
            .iter()
            .any(|allowed| allowed.host == normal(host) && (allowed.port.is_none() || allowed.port == port));
        ensure!(named || !self.ranges.is_empty(), NotListedSnafu { host: authority(url) });
        Ok(named)
    }

    /// Checks the addresses that a host's name leads to.
    ///
    /// # Errors
    /// An address that may not be fetched from.
    pub fn check_addresses(&self, url: &Url, named: bool, addresses: &[IpAddr]) -> Result<(), Refusal> {
        let host = authority(url);
        ensure!(!addresses.is_empty(), UnusableSnafu { reason: format!("{host} has no address") });
        for address in addresses {
            let what = forbidden(*address, &self.ranges)
                .or_else(|| self.refused.contains(&effective(*address)).then_some("the API server's address"));
            if let Some(what) = what {
                return ForbiddenSnafu { host, address: *address, what }.fail();
            }
            let in_range = self.ranges.iter().any(|range| range.contains(effective(*address)));
            ensure!(named || in_range, NotListedSnafu { host });
        }
        Ok(())
    }

    /// Checks that a digest is there where one is required.
    ///
    /// # Errors
    /// No digest.
    pub fn check_digest(&self, sha256: Option<&str>) -> Result<(), Refusal> {
        ensure!(sha256.is_some() || !self.require_digest, NoDigestSnafu);
        Ok(())
    }
}

/// Host and port as people know them.
#[must_use]
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(hosts: &[&str], ranges: &[&str]) -> SourcePolicy {
        SourcePolicy {
            hosts: hosts.iter().map(|h| h.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|r| r.parse().unwrap()).collect(),
            require_digest: true,
            refused: vec!["10.96.0.1".parse().unwrap()],
        }
    }

    fn allowed(policy: &SourcePolicy, url: &str, addresses: &[&str]) -> Result<(), String> {
        let url = Url::parse(url).unwrap();
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let named = policy.check_url(&url).map_err(|e| e.to_string())?;
        policy.check_addresses(&url, named, &addresses).map_err(|e| e.to_string())
    }

    #[test]
    fn empty_lists_allow_nothing() {
        let error = allowed(&policy(&[], &[]), "https://a.test/x", &["10.0.0.1"]).unwrap_err();
        assert!(error.contains("spec.packages.sources.allowedHosts"), "{error}");
    }

    #[test]
    fn a_host_is_allowed_exactly_as_listed() {
        let policy = policy(&["A.test", "b.test:8443", "c.test:443", "[fd00::1]:80"], &[]);
        for url in [
            "http://a.test/",
            "https://a.test:1234/",
            "https://A.TEST./",
            "https://b.test:8443/",
            "https://c.test/",
            "http://[fd00::1]/",
        ] {
            assert_eq!(allowed(&policy, url, &["10.0.0.1"]), Ok(()), "{url}");
        }
        for url in
            ["https://b.test/", "https://x.a.test/", "https://a.test.evil/", "http://c.test/", "https://a.test@evil/"]
        {
            assert!(allowed(&policy, url, &["10.0.0.1"]).is_err(), "{url}");
        }
    }

    #[test]
    fn a_range_allows_hosts_whose_addresses_all_lie_in_it() {
        let policy = policy(&[], &["10.0.0.0/8"]);
        assert_eq!(allowed(&policy, "http://any.test/", &["10.0.0.1", "10.1.0.1"]), Ok(()));
        assert!(allowed(&policy, "http://any.test/", &["10.0.0.1", "11.0.0.1"]).is_err());
    }

    #[test]
    fn a_listed_host_that_leads_to_a_dangerous_address_is_refused() {
        let policy = policy(&["a.test"], &["0.0.0.0/0"]);
        for address in ["127.0.0.1", "169.254.169.254", "10.96.0.1", "::ffff:10.96.0.1"] {
            let error = allowed(&policy, "http://a.test/", &["10.0.0.5", address]).unwrap_err();
            assert!(error.contains("nothing is ever fetched"), "{error}");
        }
    }

    #[test]
    fn other_schemes_and_passwords_in_the_address_are_refused() {
        let policy = policy(&["a.test"], &[]);
        for url in ["file:///etc/passwd", "ftp://a.test/x", "https://u:p@a.test/x"] {
            assert!(policy.check_url(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
    }

    #[test]
    fn a_missing_digest_is_refused_where_one_is_required() {
        assert!(policy(&[], &[]).check_digest(None).is_err());
        assert!(policy(&[], &[]).check_digest(Some("x")).is_ok());
        assert!(SourcePolicy::default().check_digest(None).is_ok());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "https://a.test", "a.test/x", "*.a.test", "a.test:x", "u@a.test", "a test"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
