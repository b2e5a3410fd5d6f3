//! The serving certificate.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use rcgen::{KeyPair, PublicKeyData};
use snafu::ensure;

use super::{CertificateError, KeyMismatchSnafu, UnreadableKeySnafu, facts::Facts};

/// Key of a `kubernetes.io/tls` Secret that holds the certificate, its chain behind it.
pub const CERTIFICATE_KEY: &str = "tls.crt";
/// Key of a `kubernetes.io/tls` Secret that holds the private key.
pub const PRIVATE_KEY_KEY: &str = "tls.key";

/// What a serving certificate stands for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    /// Host names.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// A private key in PEM form (PKCS#8). Its `Debug` form doesn't show it.
#[derive(Clone, Eq, PartialEq)]
pub struct PrivateKey(String);

impl PrivateKey {
    pub(super) fn of(pair: &KeyPair) -> Self {
        Self(pair.serialize_pem())
    }

    pub(super) fn read(pem: &[u8], what: &'static str) -> Result<(Self, KeyPair), CertificateError> {
        let text = std::str::from_utf8(pem)
            .ok()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| UnreadableKeySnafu { what }.build())?;
        let pair = KeyPair::from_pem(text).map_err(|_| UnreadableKeySnafu { what }.build())?;
        Ok((Self(text.to_owned()), pair))
    }

    /// The PEM text, for a Secret.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PrivateKey(…)")
    }
}

/// A serving certificate with its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// The certificate and those that lead to its authority, in PEM form.
    pub chain: String,
    /// Its key.
    pub key: PrivateKey,
    /// What the certificate says.
    pub facts: Facts,
}

impl Leaf {
    /// Reads what a `kubernetes.io/tls` Secret holds.
    ///
    /// # Errors
    /// When one of the two can't be read, or they are no pair.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let facts = Facts::read(chain, CERTIFICATE_KEY)?;
        let (key, pair) = PrivateKey::read(key, PRIVATE_KEY_KEY)?;
        ensure!(
            pair.subject_public_key_info() == facts.public_key,
            KeyMismatchSnafu { certificate: CERTIFICATE_KEY, key: PRIVATE_KEY_KEY }
        );
        Ok(Self { chain: String::from_utf8_lossy(chain).into_owned(), key, facts })
    }

    /// What the certificate stands for.
    #[must_use]
    pub fn names(&self) -> Names {
        Names { dns: self.facts.dns_names.clone(), addresses: self.facts.addresses.clone() }
    }
}
