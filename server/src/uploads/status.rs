//! Where an upload is, as the store keeps it, and how it goes from one state to the next. Pure.

use std::time::Duration;

use api::{FailureReason, State};
use serde::{Deserialize, Serialize};

use super::UploadId;
use super::record::Record;

/// How fast uploads live.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two signs of life of an upload's owner.
    pub beat: Duration,
    /// The status of an upload that is worked on stays the same for so long only if its owner has stopped.
    pub stopped: Duration,
    /// Between two looks at all uploads.
    pub look: Duration,
    /// After so long without a change an upload is forgotten, and its blobs are nobody's.
    pub expiry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(2),
            stopped: Duration::from_secs(10),
            look: Duration::from_secs(10),
            expiry: Duration::from_hours(24),
        }
    }
}

/// `package-uploads/<id>/status.json`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Form of this document; 1.
    pub format: u32,
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Content digest.
    pub digest: String,
    /// Bytes of files and blobs.
    pub size: u64,
    /// sha256 of the content that counts, in hex digits.
    pub content: String,
    /// Where it is.
    pub state: State,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When its publication was asked for (Unix seconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// Who asked for it, for the audit trail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The process that works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Signs of life of the owner so far.
    #[serde(default)]
    pub beat: u64,
    /// The number that it was published under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_version: Option<u64>,
}

impl Status {
    /// An upload whose blobs may come. `content` is the digest of the content document, in hex digits.
    #[must_use]
    pub fn pending(record: &Record, content: String) -> Self {
        Self {
            format: 1,
            name: record.coordinate.name.clone(),
            version: record.coordinate.version.clone(),
            digest: record.digest.clone(),
            size: record.size(),
            content,
            state: State::Pending,
            reason: None,
            message: None,
            accepted: None,
            by: None,
            owner: None,
            beat: 0,
            release_version: None,
        }
    }

    /// The id of the upload.
    #[must_use]
    pub fn id(&self) -> UploadId {
        UploadId::of(&self.name, &self.version, &self.digest)
    }

    /// Whether somebody works on it, or should.
    #[must_use]
    pub fn is_in_work(&self) -> bool {
        matches!(self.state, State::Validating | State::Storing)
    }

    /// Whether its blobs must stay although no package names them yet.
    #[must_use]
    pub fn holds_blobs(&self) -> bool {
        !self.state.is_final()
    }

    /// Its publication was asked for, at that time (Unix seconds), by somebody.
    #[must_use]
    pub fn accepted(mut self, owner: &str, now: u64, by: &str) -> Self {
        (self.reason, self.message, self.release_version) = (None, None, None);
        self.accepted = Some(now);
        self.by = Some(by.to_owned());
        self.owned(owner)
    }

    /// Somebody begins to work on it, from the start. When it was accepted stays.
    #[must_use]
    pub fn owned(mut self, owner: &str) -> Self {
        self.state = State::Validating;
        self.owner = Some(owner.to_owned());
        self.beat += 1;
        self
    }

    /// Everything is right; it is being published.
    #[must_use]
    pub fn storing(mut self) -> Self {
        self.state = State::Storing;
        self
    }

    /// A sign of life.
    #[must_use]
    pub fn alive(mut self) -> Self {
        self.beat += 1;
        self
    }

    /// It is in the catalogue.
    #[must_use]
    pub fn added(mut self, release_version: u64) -> Self {
        (self.state, self.owner, self.release_version) = (State::Added, None, Some(release_version));
        self
    }

    /// It was refused or given up.
    #[must_use]
    pub fn failed(mut self, reason: FailureReason, message: String) -> Self {
        (self.state, self.owner) = (State::Failed, None);
        (self.reason, self.message) = (Some(reason), Some(message));
        self
    }

    /// Whether `me` may begin to work on it: it is in work, and nobody works on it any more.
    ///
    /// `running`: this process does. `silent`: its owner gave no sign of life for too long, or can't be there any more.
    #[must_use]
    pub fn is_abandoned(&self, me: &str, running: bool, silent: bool) -> bool {
        let mine = self.owner.as_deref() == Some(me);
        self.is_in_work() && if mine { !running } else { silent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        serde_json::from_str(
            r#"{"format":1,"name":"a","version":"1","digest":"d","size":1,"content":"c","state":"Pending"}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_failed_upload_that_is_asked_for_again_forgets_why() {
        let failed = status().accepted("me", 7, "ann").failed(FailureReason::Conflict, "because".into());
        assert!(!failed.holds_blobs() && !failed.is_in_work());
        let again = failed.accepted("me", 8, "ann");
        assert_eq!((again.state, again.reason, &again.message), (State::Validating, None, &None));
        assert_eq!(again.accepted, Some(8));
    }

    #[test]
    fn who_takes_over_keeps_the_time_of_acceptance_and_writes_another_status() {
        let before = status().accepted("me", 7, "ann").storing();
        let after = before.clone().owned("other");
        assert_eq!((after.accepted, after.state), (Some(7), State::Validating));
        assert!(after.beat > before.beat);
    }

    #[test]
    fn only_what_nobody_works_on_is_abandoned() {
        let theirs = status().accepted("other", 7, "ann");
        assert!(theirs.is_abandoned("me", false, true));
        assert!(!theirs.is_abandoned("me", false, false));
        let mine = status().accepted("me", 7, "ann");
        assert!(mine.is_abandoned("me", false, false));
        assert!(!mine.is_abandoned("me", true, true));
        for done in [status(), mine.clone().added(1), mine.failed(FailureReason::Conflict, String::new())] {
            assert!(!done.is_abandoned("me", false, true));
        }
    }
}
