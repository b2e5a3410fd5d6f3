//! Election of the leader over a Lease: of several replicas, one acts.
//!
//! Every change of the Lease carries the resource version that it is based on, so two replicas can't both win. A candidate
//! takes a Lease over when it has not seen it change for its whole duration by its own clock; hosts' clocks are never
//! compared. A leader may write until [`RENEW_DEADLINE`] after the start of its last successful renewal, which ends before a
//! successor can begin; [`Leadership`] is asked before every write, and at that time ends both what is still being written and the
//! process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{context::FIELD_MANAGER, error::chain};

/// Name of the Lease.
pub const LEASE: &str = "package-registry-controller";
/// A Lease that nobody renewed for this long is free.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// A leader whose last renewal began longer ago writes nothing any more.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between renewals, and between looks of a candidate.
pub const PERIOD: Duration = Duration::from_secs(2);
/// A call that takes longer has failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
enum State {
    Alone,
    /// Not a candidate yet: what the process needs first isn't there.
    Preparing,
    Candidate {
        looked: Instant,
    },
    Leader {
        until: Instant,
    },
}

/// Whether this process leads, now; clones share the answer.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<watch::Sender<State>>);

impl Leadership {
    /// Leads always: there is no election.
    #[must_use]
    pub fn alone() -> Self {
        Self(Arc::new(watch::Sender::new(State::Alone)))
    }

    /// Leads only while elected; no candidate before [`Election::won`] is asked.
    #[must_use]
    pub fn elected() -> Self {
        Self(Arc::new(watch::Sender::new(State::Preparing)))
    }

    /// Whether this process may write.
    #[must_use]
    pub fn holds(&self) -> bool {
        match *self.0.borrow() {
            State::Alone => true,
            State::Preparing | State::Candidate { .. } => false,
            State::Leader { until } => Instant::now() < until,
        }
    }

    /// Whether the election goes on: a leader that overstays, or a candidate that stopped looking, is not healthy. Before it
    /// begins all is well, however long that takes: a new process would not find what this one waits for either.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.is_healthy_at(Instant::now())
    }

    fn is_healthy_at(&self, now: Instant) -> bool {
        match *self.0.borrow() {
            State::Alone | State::Preparing => true,
            State::Candidate { looked } => now.saturating_duration_since(looked) < LEASE_DURATION * 2,
            State::Leader { until } => now < until,
        }
    }

    /// Leads until then.
    pub fn extend(&self, until: Instant) {
        self.write(State::Leader { until });
    }

    /// Leads no longer.
    pub fn end(&self) {
        self.write(State::Candidate { looked: Instant::now() });
    }

    /// Returns as soon as this process may not write: at the time until which it leads, unless that is put off before.
    pub async fn ended(&self) {
        let mut states = self.0.subscribe();
        loop {
            let until = match *states.borrow_and_update() {
                State::Alone => None,
                State::Preparing | State::Candidate { .. } => return,
                State::Leader { until } => Some(until),
            };
            if until.is_some_and(|until| until <= Instant::now()) {
                return;
            }
            let timer = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = states.changed() => {}
                () = timer => {}
            }
        }
    }

    fn write(&self, state: State) {
        self.0.send_replace(state);
    }
}

/// A Lease as a candidate last saw it change.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    version: Option<String>,
    at: Instant,
}

/// What a candidate or leader does with the Lease that it sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Create,
    Take,
    Renew,
    Wait,
}

/// Pure: `unchanged` is for how long the Lease has not changed by our clock.
fn decide(lease: Option<&Lease>, me: &str, unchanged: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let spec = lease.spec.clone().unwrap_or_default();
    match spec.holder_identity.as_deref() {
        None | Some("") => Step::Take,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => {
            let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let duration = seconds.map_or(LEASE_DURATION, Duration::from_secs);
            if unchanged > duration { Step::Take } else { Step::Wait }
        }
    }
}

/// The Lease after `step`. Pure.
fn after(step: Step, lease: Option<Lease>, me: &str, now: Timestamp) -> Lease {
    let mut lease = lease.unwrap_or_default();
    lease.metadata.name = Some(LEASE.to_owned());
    lease.metadata.managed_fields = None;
    let old = lease.spec.take().unwrap_or_default();
    let renewed = step == Step::Renew;
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        renew_time: Some(MicroTime(now)),
        acquire_time: if renewed { old.acquire_time } else { Some(MicroTime(now)) },
        lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!renewed)),
        ..old
    });
    lease
}

/// One replica's part in the election.
pub struct Election {
    api: Api<Lease>,
    identity: String,
    leadership: Leadership,
    seen: Option<Seen>,
    held: Option<Lease>,
}

impl Election {
    /// A candidate; `client` must not be fenced by the same leadership.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: String, leadership: Leadership) -> Self {
        Self { api: Api::namespaced(client, namespace), identity, leadership, seen: None, held: None }
    }

    /// Returns once this replica leads, or false when `shutdown` came first.
    pub async fn won(&mut self, shutdown: &CancellationToken) -> bool {
        self.leadership.end();
        loop {
            match self.attempt().await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => tracing::warn!("the Lease {LEASE} can't be read or written: {}", chain(&error)),
            }
            if !self.leadership.holds() {
                self.leadership.end();
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Renews until the leadership is lost (returns false) or `shutdown` comes (returns true). It is lost at the very time until
    /// which it was ours, whatever a renewal under way may still wait for.
    pub async fn keep(&mut self, shutdown: &CancellationToken) -> bool {
        let leadership = self.leadership.clone();
        let kept = tokio::select! {
            () = leadership.ended() => {
                tracing::warn!("the Lease {LEASE} was not renewed in time");
                false
            }
            kept = self.renew(shutdown) => kept,
        };
        if !kept {
            leadership.end();
        }
        kept
    }

    async fn renew(&mut self, shutdown: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return true,
                () = tokio::time::sleep(PERIOD) => {}
            }
            match self.attempt().await {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => tracing::warn!("the Lease {LEASE} could not be renewed: {}", chain(&error)),
            }
        }
    }

    /// Frees the Lease, so that a successor need not wait.
    pub async fn release(&mut self) {
        self.leadership.end();
        let Some(mut lease) = self.held.take() else { return };
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            spec.lease_duration_seconds = Some(1);
        }
        let parameters = parameters();
        let call = self.api.replace(LEASE, &parameters, &lease);
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(_)) => tracing::info!("the Lease {LEASE} is free"),
            Ok(Err(error)) => tracing::warn!("the Lease {LEASE} could not be freed: {}", chain(&error)),
            Err(_) => tracing::warn!("the Lease {LEASE} could not be freed in time"),
        }
    }

    /// One look, and one write where it is our turn. True: we lead.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        match tokio::time::timeout(CALL_TIMEOUT, self.attempt_once()).await {
            Ok(result) => result,
            Err(_) => Err(kube::Error::Service("no answer in time".into())),
        }
    }

    async fn attempt_once(&mut self) -> Result<bool, kube::Error> {
        let begin = Instant::now();
        let lease = self.api.get_opt(LEASE).await?;
        let version = lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        let seen = match self.seen.take() {
            Some(seen) if seen.version == version => seen,
            _ => Seen { version, at: Instant::now() },
        };
        let unchanged = seen.at.elapsed();
        self.seen = Some(seen);
        let step = decide(lease.as_ref(), &self.identity, unchanged);
        let wanted = || after(step, lease.clone(), &self.identity, Timestamp::now());
        let written = match step {
            Step::Wait => return Ok(false),
            Step::Create => self.api.create(&parameters(), &wanted()).await,
            Step::Take | Step::Renew => self.api.replace(LEASE, &parameters(), &wanted()).await,
        };
        match written {
            Ok(lease) => {
                self.held = Some(lease);
                self.leadership.extend(begin + RENEW_DEADLINE);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                // Somebody else wrote: the next look says who. A leader keeps what it has until its deadline.
                Ok(self.leadership.holds())
            }
            Err(error) => Err(error),
        }
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(15),
                lease_transitions: Some(3),
                acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn a_free_lease_is_taken_and_our_own_is_renewed() {
        assert_eq!(decide(None, "me", Duration::ZERO), Step::Create);
        assert_eq!(decide(Some(&lease(None)), "me", Duration::ZERO), Step::Take);
        assert_eq!(decide(Some(&lease(Some("me"))), "me", Duration::ZERO), Step::Renew);
    }

    #[test]
    fn anothers_lease_is_taken_only_after_its_whole_duration_without_change() {
        let other = lease(Some("you"));
        assert_eq!(decide(Some(&other), "me", Duration::from_secs(15)), Step::Wait);
        assert_eq!(decide(Some(&other), "me", Duration::from_secs(16)), Step::Take);
    }

    #[test]
    fn transitions_count_changes_of_the_holder_alone() {
        let now = Timestamp::from_second(100).unwrap();
        let renewed = after(Step::Renew, Some(lease(Some("me"))), "me", now).spec.unwrap();
        assert_eq!(renewed.lease_transitions, Some(3));
        assert_eq!(renewed.acquire_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
        let taken = after(Step::Take, Some(lease(Some("you"))), "me", now).spec.unwrap();
        assert_eq!((taken.lease_transitions, taken.holder_identity.as_deref()), (Some(4), Some("me")));
    }

    #[tokio::test]
    async fn only_an_election_that_has_begun_can_stand_still() {
        let leadership = Leadership::elected();
        let later = Instant::now() + Duration::from_hours(1);
        assert!(leadership.is_healthy_at(later), "definitions that aren't there are waited for as long as it takes");
        assert!(!leadership.holds());
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let client = Client::new(tower::service_fn(|_: http::Request<kube::client::Body>| nobody()), "ops");
        let mut election = Election::new(client, "ops", "me".into(), leadership.clone());
        assert!(!election.won(&shutdown).await);
        assert!(leadership.is_healthy() && !leadership.is_healthy_at(later), "a candidate looks");
    }

    #[tokio::test]
    async fn a_leader_leaves_at_the_end_of_its_lease_though_its_renewal_gets_no_answer() {
        let leadership = Leadership::elected();
        let silence = |_: http::Request<kube::client::Body>| std::future::pending::<Answer>();
        let client = Client::new(tower::service_fn(silence), "ops");
        let mut election = Election::new(client, "ops", "me".into(), leadership.clone());
        let begin = Instant::now();
        // Once within the pause, once within a call.
        for lease in [Duration::from_millis(200), PERIOD + Duration::from_millis(200)] {
            leadership.extend(Instant::now() + lease);
            assert!(!election.keep(&CancellationToken::new()).await);
            assert!(!leadership.holds());
        }
        assert!(begin.elapsed() < PERIOD + Duration::from_secs(1), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn a_renewal_puts_the_end_off_and_giving_up_brings_it_on() {
        let (leadership, begin) = (Leadership::elected(), Instant::now());
        leadership.extend(begin + Duration::from_millis(100));
        let renewed = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            leadership.extend(begin + Duration::from_mins(1));
            tokio::time::sleep(Duration::from_millis(180)).await;
            leadership.end();
        };
        tokio::join!(leadership.ended(), renewed);
        assert!(begin.elapsed() >= Duration::from_millis(200));
        assert!(begin.elapsed() < Duration::from_secs(10));
        leadership.ended().await;
        let alone = Leadership::alone();
        let alone = tokio::time::timeout(Duration::from_millis(20), alone.ended()).await;
        assert!(alone.is_err(), "without an election nothing ends");
    }

    type Answer = Result<http::Response<kube::client::Body>, std::io::Error>;

    fn nobody() -> std::future::Ready<Answer> {
        std::future::ready(Err(std::io::ErrorKind::ConnectionRefused.into()))
    }

    #[test]
    fn a_leader_stops_before_a_successor_can_begin() {
        assert!(RENEW_DEADLINE + CALL_TIMEOUT <= LEASE_DURATION);
        let leadership = Leadership::elected();
        leadership.extend(Instant::now());
        assert!(!leadership.holds() && !leadership.is_healthy());
    }
}
