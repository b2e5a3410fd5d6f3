//! Whether the serving certificate is still right: an ordered list of small questions, the first that fails decides.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::{
    CertificateError,
    authority::Authority,
    leaf::{CERTIFICATE_KEY, Leaf, Names, PRIVATE_KEY_KEY},
};

/// Why a serving certificate must be made anew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Violation {
    /// There is no Secret, or a key of it is empty.
    Missing,
    /// Certificate or key can't be read.
    Unreadable(String),
    /// Certificate and key are no pair.
    KeyMismatch,
    /// Another authority than the current one signed it.
    ForeignIssuer,
    /// It stands for other names or addresses.
    NamesDiffer,
    /// It was made for another life than the spec asks for.
    LifeDiffers,
    /// It isn't valid yet: a clock that was ahead made it.
    NotYetValid(Timestamp),
    /// Two thirds of its life are over.
    Expiring(Timestamp),
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("there was none"),
            Self::Unreadable(problem) => write!(formatter, "it could not be read: {problem}"),
            Self::KeyMismatch => formatter.write_str("its key belonged to another certificate"),
            Self::ForeignIssuer => formatter.write_str("it was not signed by the registry's current authority"),
            Self::NamesDiffer => formatter.write_str("it stood for other names or addresses"),
            Self::LifeDiffers => formatter.write_str("spec.tls.selfManaged.duration has changed"),
            Self::NotYetValid(not_before) => {
                write!(formatter, "nobody would have accepted it before {not_before}: a clock that was ahead made it")
            }
            Self::Expiring(not_after) => write!(formatter, "it would have expired at {not_after}"),
        }
    }
}

/// What the questions are about.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Data of the Secret, if it exists.
    pub secret: Option<&'a BTreeMap<String, ByteString>>,
    /// The current authority.
    pub authority: &'a Authority,
    /// What the certificate must stand for, exactly.
    pub names: &'a Names,
    /// Its life.
    pub life: Duration,
    /// The time.
    pub now: Timestamp,
}

/// The certificate that is there, or why it must be made anew.
///
/// # Errors
/// The first policy that it violates.
pub fn check(input: Input<'_>) -> Result<Leaf, Violation> {
    let leaf = read(input.secret)?;
    let policies: [fn(&Input<'_>, &Leaf) -> Option<Violation>; 5] =
        [foreign_issuer, names_differ, life_differs, not_yet_valid, expiring];
    match policies.iter().find_map(|policy| policy(&input, &leaf)) {
        Some(violation) => Err(violation),
        None => Ok(leaf),
    }
}

fn read(secret: Option<&BTreeMap<String, ByteString>>) -> Result<Leaf, Violation> {
    let part =
        |key: &str| secret.and_then(|data| data.get(key)).filter(|part| !part.0.is_empty()).ok_or(Violation::Missing);
    let (chain, key) = (part(CERTIFICATE_KEY)?, part(PRIVATE_KEY_KEY)?);
    Leaf::read(&chain.0, &key.0).map_err(|error| match error {
        CertificateError::KeyMismatch { .. } => Violation::KeyMismatch,
        other => Violation::Unreadable(other.to_string()),
    })
}

fn foreign_issuer(input: &Input<'_>, leaf: &Leaf) -> Option<Violation> {
    (!leaf.facts.is_signed_by(&input.authority.facts)).then_some(Violation::ForeignIssuer)
}

fn names_differ(input: &Input<'_>, leaf: &Leaf) -> Option<Violation> {
    (leaf.names() != *input.names).then_some(Violation::NamesDiffer)
}

fn life_differs(input: &Input<'_>, leaf: &Leaf) -> Option<Violation> {
    let expected = input.authority.expiry_of_leaf(leaf.facts.issued, input.life);
    (leaf.facts.not_after.as_second() != expected.as_second()).then_some(Violation::LifeDiffers)
}

/// Certificates begin [`super::CLOCK_SKEW`] before they are made, so that clocks which differ by less are none.
fn not_yet_valid(input: &Input<'_>, leaf: &Leaf) -> Option<Violation> {
    (input.now < leaf.facts.not_before).then_some(Violation::NotYetValid(leaf.facts.not_before))
}

fn expiring(input: &Input<'_>, leaf: &Leaf) -> Option<Violation> {
    (input.now >= leaf.facts.renewal()).then_some(Violation::Expiring(leaf.facts.not_after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn later(hours: u32) -> Timestamp {
        super::super::facts::after(now(), HOUR * hours)
    }

    fn names() -> Names {
        Names {
            dns: ["registry.demo.svc".to_owned()].into(),
            addresses: ["10.96.0.7".parse().unwrap(), "fd00::7".parse().unwrap()].into(),
        }
    }

    fn authority() -> Authority {
        Authority::generate("demo/registry", now(), HOUR * 1000).unwrap()
    }

    fn data(leaf: &Leaf) -> BTreeMap<String, ByteString> {
        BTreeMap::from([
            (CERTIFICATE_KEY.to_owned(), ByteString(leaf.chain.clone().into_bytes())),
            (PRIVATE_KEY_KEY.to_owned(), ByteString(leaf.key.pem().as_bytes().to_vec())),
        ])
    }

    fn check_at(
        secret: &BTreeMap<String, ByteString>,
        authority: &Authority,
        at: Timestamp,
    ) -> Result<Leaf, Violation> {
        check(Input { secret: Some(secret), authority, names: &names(), life: HOUR * 90, now: at })
    }

    #[test]
    fn a_certificate_that_was_just_signed_is_kept_until_two_thirds_of_its_life_are_over() {
        let authority = authority();
        let leaf = authority.sign(&names(), now(), HOUR * 90).unwrap();
        let secret = data(&leaf);
        assert_eq!(check_at(&secret, &authority, now()).unwrap(), leaf);
        assert!(check_at(&secret, &authority, later(59)).is_ok());
        assert_eq!(check_at(&secret, &authority, later(60)).unwrap_err(), Violation::Expiring(later(90)));
    }

    #[test]
    fn a_certificate_that_a_clock_made_which_was_ahead_is_replaced_when_nobody_accepts_it_yet() {
        let authority = authority();
        let minutes = |minutes| super::super::facts::after(now(), Duration::from_mins(minutes));
        let slightly = authority.sign(&names(), minutes(5), HOUR * 90).unwrap();
        assert!(check_at(&data(&slightly), &authority, now()).is_ok());
        let ahead = authority.sign(&names(), minutes(65), HOUR * 90).unwrap();
        assert_eq!(check_at(&data(&ahead), &authority, now()).unwrap_err(), Violation::NotYetValid(minutes(60)));
    }

    #[test]
    fn a_missing_secret_or_an_empty_key_is_missing() {
        let authority = authority();
        let names = names();
        let input = Input { secret: None, authority: &authority, names: &names, life: HOUR, now: now() };
        assert_eq!(check(input).unwrap_err(), Violation::Missing);
        let mut secret = data(&authority.sign(&names, now(), HOUR * 90).unwrap());
        secret.insert(PRIVATE_KEY_KEY.into(), ByteString(Vec::new()));
        assert_eq!(check_at(&secret, &authority, now()).unwrap_err(), Violation::Missing);
    }

    #[test]
    fn text_that_is_no_certificate_is_unreadable() {
        let authority = authority();
        let mut secret = data(&authority.sign(&names(), now(), HOUR * 90).unwrap());
        secret.insert(
            CERTIFICATE_KEY.into(),
            ByteString(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()),
        );
        assert!(matches!(check_at(&secret, &authority, now()).unwrap_err(), Violation::Unreadable(_)));
    }

    #[test]
    fn the_key_of_another_certificate_is_a_mismatch() {
        let authority = authority();
        let mut secret = data(&authority.sign(&names(), now(), HOUR * 90).unwrap());
        let other = data(&authority.sign(&names(), now(), HOUR * 90).unwrap());
        secret.insert(PRIVATE_KEY_KEY.into(), other[PRIVATE_KEY_KEY].clone());
        assert_eq!(check_at(&secret, &authority, now()).unwrap_err(), Violation::KeyMismatch);
    }

    #[test]
    fn a_certificate_of_another_authority_is_replaced() {
        let other = Authority::generate("demo/registry", now(), HOUR * 1000).unwrap();
        let secret = data(&other.sign(&names(), now(), HOUR * 90).unwrap());
        assert_eq!(check_at(&secret, &authority(), now()).unwrap_err(), Violation::ForeignIssuer);
    }

    #[test]
    fn a_new_address_of_the_service_asks_for_a_new_certificate() {
        let authority = authority();
        let mut old = names();
        old.addresses = ["10.96.0.8".parse().unwrap()].into();
        let secret = data(&authority.sign(&old, now(), HOUR * 90).unwrap());
        assert_eq!(check_at(&secret, &authority, now()).unwrap_err(), Violation::NamesDiffer);
    }

    #[test]
    fn another_life_in_the_spec_asks_for_a_new_certificate() {
        let authority = authority();
        let secret = data(&authority.sign(&names(), now(), HOUR * 10).unwrap());
        assert_eq!(check_at(&secret, &authority, now()).unwrap_err(), Violation::LifeDiffers);
    }

    #[test]
    fn a_certificate_never_outlives_its_authority_and_is_still_the_right_one() {
        let authority = Authority::generate("demo/registry", now(), HOUR * 50).unwrap();
        let leaf = authority.sign(&names(), now(), HOUR * 90).unwrap();
        assert_eq!(leaf.facts.not_after, later(50));
        assert!(check_at(&data(&leaf), &authority, now()).is_ok());
    }
}
