//! How a store is, as far as its last calls tell. For `/api/v1/status` and the admin port.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What keeps a store from being used, or makes it unsafe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The credentials can't be read, or the store refuses them.
    SecretInvalid,
    /// This host's clock and the store's are too far apart for requests to be signed.
    ClockSkew,
    /// The store doesn't honour conditional writes, so that instances can't agree on anything.
    S3CoordinationUnsafe,
    /// The store, or the bucket in it, doesn't answer as it should.
    Unreachable,
}

impl Trouble {
    /// The word that programs read.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SecretInvalid => "SecretInvalid",
            Self::ClockSkew => "ClockSkew",
            Self::S3CoordinationUnsafe => "S3CoordinationUnsafe",
            Self::Unreachable => "Unreachable",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Trouble, and what happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint {
    /// What kind.
    pub trouble: Trouble,
    /// What happened and what would be right. Never a secret.
    pub message: String,
}

/// What is known, shared by the store and by those who report it.
#[derive(Clone, Debug, Default)]
pub struct StorageHealth(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// What the last call said; the next good one takes it back.
    passing: Option<Complaint>,
    /// Why the credentials that are to be used from now on can't be read; only reading them takes it back.
    credentials: Option<String>,
    /// What was found at the start and lasts as long as the process.
    standing: Option<Complaint>,
    /// Calls that were answered.
    answers: u64,
}

impl StorageHealth {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call was answered.
    pub fn answered(&self) {
        let mut known = self.known();
        known.answers += 1;
        if known.passing.take().is_some() {
            tracing::info!("the store can be used again");
        }
    }

    /// A call failed. Said once in the log, however often it happens.
    pub fn failed(&self, trouble: Trouble, message: &str) {
        let mut known = self.known();
        if known.passing.as_ref().is_none_or(|before| before.trouble != trouble) {
            tracing::error!(storage.trouble = trouble.word(), "{message}");
        }
        known.passing = Some(Complaint { trouble, message: message.to_owned() });
    }

    /// The credentials that are to be used from now on can't be read. Said once in the log, however often it is found. Calls
    /// that are answered, with those that were read before, change nothing of it.
    pub fn credentials_unreadable(&self, message: String) {
        let mut known = self.known();
        if known.credentials.as_ref() != Some(&message) {
            tracing::error!(storage.trouble = Trouble::SecretInvalid.word(), "{message}");
        }
        known.credentials = Some(message);
    }

    /// The credentials can be read.
    pub fn credentials_read(&self) {
        if self.known().credentials.take().is_some() {
            tracing::info!("the store's credentials can be read again");
        }
    }

    /// Something was found that lasts.
    pub fn stands(&self, trouble: Trouble, message: String) {
        self.known().standing = Some(Complaint { trouble, message });
    }

    /// Calls that were answered so far.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.known().answers
    }

    /// What is wrong; `None` while all is well.
    #[must_use]
    pub fn complaint(&self) -> Option<Complaint> {
        let known = self.known();
        let secret = |message: &String| Complaint { trouble: Trouble::SecretInvalid, message: message.clone() };
        let credentials = known.credentials.as_ref().map(secret);
        // A store that refuses the credentials is told by what is wrong with them.
        let passing = known.passing.clone();
        let passing = passing.filter(|passing| credentials.is_none() || passing.trouble != Trouble::SecretInvalid);
        passing.or(credentials).or_else(|| known.standing.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_call_takes_back_what_passes_and_not_what_stands() {
        let health = StorageHealth::default();
        assert_eq!(health.complaint(), None);
        health.stands(Trouble::S3CoordinationUnsafe, "two won".into());
        health.failed(Trouble::Unreachable, "refused");
        assert_eq!(health.complaint().unwrap().trouble, Trouble::Unreachable);
        health.answered();
        assert_eq!(health.complaint().unwrap().trouble, Trouble::S3CoordinationUnsafe);
        assert_eq!(health.answers(), 1);
    }

    #[test]
    fn credentials_that_cannot_be_read_are_told_until_they_can_whatever_the_store_answers() {
        let health = StorageHealth::default();
        let told = || health.complaint().map(|complaint| (complaint.trouble, complaint.message));
        for _ in 0..2 {
            health.credentials_unreadable("no such profile".into());
            health.answered();
            assert_eq!(told(), Some((Trouble::SecretInvalid, "no such profile".into())));
        }
        health.failed(Trouble::SecretInvalid, "refused");
        assert_eq!(told(), Some((Trouble::SecretInvalid, "no such profile".into())));
        health.failed(Trouble::Unreachable, "nobody answers");
        assert_eq!(told(), Some((Trouble::Unreachable, "nobody answers".into())));
        health.answered();
        health.credentials_read();
        assert_eq!(told(), None);
    }
}
