//! The finalizer: takes a Package's content out of its registry. Bounded, and at once where there is nothing to take it from.

use std::time::{Duration, Instant};

use crds::{Package, PackageRegistry, reason};
use jiff::Timestamp;
use kube::{Api, ResourceExt, runtime::controller::Action};
use std::sync::Arc;

use super::{
    dereference::dereference,
    error::{Error, InUseSnafu},
    in_use::{self, Guard},
    memory::Entry,
    reconcile::{PackageContext, write},
    status, upload, validate,
};
use crate::{
    error::{chain, key},
    event, server_client,
};

/// Longest time that a deletion waits for the server. What is left then goes by [`super::sweep`].
pub const LONGEST: Duration = Duration::from_mins(1);

/// One attempt; the finalizer goes when it succeeds.
///
/// # Errors
/// [`Error::Withdrawing`] when it must be tried again.
pub async fn withdraw(package: &Package, context: &PackageContext) -> Result<Action, Error> {
    let namespace = package.namespace().unwrap_or_default();
    let uid = package.uid().unwrap_or_default();
    // What is half gone can't stay for whoever begins to use it now.
    if !context.memory.get(&uid).has_begun() {
        mind_users(package, context).await?;
    }
    let withdrawal = context.memory.change(&uid, |entry| entry.withdraws(Instant::now()));
    // The time that it was held for its users is none that the server had.
    let overdue = if in_use::known_in_use(package) {
        withdrawal.since.elapsed() >= LONGEST
    } else {
        is_overdue(package, Timestamp::now())
    };
    match attempt(package, &namespace, context).await {
        Ok(true) => {}
        Ok(false) if !overdue => {
            context.memory.change(&uid, Entry::is_being_withdrawn);
            return Err(Error::Withdrawing);
        }
        Err(error) if !overdue => {
            tracing::info!(
                object.namespace = namespace,
                object.name = package.name_any(),
                "Package {}: its content can't be withdrawn yet: {}",
                package.name_any(),
                chain(&error)
            );
            return Err(Error::Withdrawing);
        }
        Ok(false) | Err(_) => {
            tracing::warn!(
                object.namespace = namespace,
                object.name = package.name_any(),
                "Package {}: its content was not withdrawn in time; what a source declared goes when the registry serves \
                 again, an upload gets an object again",
                package.name_any()
            );
        }
    }
    context.memory.forget(&uid);
    context.shared.backoff.reset(&key(package));
    Ok(Action::await_change())
}

/// Holds the deletion up while workloads use the package and the registry's rule says so.
async fn mind_users(package: &Package, context: &PackageContext) -> Result<(), Error> {
    let now = Timestamp::now();
    let shared = &context.shared;
    let found = dereference(package, shared);
    let guard = match in_use::guard(package, &found, is_overdue(package, now), context).await {
        Err(error) => {
            let words =
                format!("it is to be deleted and waits, since nobody knows whether it is in use: {}", chain(&error));
            let api: Api<Package> = Api::namespaced(shared.client.clone(), &package.namespace().unwrap_or_default());
            write(&api, package, status::unsure(package, &words, now), context).await?;
            return Err(error);
        }
        Ok(guard) => guard,
    };
    match guard {
        Guard::Go => Ok(()),
        Guard::Warn(users) => {
            if context.memory.change(&package.uid().unwrap_or_default(), Entry::warn) {
                let note = format!("it is deleted although its images are used by {}", status::words(&users));
                event::warn(shared, package, reason::IN_USE, &note, "Withdraw").await;
            }
            Ok(())
        }
        Guard::Hold(users) => {
            let api: Api<Package> = Api::namespaced(shared.client.clone(), &package.namespace().unwrap_or_default());
            let words = status::hold_words(&users);
            write(&api, package, status::held(package, &users, &words, now), context).await?;
            if context.memory.change(&package.uid().unwrap_or_default(), Entry::warn) {
                event::warn(shared, package, reason::IN_USE, &words, "Withdraw").await;
            }
            InUseSnafu { users: words }.fail()
        }
    }
}

/// True when nothing is left that could be withdrawn.
async fn attempt(package: &Package, namespace: &str, context: &PackageContext) -> Result<bool, Error> {
    let shared = &context.shared;
    let name = &package.spec.registry_ref.name;
    let registries: Api<PackageRegistry> = Api::namespaced(shared.client.clone(), namespace);
    let found = registries
        .get_opt(name)
        .await
        .map_err(|source| Error::Read { what: format!("PackageRegistry {name}"), source: Box::new(source) })?;
    let Some(registry) = found.filter(|registry| registry.metadata.deletion_timestamp.is_none()) else {
        return Ok(true);
    };
    if registry.status.as_ref().is_none_or(|status| status.url.is_none()) {
        return Ok(true); // It never served.
    }
    let registry = validate::serving(&Arc::new(registry))?;
    let server = match shared.servers.connect(&shared.client, &shared.tokens, &registry.object).await {
        Err(server_client::Error::Token { source }) if source.is_gone() => return Ok(true),
        other => other?,
    };
    if let Some(source) = &package.spec.source.upload {
        return upload::withdraw(package, source, &server, shared).await;
    }
    Ok(server.delete_declaration(&package.uid().unwrap_or_default()).await?.is_none())
}

/// Whether the deletion has waited long enough. Pure.
fn is_overdue(package: &Package, now: Timestamp) -> bool {
    package
        .metadata
        .deletion_timestamp
        .as_ref()
        .and_then(|time| Duration::try_from(now.duration_since(time.0)).ok())
        .is_some_and(|waited| waited >= LONGEST)
}
