//! What the controller knows of a Package between passes. All of it may be lost: after a restart the server is asked anew.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

/// What an attempt was made for; another one is due when it changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wish {
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// Value of the annotation `registry.dcos.io/requested-at`.
    pub requested_at: Option<String>,
}

/// What to ask the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    /// Nothing before this time is over.
    Nothing(Duration),
    /// What became of the declaration.
    Look,
    /// To take the declaration, again or for the first time.
    Put,
}

#[derive(Clone, Debug)]
struct Failure {
    wish: Wish,
    /// State of the registry in which it failed, where another state may help.
    marker: Option<String>,
    until: Instant,
}

#[derive(Clone, Debug)]
struct Check {
    wish: Wish,
    marker: String,
    until: Instant,
}

/// A deletion that asks the server to take the content out.
#[derive(Clone, Copy, Debug)]
pub struct Withdrawal {
    /// When the server was to be asked first.
    pub since: Instant,
    /// Whether the server has begun.
    pub under_way: bool,
}

/// What is known of one object.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    put: Option<Wish>,
    failure: Option<Failure>,
    check: Option<Check>,
    withdrawn: bool,
    warned: bool,
    withdrawal: Option<Withdrawal>,
    written: Option<Instant>,
}

impl Entry {
    /// What to ask now. `current`: the status is about this wish. `marker`: state of the registry. Pure.
    #[must_use]
    pub fn plan(&self, wish: &Wish, current: bool, marker: &str, now: Instant) -> Ask {
        if !current && self.put.as_ref() != Some(wish) {
            return Ask::Put;
        }
        if let Some(failure) = &self.failure {
            let same = failure.wish == *wish && failure.marker.as_deref().is_none_or(|old| old == marker);
            return if same && now < failure.until { Ask::Nothing(failure.until - now) } else { Ask::Put };
        }
        match &self.check {
            Some(check) if check.wish == *wish && check.marker == marker && now < check.until => {
                Ask::Nothing(check.until - now)
            }
            _ => Ask::Look,
        }
    }

    /// The server took the declaration.
    pub fn put(&mut self, wish: &Wish) {
        *self = Self { put: Some(wish.clone()), written: self.written, ..Self::default() };
    }

    /// The declaration failed; nothing is asked for `after`, unless the wish changes, or the registry's state where `marker`
    /// is given.
    pub fn failed(&mut self, wish: &Wish, marker: Option<String>, after: Duration, now: Instant) {
        self.check = None;
        self.failure = Some(Failure { wish: wish.clone(), marker, until: now + after });
    }

    /// The content is there; nothing is asked for `after`, unless wish or registry change.
    pub fn published(&mut self, wish: &Wish, marker: &str, after: Duration, now: Instant) {
        self.failure = None;
        self.check = Some(Check { wish: wish.clone(), marker: marker.to_owned(), until: now + after });
    }

    /// Nothing is certain any more: the server is asked in the next pass.
    pub fn doubt(&mut self) {
        self.check = None;
    }

    /// The declaration gave way to an older object's.
    pub fn gave_way(&mut self) {
        *self = Self { withdrawn: true, written: self.written, ..Self::default() };
    }

    /// Whether it gave way already.
    #[must_use]
    pub fn has_given_way(&self) -> bool {
        self.withdrawn
    }

    /// Notes that users of a package that goes were warned; false if they were before.
    pub fn warn(&mut self) -> bool {
        !std::mem::replace(&mut self.warned, true)
    }

    /// The server is asked to take the content out, now or earlier.
    pub fn withdraws(&mut self, now: Instant) -> Withdrawal {
        *self.withdrawal.get_or_insert(Withdrawal { since: now, under_way: false })
    }

    /// The server takes the content out.
    pub fn is_being_withdrawn(&mut self) {
        if let Some(withdrawal) = &mut self.withdrawal {
            withdrawal.under_way = true;
        }
    }

    /// Whether the server takes the content out.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.withdrawal.is_some_and(|withdrawal| withdrawal.under_way)
    }

    /// When the status was last written.
    #[must_use]
    pub fn written(&self) -> Option<Instant> {
        self.written
    }

    /// The status was written.
    pub fn wrote(&mut self, now: Instant) {
        self.written = Some(now);
    }
}

/// Entries by uid.
#[derive(Debug, Default)]
pub struct Memory {
    entries: Mutex<HashMap<String, Entry>>,
}

impl Memory {
    /// What is known of `uid`.
    #[must_use]
    pub fn get(&self, uid: &str) -> Entry {
        self.lock().get(uid).cloned().unwrap_or_default()
    }

    /// Changes what is known of `uid`.
    pub fn change<T>(&self, uid: &str, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(self.lock().entry(uid.to_owned()).or_default())
    }

    /// Forgets `uid`.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(generation: i64) -> Wish {
        Wish { generation: Some(generation), requested_at: None }
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_new_wish_is_put_once_although_the_status_lags() {
        let now = Instant::now();
        let mut entry = Entry::default();
        assert_eq!(entry.plan(&wish(1), false, "m", now), Ask::Put);
        entry.put(&wish(1));
        assert_eq!(entry.plan(&wish(1), false, "m", now), Ask::Look);
        assert_eq!(entry.plan(&wish(2), false, "m", now), Ask::Put);
    }

    #[test]
    fn after_a_restart_the_server_is_asked_and_not_told() {
        assert_eq!(Entry::default().plan(&wish(1), true, "m", Instant::now()), Ask::Look);
    }

    #[test]
    fn a_failure_rests_until_its_time_or_another_wish() {
        let now = Instant::now();
        let mut entry = Entry::default();
        entry.put(&wish(1));
        entry.failed(&wish(1), None, MINUTE, now);
        assert_eq!(entry.plan(&wish(1), true, "m", now), Ask::Nothing(MINUTE));
        assert_eq!(entry.plan(&wish(1), true, "other", now), Ask::Nothing(MINUTE));
        assert_eq!(entry.plan(&wish(1), true, "m", now + MINUTE), Ask::Put);
        assert_eq!(entry.plan(&wish(2), false, "m", now), Ask::Put);
    }

    #[test]
    fn a_failure_that_depends_on_the_registry_is_tried_again_when_that_changed() {
        let now = Instant::now();
        let mut entry = Entry::default();
        entry.failed(&wish(1), Some("m".into()), MINUTE, now);
        assert_eq!(entry.plan(&wish(1), true, "m", now), Ask::Nothing(MINUTE));
        assert_eq!(entry.plan(&wish(1), true, "restarted", now), Ask::Put);
    }

    #[test]
    fn content_that_is_there_is_looked_at_on_a_timer_and_when_the_registry_changed() {
        let now = Instant::now();
        let mut entry = Entry::default();
        entry.put(&wish(1));
        entry.published(&wish(1), "m", MINUTE, now);
        assert_eq!(entry.plan(&wish(1), true, "m", now), Ask::Nothing(MINUTE));
        assert_eq!(entry.plan(&wish(1), true, "restarted", now), Ask::Look);
        assert_eq!(entry.plan(&wish(1), true, "m", now + MINUTE), Ask::Look);
        entry.doubt();
        assert_eq!(entry.plan(&wish(1), true, "m", now), Ask::Look);
    }
}
