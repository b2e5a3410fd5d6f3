//! What a child that could not be applied means. Pure.

use crds::reason;

use crate::{apply::Error, condition::Verdict, error::chain};

/// The verdict on a child with that error.
#[must_use]
pub fn verdict(error: &Error) -> Verdict {
    let reason = match error {
        Error::NameTaken { .. } => reason::NAME_TAKEN,
        Error::Leaving { .. } => reason::PROGRESSING,
        Error::Call { .. } | Error::Unnamed { .. } | Error::Form { .. } => reason::PROGRESSING_WITH_RETRY,
    };
    Verdict::no(reason, chain(error))
}
