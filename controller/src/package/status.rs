//! Step 5, pure: the status of a Package after a pass.

use std::time::Duration;

use api::{Declaration, FailureReason, Progress, PublishedPackage, State};
use crds::{
    ImageStatus, Package, PackageStatus, ProgressStatus, WorkloadsStatus,
    condition::{FETCHED, IN_USE, PUBLISHED, READY},
    names, reason,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{apply::Answer, error::Error};
use crate::{
    condition::{Activity, Verdict, find, is_true, remove, set, summarise},
    error::chain,
    workloads::Usage,
};

/// Progress alone is written at most this often.
pub const PROGRESS_PERIOD: Duration = Duration::from_secs(5);
/// Most images that a status names.
pub(super) const MOST_IMAGES: usize = 64;

/// What a pass found out.
#[derive(Debug)]
pub enum Observed<'a> {
    /// `spec.suspend` is true.
    Suspended,
    /// What the server said.
    Answer(&'a Answer),
    /// What came before it could be asked.
    Error(&'a Error),
}

/// Generation of the spec that the last declaration was made for: that of the condition `Published`. The status as a whole may
/// be about a later one which could not be declared yet.
#[must_use]
pub fn declared_generation(package: &Package) -> Option<i64> {
    find(&package.status.as_ref()?.conditions, PUBLISHED)?.observed_generation
}

/// The status after a pass. `authority` is the registry's host, with which image references begin.
#[must_use]
pub fn build(package: &Package, observed: &Observed<'_>, authority: &str, now: Timestamp) -> PackageStatus {
    let mut draft = Draft {
        status: package.status.clone().unwrap_or_default(),
        generation: package.metadata.generation,
        same_declaration: declared_generation(package) == package.metadata.generation,
        is_upload: package.spec.source.upload.is_some(),
        now,
    };
    match observed {
        Observed::Suspended => draft.suspended(),
        Observed::Answer(Answer { declaration: None, .. }) => return draft.status,
        Observed::Answer(answer) => {
            if let Some(declaration) = &answer.declaration {
                let requested_at = package.annotations().get(names::REQUESTED_AT).cloned();
                if draft.status.last_handled_reconcile_at == requested_at && draft.only_begins_again(declaration) {
                    return draft.status;
                }
                draft.status.last_handled_reconcile_at = requested_at;
                draft.declared(declaration, answer, authority);
            }
        }
        Observed::Error(error) => {
            if draft.survives(error) {
                return draft.status;
            }
            draft.failed(error);
        }
    }
    draft.status.observed_generation = package.metadata.generation;
    draft.status
}

/// Adds who uses the package; what isn't published has no users.
pub fn note_users(status: &mut PackageStatus, users: &Usage, generation: Option<i64>, now: Timestamp) {
    if !is_true(&status.conditions, PUBLISHED) {
        status.workloads = None;
        remove(&mut status.conditions, IN_USE);
        return;
    }
    let verdict = match users.count {
        0 => Verdict::no(reason::NOT_IN_USE, "no workload uses its images"),
        _ => Verdict::yes(reason::IN_USE, format!("its images are used by {}", words(users))),
    };
    set_users(status, users, &verdict, generation, now);
}

fn set_users(status: &mut PackageStatus, users: &Usage, verdict: &Verdict, generation: Option<i64>, now: Timestamp) {
    set(&mut status.conditions, IN_USE, verdict, generation, now);
    let count = i32::try_from(users.count).unwrap_or(i32::MAX);
    status.workloads = Some(WorkloadsStatus { count, examples: users.examples.clone() });
}

/// The status of a package that is to be deleted and is kept for its users, in `words`.
#[must_use]
pub fn held(package: &Package, users: &Usage, words: &str, now: Timestamp) -> PackageStatus {
    let mut status = package.status.clone().unwrap_or_default();
    let generation = package.metadata.generation;
    set_users(&mut status, users, &Verdict::yes(reason::IN_USE, words), generation, now);
    // A deletion is a generation of its own; what is said here is said about it.
    status.observed_generation = generation;
    status
}

/// The status of a package that is to be deleted and whose users can't be known, in `words`. Known ones stay.
#[must_use]
pub fn unsure(package: &Package, words: &str, now: Timestamp) -> PackageStatus {
    let mut status = package.status.clone().unwrap_or_default();
    let generation = package.metadata.generation;
    if !is_true(&status.conditions, IN_USE) {
        let verdict = Verdict::unknown(reason::PROGRESSING_WITH_RETRY, words);
        set(&mut status.conditions, IN_USE, &verdict, generation, now);
    }
    status.observed_generation = generation;
    status
}

/// Why a deletion waits, and what ends that.
#[must_use]
pub fn hold_words(users: &Usage) -> String {
    format!(
        "it is to be deleted and stays while its images are used by {}: delete or change these, or set the annotation {}: \"true\"",
        words(users),
        names::FORCE_REMOVAL
    )
}

/// Users for people.
#[must_use]
pub fn words(users: &Usage) -> String {
    let named = users.examples.join(", ");
    match users.count - users.examples.len() {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Whether nothing but the progress is different.
#[must_use]
pub fn only_progress_differs(before: &PackageStatus, next: &PackageStatus) -> bool {
    let same = PackageStatus { progress: next.progress.clone(), ..before.clone() };
    before.progress.is_some() && next.progress.is_some() && same == *next
}

/// The condition's reason for a failure.
#[must_use]
pub fn word(failure: FailureReason) -> &'static str {
    match failure {
        FailureReason::NotAllowed => reason::NOT_ALLOWED,
        FailureReason::FetchFailed => reason::FETCH_FAILED,
        FailureReason::AuthenticationFailed => reason::AUTHENTICATION_FAILED,
        FailureReason::DigestMismatch => reason::DIGEST_MISMATCH,
        FailureReason::InvalidBundle => reason::INVALID_BUNDLE,
        FailureReason::UnsupportedPackagingVersion => reason::UNSUPPORTED_PACKAGING_VERSION,
        FailureReason::AlreadyDeclared => reason::ALREADY_DECLARED,
        FailureReason::Conflict => reason::CONFLICT,
        FailureReason::StorageFull => reason::STORAGE_FULL,
    }
}

struct Draft {
    status: PackageStatus,
    generation: Option<i64>,
    same_declaration: bool,
    is_upload: bool,
    now: Timestamp,
}

impl Draft {
    fn set(&mut self, type_: &str, verdict: &Verdict) {
        set(&mut self.status.conditions, type_, verdict, self.generation, self.now);
    }

    fn summarise(&mut self, ready: &Verdict, activity: &Activity) {
        summarise(&mut self.status.conditions, ready, activity, self.generation, self.now);
    }

    fn is_published(&self) -> bool {
        self.same_declaration && is_true(&self.status.conditions, PUBLISHED)
    }

    fn was_ready(&self) -> bool {
        self.is_published()
            && self.status.observed_generation == self.generation
            && is_true(&self.status.conditions, READY)
    }

    /// What was said of the same spec stays until another attempt has got somewhere: a server that was restarted looks at what
    /// it has before it says `Added` again, and a failure that repeats itself is one failure.
    fn only_begins_again(&self, declaration: &Declaration) -> bool {
        let begins =
            matches!(declaration.state, State::Pending | State::Validating) && declaration.progress.bytes_done == 0;
        let failed_before = self.same_declaration
            && self.status.observed_generation == self.generation
            && find(&self.status.conditions, READY).is_some_and(|ready| {
                ready.status == "False" && !matches!(ready.reason.as_str(), reason::PROGRESSING | reason::SUSPENDED)
            });
        begins && (self.was_ready() || failed_before)
    }

    /// A registry that is away for a while takes nothing out of the catalogue; its own status says that it is away.
    fn survives(&self, error: &Error) -> bool {
        self.was_ready()
            && matches!(
                error,
                Error::RegistryNotServing { .. } | Error::Server { .. } | Error::Read { .. } | Error::Status { .. }
            )
    }

    fn suspended(&mut self) {
        let message = "suspended: nothing is fetched or changed until spec.suspend is false";
        let ready = if is_true(&self.status.conditions, PUBLISHED) {
            Verdict::yes(reason::SUSPENDED, format!("{message}; what is published stays"))
        } else {
            Verdict::no(reason::SUSPENDED, message)
        };
        self.status.progress = None;
        self.summarise(&ready, &Activity::Idle);
    }

    fn declared(&mut self, declaration: &Declaration, answer: &Answer, authority: &str) {
        if !self.same_declaration {
            // That number belongs to what another spec declared.
            self.status.release_version = None;
        }
        self.status.progress = None;
        match declaration.state {
            State::Added => self.added(declaration, authority),
            State::Failed => self.refused(declaration, answer),
            State::Pending | State::Validating | State::Storing | State::Removing => self.under_way(declaration),
        }
    }

    fn added(&mut self, declaration: &Declaration, authority: &str) {
        if let Some(package) = &declaration.package {
            self.take(package, authority);
        }
        let what = self.title();
        self.set(FETCHED, &self.fetched());
        self.set(PUBLISHED, &Verdict::yes(reason::SUCCEEDED, format!("{what} is in the catalogue")));
        self.summarise(&Verdict::yes(reason::SUCCEEDED, format!("{what} is in the catalogue")), &Activity::Idle);
    }

    fn fetched(&self) -> Verdict {
        let words = if self.is_upload { "the package was uploaded" } else { "the bundle was read from its source" };
        Verdict::yes(reason::SUCCEEDED, words)
    }

    fn take(&mut self, package: &PublishedPackage, authority: &str) {
        let status = &mut self.status;
        status.name = Some(package.name.clone());
        status.version = Some(package.version.clone());
        status.release_version = i64::try_from(package.release_version).ok();
        status.digest = Some(package.digest.clone());
        status.size = i64::try_from(package.size).ok();
        status.images = package
            .images
            .iter()
            .take(MOST_IMAGES)
            .map(|image| ImageStatus {
                name: image.name.clone(),
                reference: format!("{authority}/{}", image.reference),
                digest: image.digest.clone(),
                platforms: image.platforms.clone(),
            })
            .collect();
    }

    fn title(&self) -> String {
        match (&self.status.name, &self.status.version) {
            (Some(name), Some(version)) => format!("{name} {version}"),
            _ => "the package".to_owned(),
        }
    }

    fn under_way(&mut self, declaration: &Declaration) {
        let message = match declaration.state {
            State::Pending => "waits for its turn",
            State::Validating => "the bundle is fetched and checked",
            State::Storing => "the content is being published",
            _ => "the content of before is being withdrawn",
        };
        if declaration.state == State::Storing {
            self.set(FETCHED, &self.fetched());
        } else {
            self.set(FETCHED, &Verdict::unknown(reason::PROGRESSING, message));
        }
        self.set(PUBLISHED, &Verdict::no(reason::PROGRESSING, message));
        self.summarise(&Verdict::no(reason::PROGRESSING, message), &Activity::Reconciling(reason::PROGRESSING));
        self.status.progress = Some(progress(declaration.progress));
    }

    fn refused(&mut self, declaration: &Declaration, answer: &Answer) {
        let failure = declaration.reason.unwrap_or(FailureReason::FetchFailed);
        let why = word(failure);
        let mut message =
            declaration.message.clone().unwrap_or_else(|| format!("the server says {why} and nothing else"));
        if let Some(rival) = &answer.rival {
            message = format!("{message}; the other one is Package {rival}");
        }
        if declaration.package.is_some() {
            message.push_str("; what was published before is still there");
        } else if !self.same_declaration || answer.coordinate.is_some() {
            self.forget_content();
        }
        if let (None, Some((name, version))) = (&declaration.package, &answer.coordinate) {
            self.status.name = Some(name.clone());
            self.status.version = Some(version.clone());
        }
        if failure.is_fetch() {
            self.set(FETCHED, &Verdict::no(why, message.clone()));
            self.set(PUBLISHED, &Verdict::no(reason::DEPENDENCY_NOT_READY, "the bundle must be fetched first"));
        } else {
            self.set(FETCHED, &self.fetched());
            self.set(PUBLISHED, &Verdict::no(why, message.clone()));
        }
        let activity = if failure.is_transient() {
            Activity::Reconciling(reason::PROGRESSING_WITH_RETRY)
        } else {
            Activity::Stalled
        };
        self.summarise(&Verdict::no(why, message), &activity);
    }

    fn forget_content(&mut self) {
        let PackageStatus { observed_generation, conditions, last_handled_reconcile_at, .. } =
            std::mem::take(&mut self.status);
        self.status =
            PackageStatus { observed_generation, conditions, last_handled_reconcile_at, ..PackageStatus::default() };
    }

    fn failed(&mut self, error: &Error) {
        let message = chain(error);
        self.status.progress = None;
        let (why, activity) = match error {
            Error::RegistryMissing { .. } | Error::RegistryLeaving { .. } | Error::RegistryNotServing { .. } => {
                (reason::DEPENDENCY_NOT_READY, Activity::Reconciling(reason::PROGRESSING))
            }
            Error::SecretInvalid { .. } => {
                self.set(FETCHED, &Verdict::no(reason::SECRET_INVALID, message.clone()));
                (reason::SECRET_INVALID, Activity::Stalled)
            }
            Error::InvalidSpec { .. } => (reason::INVALID_SPEC, Activity::Stalled),
            Error::ContentMissing { .. } => {
                self.set(PUBLISHED, &Verdict::no(reason::CONTENT_MISSING, message.clone()));
                (reason::CONTENT_MISSING, Activity::Stalled)
            }
            Error::AlreadyDeclared { .. } => {
                self.status.images.clear();
                self.status.release_version = None;
                self.set(PUBLISHED, &Verdict::no(reason::ALREADY_DECLARED, message.clone()));
                (reason::ALREADY_DECLARED, Activity::Stalled)
            }
            Error::Withdrawing | Error::InUse { .. } => {
                (reason::PROGRESSING, Activity::Reconciling(reason::PROGRESSING))
            }
            Error::Read { .. }
            | Error::Server { .. }
            | Error::Status { .. }
            | Error::Finalizer { .. }
            | Error::TimedOut { .. } => {
                (reason::PROGRESSING_WITH_RETRY, Activity::Reconciling(reason::PROGRESSING_WITH_RETRY))
            }
        };
        self.summarise(&Verdict::no(why, message), &activity);
    }
}

/// Bytes of a transfer, rounded down so that not every look makes a write.
fn progress(progress: Progress) -> ProgressStatus {
    let step = if progress.bytes_total.is_some_and(|total| total < 100_000_000) { 100_000 } else { 1_000_000 };
    let done = match progress.bytes_total {
        Some(total) if progress.bytes_done >= total => total,
        _ => progress.bytes_done - progress.bytes_done % step,
    };
    ProgressStatus {
        bytes_done: i64::try_from(done).unwrap_or(i64::MAX),
        bytes_total: progress.bytes_total.and_then(|total| i64::try_from(total).ok()),
        summary: match progress.bytes_total {
            Some(total) => format!("{} of {}", readable(done), readable(total)),
            None => readable(done),
        },
    }
}

/// Bytes for people.
fn readable(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
