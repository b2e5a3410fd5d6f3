//! Arithmetic of `metav1.Condition` lists, after kstatus. Pure: the clock is an argument.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crds::condition::{READY, RECONCILING, STALLED};

/// Longest message that a condition carries, in bytes.
const LONGEST_MESSAGE: usize = 4096;

/// Status of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is said about one aspect of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Status.
    pub status: Status,
    /// One of [`crds::reason`].
    pub reason: &'static str,
    /// For people: what is, and what would be right.
    pub message: String,
}

impl Verdict {
    /// `True`, with a reason of its own.
    #[must_use]
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::True, reason, message: message.into() }
    }

    /// `False`.
    #[must_use]
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::False, reason, message: message.into() }
    }

    /// `Unknown`.
    #[must_use]
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::Unknown, reason, message: message.into() }
    }
}

/// What the object as a whole is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Activity {
    /// Nothing to do: neither `Reconciling` nor `Stalled`.
    Idle,
    /// Under way: `Reconciling=True` with that reason (`Progressing`, `ProgressingWithRetry`).
    Reconciling(&'static str),
    /// Nothing changes until somebody acts: `Stalled=True`.
    Stalled,
}

/// Sets the condition `type_`; `lastTransitionTime` moves only when the status changes.
pub fn set(conditions: &mut Vec<Condition>, type_: &str, verdict: &Verdict, generation: Option<i64>, now: Timestamp) {
    let message = shortened(&verdict.message);
    let status = verdict.status.as_str();
    if let Some(condition) = conditions.iter_mut().find(|condition| condition.type_ == type_) {
        if condition.status != status {
            status.clone_into(&mut condition.status);
            condition.last_transition_time = Time(now);
        }
        verdict.reason.clone_into(&mut condition.reason);
        condition.message = message;
        condition.observed_generation = generation;
    } else {
        conditions.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: Time(now),
        });
    }
}

/// Takes the condition `type_` away.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// Sets `Ready`, and `Reconciling` and `Stalled` as kstatus wants them: present only while True.
pub fn summarise(
    conditions: &mut Vec<Condition>,
    ready: &Verdict,
    activity: &Activity,
    generation: Option<i64>,
    now: Timestamp,
) {
    set(conditions, READY, ready, generation, now);
    match activity {
        Activity::Idle => {
            remove(conditions, RECONCILING);
            remove(conditions, STALLED);
        }
        Activity::Reconciling(reason) => {
            remove(conditions, STALLED);
            set(conditions, RECONCILING, &Verdict::yes(reason, ready.message.clone()), generation, now);
        }
        Activity::Stalled => {
            remove(conditions, RECONCILING);
            set(conditions, STALLED, &Verdict::yes(ready.reason, ready.message.clone()), generation, now);
        }
    }
}

/// The condition `type_`.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition `type_` is True.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

fn shortened(message: &str) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    let mut end = LONGEST_MESSAGE;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        set(&mut conditions, "A", &Verdict::no("Progressing", "one"), Some(1), at(10));
        set(&mut conditions, "A", &Verdict::no("Conflict", "two"), Some(2), at(20));
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert_eq!((conditions[0].reason.as_str(), conditions[0].observed_generation), ("Conflict", Some(2)));
        set(&mut conditions, "A", &Verdict::yes("Succeeded", "three"), Some(2), at(30));
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn reconciling_and_stalled_are_there_only_while_true() {
        let mut conditions = Vec::new();
        let no = Verdict::no("FetchFailed", "down");
        summarise(&mut conditions, &no, &Activity::Reconciling("ProgressingWithRetry"), Some(1), at(1));
        assert!(is_true(&conditions, RECONCILING) && find(&conditions, STALLED).is_none());
        summarise(&mut conditions, &no, &Activity::Stalled, Some(1), at(2));
        assert!(is_true(&conditions, STALLED) && find(&conditions, RECONCILING).is_none());
        assert_eq!(find(&conditions, STALLED).unwrap().reason, "FetchFailed");
        summarise(&mut conditions, &Verdict::yes("Succeeded", "ok"), &Activity::Idle, Some(1), at(3));
        assert_eq!(conditions.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(), [READY]);
    }

    #[test]
    fn the_same_verdict_again_changes_nothing() {
        let mut conditions = Vec::new();
        let no = Verdict::no("FetchFailed", "down");
        summarise(&mut conditions, &no, &Activity::Stalled, Some(1), at(1));
        let before = conditions.clone();
        summarise(&mut conditions, &no, &Activity::Stalled, Some(1), at(99));
        assert_eq!(before, conditions);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        set(&mut conditions, "A", &Verdict::no("Conflict", "ä".repeat(5000)), None, at(1));
        assert!(conditions[0].message.len() < 4200 && conditions[0].message.ends_with('…'));
    }
}
