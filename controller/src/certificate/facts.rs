//! What can be read off a certificate.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use snafu::OptionExt;
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use super::{CLOCK_SKEW, CertificateError, MissingSnafu, UnreadableCertificateSnafu};

/// What matters of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// The certificate in its binary form.
    pub der: CertificateDer<'static>,
    /// Its subject's public key in its binary form (`SubjectPublicKeyInfo`).
    pub public_key: Vec<u8>,
    /// When it was made: the start of its validity without [`CLOCK_SKEW`].
    pub issued: Timestamp,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it expires.
    pub not_after: Timestamp,
    /// Host names it stands for.
    pub dns_names: BTreeSet<String>,
    /// Addresses it stands for.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether it may sign others.
    pub is_authority: bool,
}

impl Facts {
    /// Reads the first certificate of a PEM file; `what` names the file in errors.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub fn read(pem: &[u8], what: &'static str) -> Result<Self, CertificateError> {
        let der = CertificateDer::pem_slice_iter(pem)
            .next()
            .context(MissingSnafu { what })?
            .map_err(|error| unreadable(what, &error))?;
        Self::of(der, what)
    }

    /// Reads a certificate in its binary form; `what` names it in errors.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(der: CertificateDer<'static>, what: &'static str) -> Result<Self, CertificateError> {
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|error| unreadable(what, &error))?;
        let validity = certificate.validity();
        let not_before = timestamp(validity.not_before.timestamp(), what)?;
        let not_after = timestamp(validity.not_after.timestamp(), what)?;
        let (dns_names, addresses) = names(&certificate, what)?;
        Ok(Self {
            public_key: certificate.public_key().raw.to_vec(),
            issued: after(not_before, CLOCK_SKEW),
            not_before,
            not_after,
            dns_names,
            addresses,
            is_authority: certificate.is_ca(),
            der,
        })
    }

    /// The certificate in PEM form.
    #[must_use]
    pub fn pem(&self) -> String {
        encode(&self.der)
    }

    /// SHA-256 of the binary form, hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(&self.der))
    }

    /// When two thirds of the life that was asked for are over.
    #[must_use]
    pub fn renewal(&self) -> Timestamp {
        after(self.issued, self.life() * 2 / 3)
    }

    /// Time from the making to the expiry.
    #[must_use]
    pub fn life(&self) -> Duration {
        Duration::try_from(self.not_after.duration_since(self.issued)).unwrap_or_default()
    }

    /// Whether `authority` signed it.
    #[must_use]
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&self.der) else {
            return false;
        };
        let Ok((_, issuer)) = x509_parser::parse_x509_certificate(&authority.der) else {
            return false;
        };
        certificate.issuer() == issuer.subject() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
    }
}

/// The certificates of a PEM file and nothing else of it: it goes where everybody may read it, and a private key may be in the
/// same file. `what` names the file in errors.
///
/// # Errors
/// When a certificate of it can't be read.
pub fn certificates(pem: &[u8], what: &'static str) -> Result<String, CertificateError> {
    CertificateDer::pem_slice_iter(pem)
        .map(|der| der.map(|der| encode(&der)).map_err(|error| unreadable(what, &error)))
        .collect()
}

/// In PEM form, with the ending of lines that certificates are made with: so one of ours stays what it is.
fn encode(der: &CertificateDer<'_>) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der.to_vec()), lines)
}

/// `time` plus `duration`, or the last time there is.
#[must_use]
pub fn after(time: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|duration| time.checked_add(duration).ok())
        .unwrap_or(Timestamp::MAX)
}

fn names(
    certificate: &X509Certificate<'_>,
    what: &'static str,
) -> Result<(BTreeSet<String>, BTreeSet<IpAddr>), CertificateError> {
    let mut dns_names = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let alternatives = certificate.subject_alternative_name().map_err(|error| unreadable(what, &error))?;
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => {
                dns_names.insert((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                addresses.extend(address(bytes));
            }
            _ => {}
        }
    }
    Ok((dns_names, addresses))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

fn timestamp(seconds: i64, what: &'static str) -> Result<Timestamp, CertificateError> {
    Timestamp::from_second(seconds).map_err(|error| unreadable(what, &error))
}

fn unreadable(what: &'static str, error: &dyn std::fmt::Display) -> CertificateError {
    UnreadableCertificateSnafu { what, problem: error.to_string() }.build()
}
