//! What the Secrets of a registry should hold now, given what they hold.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::{
    CertificateError,
    authority::{Authorities, Authority},
    facts::Facts,
    leaf::{CERTIFICATE_KEY, Leaf, Names, PRIVATE_KEY_KEY},
    policy::{self, Violation},
    rotation::{self, Step, Trust},
};

/// What the plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Whose certificates they are, as `<namespace>/<name>`; part of the authority's subject.
    pub owner: &'a str,
    /// Data of the authority's Secret, if it exists.
    pub authority: Option<&'a BTreeMap<String, ByteString>>,
    /// Certificates (PEM) that nodes were told of last; what is still in use of a registry whose authority is lost.
    pub trusted: Option<&'a str>,
    /// Data of the serving Secret, if it exists.
    pub serving: Option<&'a BTreeMap<String, ByteString>>,
    /// What the serving certificate must stand for.
    pub names: &'a Names,
    /// Life of an authority.
    pub authority_life: Duration,
    /// Life of a serving certificate.
    pub life: Duration,
    /// Whether somebody has asked for a new authority.
    pub requested: bool,
    /// Who has the bundle.
    pub trust: Trust,
    /// The time.
    pub now: Timestamp,
}

/// What should be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The authorities.
    pub authorities: Authorities,
    /// What happened to them.
    pub step: Step,
    /// Whether there was no authority before.
    pub first: bool,
    /// The serving certificate.
    pub leaf: Leaf,
    /// Why it was made anew, where it was.
    pub violation: Option<Violation>,
}

impl Plan {
    /// What the serving Secret should hold.
    #[must_use]
    pub fn serving_data(&self) -> BTreeMap<String, ByteString> {
        BTreeMap::from([
            (CERTIFICATE_KEY.to_owned(), ByteString(self.leaf.chain.clone().into_bytes())),
            (PRIVATE_KEY_KEY.to_owned(), ByteString(self.leaf.key.pem().as_bytes().to_vec())),
        ])
    }

    /// When the plan is to be looked at again at the latest.
    #[must_use]
    pub fn next_look(&self, authority_life: Duration) -> Timestamp {
        let due = rotation::due(&self.authorities.current.facts, authority_life);
        self.leaf.facts.renewal().min(due)
    }
}

/// Makes the plan.
///
/// # Errors
/// When the authority's Secret is there but can't be used, or no certificate could be made.
pub fn plan(input: Input<'_>) -> Result<Plan, CertificateError> {
    let first = input.authority.is_none();
    let (authorities, step) = match input.authority {
        Some(data) => advance(input, Authorities::read(data)?)?,
        None => (replace_lost(input)?, Step::Keep),
    };
    let checked = policy::check(policy::Input {
        secret: input.serving,
        authority: &authorities.current,
        names: input.names,
        life: input.life,
        now: input.now,
    });
    let (leaf, violation) = match checked {
        Ok(leaf) => (leaf, None),
        Err(violation) => match outgoing(input, &authorities, &violation) {
            Some(leaf) => (leaf, None),
            None => (authorities.current.sign(input.names, input.now, input.life)?, Some(violation)),
        },
    };
    Ok(Plan { authorities, step, first, leaf, violation })
}

fn generate(input: Input<'_>) -> Result<Authority, CertificateError> {
    Authority::generate(input.owner, input.now, input.authority_life)
}

/// The authorities where there is no Secret: somebody has deleted it, or there was none yet.
fn replace_lost(input: Input<'_>) -> Result<Authorities, CertificateError> {
    let leaf = serving_leaf(input);
    let trusted = input.trusted.unwrap_or_default();
    Ok(Authorities::after_loss(generate(input)?, trusted, leaf.as_ref().map(|leaf| &leaf.facts)))
}

fn serving_leaf(input: Input<'_>) -> Option<Leaf> {
    let data = input.serving?;
    Leaf::read(&data.get(CERTIFICATE_KEY)?.0, &data.get(PRIVATE_KEY_KEY)?.0).ok()
}

/// The certificate in place, if nothing but its authority is of before and not every node has the current one.
fn outgoing(input: Input<'_>, authorities: &Authorities, violation: &Violation) -> Option<Leaf> {
    let stays = *violation == Violation::ForeignIssuer;
    let leaf = serving_leaf(input).filter(|leaf| stays && leaf.names() == *input.names)?;
    rotation::awaits_nodes(&leaf.facts, authorities, input.trust, input.now).then_some(leaf)
}

fn advance(input: Input<'_>, mut authorities: Authorities) -> Result<(Authorities, Step), CertificateError> {
    let leaf = input
        .serving
        .and_then(|data| data.get(CERTIFICATE_KEY))
        .and_then(|pem| Facts::read(&pem.0, CERTIFICATE_KEY).ok());
    let step = rotation::step(rotation::Input {
        authorities: &authorities,
        life: input.authority_life,
        requested: input.requested,
        trust: input.trust,
        leaf: leaf.as_ref(),
        now: input.now,
    });
    match step {
        Step::Keep => {}
        Step::Begin => authorities.next = Some(generate(input)?),
        Step::Promote { .. } => {
            if let Some(next) = authorities.next.take() {
                let old = std::mem::replace(&mut authorities.current, next);
                authorities.previous = Some(old.certificate);
            }
        }
        Step::Retire => authorities.previous = None,
    }
    Ok((authorities, step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::facts::after;

    const HOUR: Duration = Duration::from_hours(1);

    fn start() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn names() -> Names {
        Names { dns: ["registry.demo.svc".to_owned()].into(), addresses: ["10.96.0.7".parse().unwrap()].into() }
    }

    struct Secrets {
        authority: Option<BTreeMap<String, ByteString>>,
        serving: Option<BTreeMap<String, ByteString>>,
        trusted: Option<String>,
    }

    impl Secrets {
        fn pass(&mut self, hours: u32, trust: Trust, requested: bool) -> Result<Plan, CertificateError> {
            let names = names();
            let plan = plan(Input {
                owner: "demo/registry",
                authority: self.authority.as_ref(),
                trusted: self.trusted.as_deref(),
                serving: self.serving.as_ref(),
                names: &names,
                authority_life: HOUR * 10_000,
                life: HOUR * 900,
                requested,
                trust,
                now: after(start(), HOUR * hours),
            })?;
            self.authority = Some(plan.authorities.data());
            self.trusted = Some(plan.authorities.bundle());
            self.serving = Some(plan.serving_data());
            Ok(plan)
        }
    }

    fn empty() -> Secrets {
        Secrets { authority: None, serving: None, trusted: None }
    }

    #[test]
    fn the_second_pass_changes_nothing() {
        let mut secrets = empty();
        let first = secrets.pass(0, Trust::Everywhere, false).unwrap();
        assert!(first.first);
        assert_eq!(first.violation, Some(Violation::Missing));
        let before = (secrets.authority.clone(), secrets.serving.clone());
        let second = secrets.pass(1, Trust::Everywhere, false).unwrap();
        assert_eq!((second.violation, second.step), (None, Step::Keep));
        assert_eq!((secrets.authority, secrets.serving), before);
    }

    #[test]
    fn a_requested_rotation_trusts_both_authorities_before_the_serving_certificate_changes() {
        let mut secrets = empty();
        let old = secrets.pass(0, Trust::Everywhere, false).unwrap();
        let begun = secrets.pass(1, Trust::Everywhere, true).unwrap();
        assert_eq!(begun.step, Step::Begin);
        assert_eq!(begun.leaf, old.leaf);
        assert_eq!(begun.authorities.bundle().matches("BEGIN").count(), 2);

        let promoted = secrets.pass(2, Trust::Everywhere, false).unwrap();
        assert_eq!(promoted.violation, Some(Violation::ForeignIssuer));
        assert_eq!(promoted.authorities.bundle(), begun.authorities.bundle());

        let retired = secrets.pass(3, Trust::Everywhere, false).unwrap();
        assert_eq!(retired.step, Step::Retire);
        assert_eq!(retired.leaf, promoted.leaf);
        assert_eq!(retired.authorities.bundle(), promoted.authorities.current.certificate);
    }

    #[test]
    fn a_deleted_authority_is_trusted_until_every_node_has_the_new_one() {
        let mut secrets = empty();
        let old = secrets.pass(0, Trust::Everywhere, false).unwrap();
        secrets.authority = None;
        let lost = secrets.pass(1, Trust::Spreading, false).unwrap();
        assert!(lost.first);
        assert_eq!((lost.leaf.clone(), lost.violation), (old.leaf.clone(), None));
        let (before, after) = (&old.authorities.current.certificate, &lost.authorities.current.certificate);
        assert_eq!(lost.authorities.bundle(), format!("{before}{after}"));
        let waiting = secrets.pass(1, Trust::Spreading, false).unwrap();
        assert_eq!((waiting.leaf, waiting.authorities), (old.leaf, lost.authorities.clone()));

        let signed = secrets.pass(1, Trust::Everywhere, false).unwrap();
        assert_eq!(signed.violation, Some(Violation::ForeignIssuer));
        assert_eq!(signed.authorities, lost.authorities);
        let retired = secrets.pass(2, Trust::Everywhere, false).unwrap();
        assert_eq!(retired.step, Step::Retire);
        assert_eq!(retired.authorities.bundle(), *after);
    }

    #[test]
    fn nodes_that_are_down_hold_the_new_authority_up_for_an_hour() {
        for trust in [Trust::Spreading, Trust::Unwatched] {
            let mut secrets = empty();
            secrets.pass(0, trust, false).unwrap();
            secrets.authority = None;
            assert_eq!(secrets.pass(1, trust, false).unwrap().violation, None);
            assert_eq!(secrets.pass(2, trust, false).unwrap().violation, Some(Violation::ForeignIssuer), "{trust:?}");
        }
    }

    #[test]
    fn what_a_lost_authority_signed_is_not_kept_where_it_is_of_no_use() {
        let mut secrets = empty();
        secrets.pass(0, Trust::Everywhere, false).unwrap();
        let foreign = empty().pass(0, Trust::Everywhere, false).unwrap().authorities.bundle();
        for (trusted, hours) in [(None, 1), (Some(foreign), 1), (secrets.trusted.clone(), 900)] {
            let mut lost = Secrets { authority: None, serving: secrets.serving.clone(), trusted };
            let plan = lost.pass(hours, Trust::Spreading, false).unwrap();
            assert_eq!(plan.violation, Some(Violation::ForeignIssuer));
        }
    }

    #[test]
    fn an_unusable_authority_is_an_error_and_is_never_replaced() {
        let mut secrets = empty();
        secrets.pass(0, Trust::Everywhere, false).unwrap();
        let mut other = empty();
        other.pass(0, Trust::Everywhere, false).unwrap();
        let foreign = other.authority.unwrap()[PRIVATE_KEY_KEY].clone();
        if let Some(data) = &mut secrets.authority {
            data.insert(PRIVATE_KEY_KEY.into(), foreign);
        }
        let error = secrets.pass(1, Trust::Everywhere, false).unwrap_err();
        assert_eq!(error.to_string(), "tls.key is not the key of tls.crt");
    }

    #[test]
    fn a_private_key_beside_the_certificate_is_not_given_away() {
        let mut secrets = empty();
        let before = secrets.pass(0, Trust::Everywhere, false).unwrap();
        for key in [CERTIFICATE_KEY, "previous.crt"] {
            let mut combined = before.authorities.current.key.pem().as_bytes().to_vec();
            combined.extend_from_slice(b"a word\r\n");
            combined.extend_from_slice(before.authorities.current.certificate.as_bytes());
            combined.extend_from_slice(before.authorities.current.key.pem().as_bytes());
            secrets.authority.as_mut().unwrap().insert(key.into(), ByteString(combined));
        }
        let after = secrets.pass(0, Trust::Everywhere, false).unwrap().authorities;
        let certificate = &before.authorities.current.certificate;
        assert_eq!(after.bundle(), format!("{certificate}{certificate}"));
        let leaf = after.current.sign(&names(), start(), HOUR).unwrap();
        assert!(leaf.chain.ends_with(certificate) && !leaf.chain.contains("PRIVATE"));
    }

    #[test]
    fn a_serving_certificate_in_place_of_the_authority_is_refused() {
        let mut secrets = empty();
        secrets.pass(0, Trust::Everywhere, false).unwrap();
        secrets.authority.clone_from(&secrets.serving);
        let error = secrets.pass(1, Trust::Everywhere, false).unwrap_err();
        assert!(matches!(error, CertificateError::NotAnAuthority { .. }));
    }

    #[test]
    fn no_private_key_is_printed() {
        let plan = empty().pass(0, Trust::Everywhere, false).unwrap();
        assert!(!format!("{plan:?}").contains("PRIVATE KEY"));
    }
}
