//! The `CertificateReady` condition. Pure.

use crds::{CertificateStatus, reason};

use super::outcome;
use crate::{apply, certificate::plan::Plan, condition::Verdict, registry::error::Error};

/// What became of the certificates.
#[derive(Debug)]
pub enum Certificates {
    /// The Service has no address that they could stand for.
    Waiting,
    /// They could not be made.
    Refused(Error),
    /// They were made, and are in place or not.
    Planned(Box<Plan>, Result<(), apply::Error>),
}

impl Certificates {
    /// The plan whose objects are in place.
    #[must_use]
    pub fn in_place(&self) -> Option<&Plan> {
        match self {
            Self::Planned(plan, Ok(())) => Some(plan),
            _ => None,
        }
    }
}

/// What that means.
#[must_use]
pub fn verdict(certificates: &Certificates) -> Verdict {
    match certificates {
        Certificates::Waiting => Verdict::no(
            reason::DEPENDENCY_NOT_READY,
            "the Service has no cluster address yet, and the certificate must carry it",
        ),
        Certificates::Refused(error) => Verdict::no(reason::SECRET_INVALID, error.to_string()),
        Certificates::Planned(_, Err(error)) => outcome::verdict(error),
        Certificates::Planned(plan, Ok(())) => {
            let facts = &plan.leaf.facts;
            let mut words = format!(
                "the serving certificate is valid until {} and is renewed at {}",
                facts.not_after,
                facts.renewal()
            );
            if plan.authorities.next.is_some() {
                words.push_str("; a new authority signs as soon as every node trusts it");
            } else if plan.authorities.previous.is_some() {
                words.push_str("; the authority of before is trusted a little longer");
            }
            Verdict::yes(reason::SUCCEEDED, words)
        }
    }
}

/// The certificate's part of the status.
#[must_use]
pub fn details(plan: &Plan) -> CertificateStatus {
    let facts = &plan.leaf.facts;
    CertificateStatus {
        not_after: facts.not_after.to_string(),
        renewal_time: whole_seconds(facts.renewal()),
        fingerprint: facts.fingerprint(),
    }
}

fn whole_seconds(time: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(time.as_second()).map_or_else(|_| time.to_string(), |t| t.to_string())
}
