//! The driver of a pass over one Package.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{Package, names};
use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        controller::Action,
        finalizer::{self, Event, finalizer},
    },
};
use snafu::ResultExt;

use super::{
    apply::{Answer, apply},
    dereference::{Dereferenced, dereference},
    error::{Error, StatusSnafu},
    in_use,
    memory::{Memory, Wish},
    status::{self, Observed},
    upload, validate,
    withdraw::withdraw,
};
use crate::{apply as objects, context::Context, error::key, event};

/// What the Package reconciler has at hand.
pub struct PackageContext {
    /// What all reconcilers have.
    pub shared: Arc<Context>,
    /// What is known of each Package between passes.
    pub memory: Memory,
}

impl PackageContext {
    /// A context that knows nothing yet.
    #[must_use]
    pub fn new(shared: Arc<Context>) -> Self {
        Self { shared, memory: Memory::default() }
    }
}

/// One pass, given up when it takes too long: the next one begins from what is.
///
/// # Errors
/// Why the Package isn't where it should be; its status says the same.
pub async fn reconcile(package: Arc<Package>, context: Arc<PackageContext>) -> Result<Action, Error> {
    let begin = Instant::now();
    let api: Api<Package> = Api::namespaced(context.shared.client.clone(), &package.namespace().unwrap_or_default());
    let (uid, key) = (package.uid().unwrap_or_default(), key(package.as_ref()));
    let pass = finalizer(&api, names::PACKAGE_FINALIZER, package, |event| async {
        match event {
            Event::Apply(package) => pass(&api, &package, &context).await,
            Event::Cleanup(package) => withdraw(&package, &context).await,
        }
    });
    let longest = context.shared.longest_pass;
    let result = tokio::time::timeout(longest, pass).await;
    context.shared.metrics.reconciled("Package", begin.elapsed());
    let result = result.map_err(|_| {
        context.memory.change(&uid, super::memory::Entry::doubt);
        Error::TimedOut { after: longest }
    })?;
    if result.is_ok() {
        context.shared.backoff.end_races(&key);
    }
    result.map_err(|error| match error {
        finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error) => error,
        finalizer::Error::AddFinalizer(source) | finalizer::Error::RemoveFinalizer(source) => {
            Error::Finalizer { source: Box::new(source) }
        }
        other => Error::Finalizer { source: other.to_string().into() },
    })
}

async fn pass(api: &Api<Package>, package: &Package, context: &PackageContext) -> Result<Action, Error> {
    let found = dereference(package, &context.shared);
    let result = if package.spec.suspend { Ok(None) } else { steps(package, &found, context).await.map(Some) };
    if result.is_err() {
        context.memory.change(&package.uid().unwrap_or_default(), super::memory::Entry::doubt);
    }
    let observed = match &result {
        Ok(None) => Observed::Suspended,
        Ok(Some(answer)) => Observed::Answer(answer),
        Err(error) => Observed::Error(error),
    };
    let authority = validate::registry(package, &found).map(|registry| registry.authority).unwrap_or_default();
    let now = Timestamp::now();
    let mut next = status::build(package, &observed, &authority, now);
    if let Some(users) = in_use::seen(package, &found, &context.shared).await {
        status::note_users(&mut next, &users, package.metadata.generation, now);
    }
    let unwritten = write(api, package, next, context).await?;
    match result? {
        None => Ok(Action::await_change()),
        // Progress that was held back is written with the next look.
        Some(answer) => Ok(Action::requeue(unwritten.map_or(answer.after, |wait| wait.min(answer.after)))),
    }
}

async fn steps(package: &Package, found: &Dereferenced, context: &PackageContext) -> Result<Answer, Error> {
    let registry = validate::registry(package, found)?;
    let wish = Wish {
        generation: package.metadata.generation,
        requested_at: package.annotations().get(names::REQUESTED_AT).cloned(),
    };
    let current = package.status.as_ref().is_some_and(|status| {
        status::declared_generation(package) == wish.generation && status.last_handled_reconcile_at == wish.requested_at
    });
    if let Some(source) = &package.spec.source.upload {
        return upload::look(package, source, &registry, found, &wish, current, context).await;
    }
    if let Err(error) = validate::precedence(package, found) {
        give_way(package, &registry, context).await?;
        return Err(error);
    }
    apply(package, &registry, found, &wish, current, context).await
}

/// Withdraws what `package` published, once.
async fn give_way(
    package: &Package,
    registry: &validate::ServingRegistry,
    context: &PackageContext,
) -> Result<(), Error> {
    let uid = package.uid().unwrap_or_default();
    if context.memory.get(&uid).has_given_way() {
        return Ok(());
    }
    let shared = &context.shared;
    let server = shared.servers.connect(&shared.client, &shared.tokens, &registry.object).await?;
    if server.delete_declaration(&uid).await?.is_some() {
        return Err(Error::Withdrawing);
    }
    context.memory.change(&uid, super::memory::Entry::gave_way);
    Ok(())
}

/// Writes the status when it changed; progress alone at most every [`status::PROGRESS_PERIOD`]. Returns how long a write was
/// put off.
pub(super) async fn write(
    api: &Api<Package>,
    package: &Package,
    next: crds::PackageStatus,
    context: &PackageContext,
) -> Result<Option<Duration>, Error> {
    let before = package.status.clone().unwrap_or_default();
    if before == next {
        return Ok(None);
    }
    let uid = package.uid().unwrap_or_default();
    let now = Instant::now();
    if status::only_progress_differs(&before, &next)
        && let Some(wait) = context
            .memory
            .get(&uid)
            .written()
            .and_then(|written| (written + status::PROGRESS_PERIOD).checked_duration_since(now))
            .filter(|wait| !wait.is_zero())
    {
        return Ok(Some(wait));
    }
    match objects::status(api, package, &next).await {
        Ok(_) => {}
        // Gone, or another object of that name: its own event comes.
        Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => return Ok(None),
        Err(error) => return Err(error).context(StatusSnafu),
    }
    context.memory.change(&uid, |entry| entry.wrote(now));
    log_transition(package, &before, &next);
    if let Some(transition) = event::for_transition(&before.conditions, &next.conditions, "Reconcile") {
        event::publish(&context.shared, package, &transition).await;
    }
    Ok(None)
}

fn log_transition(package: &Package, before: &crds::PackageStatus, next: &crds::PackageStatus) {
    let ready = |status: &crds::PackageStatus| {
        crate::condition::find(&status.conditions, crds::condition::READY)
            .map(|ready| (ready.status.clone(), ready.reason.clone(), ready.message.clone()))
    };
    if ready(before) != ready(next)
        && let Some((status, reason, message)) = ready(next)
    {
        tracing::info!(
            object.kind = %Package::kind(&()),
            object.namespace = package.namespace(),
            object.name = package.name_any(),
            reason,
            "Package {}: Ready={status}, {message}",
            package.name_any()
        );
    }
}
