//! The certificate authority of one registry, and what its Secret holds while it is being replaced.

use std::{collections::BTreeMap, time::Duration};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use snafu::{OptionExt, ResultExt, ensure};

use super::{
    CLOCK_SKEW, CertificateError, GenerateSnafu, KeyMismatchSnafu, MissingSnafu, NameSnafu, NotAnAuthoritySnafu,
    facts::{Facts, after, certificates},
    leaf::{CERTIFICATE_KEY, Leaf, Names, PRIVATE_KEY_KEY, PrivateKey},
};

/// Key of the Secret that holds the certificate of the authority that comes next.
const NEXT_CERTIFICATE_KEY: &str = "next.crt";
/// Key of the Secret that holds the private key of the authority that comes next.
const NEXT_PRIVATE_KEY_KEY: &str = "next.key";
/// Key of the Secret that holds the certificate of the authority that was before.
const PREVIOUS_CERTIFICATE_KEY: &str = "previous.crt";

/// A certificate authority: its certificate and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// The certificate in PEM form.
    pub certificate: String,
    /// Its key.
    pub key: PrivateKey,
    /// What the certificate says.
    pub facts: Facts,
}

impl Authority {
    /// Makes an authority that lives for `life`; `owner` says whose it is.
    ///
    /// # Errors
    /// When no key or certificate could be made.
    pub fn generate(owner: &str, now: Timestamp, life: Duration) -> Result<Self, CertificateError> {
        let pair = KeyPair::generate().context(GenerateSnafu)?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, now, after(now, life));
        // Two authorities of one registry must not look alike: during a rotation clients trust both.
        let mark = mark(&pair);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Package Registry");
        params.distinguished_name.push(DnType::CommonName, format!("{owner} {mark}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&pair).context(GenerateSnafu)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: PrivateKey::of(&pair),
            facts: Facts::of(certificate.der().clone(), CERTIFICATE_KEY)?,
        })
    }

    /// Reads a pair that a Secret holds under these two keys.
    ///
    /// # Errors
    /// When one of them can't be read, they are no pair, or the certificate may not sign others.
    fn read(
        data: &BTreeMap<String, ByteString>,
        certificate_key: &'static str,
        private_key_key: &'static str,
    ) -> Result<Self, CertificateError> {
        let pem = &data.get(certificate_key).context(MissingSnafu { what: certificate_key })?.0;
        let key = &data.get(private_key_key).context(MissingSnafu { what: private_key_key })?.0;
        let facts = Facts::read(pem, certificate_key)?;
        let (key, pair) = PrivateKey::read(key, private_key_key)?;
        ensure!(
            pair.subject_public_key_info() == facts.public_key,
            KeyMismatchSnafu { certificate: certificate_key, key: private_key_key }
        );
        ensure!(facts.is_authority, NotAnAuthoritySnafu { what: certificate_key });
        Ok(Self { certificate: certificates(pem, certificate_key)?, key, facts })
    }

    /// Signs a serving certificate that lives for `life`, but never longer than the authority.
    ///
    /// # Errors
    /// When no key or certificate could be made, or a name can't stand in one.
    pub fn sign(&self, names: &Names, now: Timestamp, life: Duration) -> Result<Leaf, CertificateError> {
        let (_, authority_pair) = PrivateKey::read(self.key.pem().as_bytes(), PRIVATE_KEY_KEY)?;
        let issuer = Issuer::from_ca_cert_der(&self.facts.der, authority_pair).context(GenerateSnafu)?;
        let pair = KeyPair::generate().context(GenerateSnafu)?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, now, self.expiry_of_leaf(now, life));
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = names.dns.first() {
            // 64 characters are the most that a common name may have; clients look at the alternatives only.
            let name: String = name.chars().take(64).collect();
            params.distinguished_name.push(DnType::CommonName, name);
        }
        for name in &names.dns {
            let alternative = name.as_str().try_into().context(NameSnafu { name })?;
            params.subject_alt_names.push(SanType::DnsName(alternative));
        }
        params.subject_alt_names.extend(names.addresses.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&pair, &issuer).context(GenerateSnafu)?;
        Ok(Leaf {
            chain: format!("{}{}", certificate.pem(), self.certificate),
            key: PrivateKey::of(&pair),
            facts: Facts::of(certificate.der().clone(), CERTIFICATE_KEY)?,
        })
    }

    /// When a serving certificate expires that was signed at `issued` to live for `life`.
    #[must_use]
    pub fn expiry_of_leaf(&self, issued: Timestamp, life: Duration) -> Timestamp {
        after(issued, life).min(self.facts.not_after)
    }
}

/// The authorities of a registry: one, or two while one takes over from the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authorities {
    /// Signs serving certificates.
    pub current: Authority,
    /// Will sign them as soon as every node trusts it.
    pub next: Option<Authority>,
    /// Certificate (PEM) of the one that signed before and is trusted a little longer.
    pub previous: Option<String>,
}

impl Authorities {
    /// A single one.
    #[must_use]
    pub fn new(current: Authority) -> Self {
        Self { current, next: None, previous: None }
    }

    /// Those of a registry whose Secret is gone: `current` is new, and the certificate among `trusted` (PEM) that signed `leaf` is
    /// trusted a little longer.
    #[must_use]
    pub fn after_loss(current: Authority, trusted: &str, leaf: Option<&Facts>) -> Self {
        let signer = leaf.and_then(|leaf| signer(trusted, leaf));
        Self { current, next: None, previous: signer.map(|signer| signer.pem()) }
    }

    /// Reads what the Secret holds. A next one that can't be read is left out: it has signed nothing yet.
    ///
    /// # Errors
    /// When the current one can't be read: nodes trust it, so it is never replaced silently.
    pub fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, CertificateError> {
        let previous = data
            .get(PREVIOUS_CERTIFICATE_KEY)
            .filter(|pem| Facts::read(&pem.0, PREVIOUS_CERTIFICATE_KEY).is_ok())
            .and_then(|pem| certificates(&pem.0, PREVIOUS_CERTIFICATE_KEY).ok());
        Ok(Self {
            current: Authority::read(data, CERTIFICATE_KEY, PRIVATE_KEY_KEY)?,
            next: Authority::read(data, NEXT_CERTIFICATE_KEY, NEXT_PRIVATE_KEY_KEY).ok(),
            previous,
        })
    }

    /// What the Secret should hold.
    #[must_use]
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, text: &str| {
            data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
        };
        put(CERTIFICATE_KEY, &self.current.certificate);
        put(PRIVATE_KEY_KEY, self.current.key.pem());
        if let Some(next) = &self.next {
            put(NEXT_CERTIFICATE_KEY, &next.certificate);
            put(NEXT_PRIVATE_KEY_KEY, next.key.pem());
        }
        if let Some(previous) = &self.previous {
            put(PREVIOUS_CERTIFICATE_KEY, previous);
        }
        data
    }

    /// Every certificate to trust, in PEM form, the oldest first: so it stays the same when the next one takes over, and
    /// nodes need not be told again.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.previous
            .as_deref()
            .into_iter()
            .chain([self.current.certificate.as_str()])
            .chain(self.next.as_ref().map(|next| next.certificate.as_str()))
            .flat_map(|pem| [pem.trim_end(), "\n"])
            .collect()
    }
}

/// The certificate among `trusted` (PEM) that signed `leaf`.
fn signer(trusted: &str, leaf: &Facts) -> Option<Facts> {
    CertificateDer::pem_slice_iter(trusted.as_bytes())
        .filter_map(|der| Facts::of(der.ok()?, "status.caBundle").ok())
        .find(|authority| leaf.is_signed_by(authority))
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        epoch + Duration::from_secs(seconds)
    };
    params.not_before = at(now) - CLOCK_SKEW;
    // What X.509 calls "no well-defined expiry"; later years don't fit its date form.
    params.not_after = at(not_after).min(rcgen::date_time_ymd(9999, 12, 31));
}

/// Eight hex digits of the public key's digest.
fn mark(pair: &KeyPair) -> String {
    HEXLOWER.encode(&Sha256::digest(pair.subject_public_key_info())[..4])
}
