//! Content whose Package object is gone: a deletion that could not wait for the server left it behind.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{Package, PackageRegistry};
use kube::{Api, ResourceExt, api::ListParams};
use snafu::ResultExt;
use tokio_util::sync::CancellationToken;

use super::{
    error::{Error, ReadSnafu},
    leftover::{Fate, Leftover, fate, leftovers},
    validate::{self, ServingRegistry},
};
use crate::{context::Context, error::chain};

/// Time between looks for registries that are due.
const PERIOD: Duration = Duration::from_secs(10);
/// Time between sweeps of a registry.
const AGAIN: Duration = Duration::from_mins(1);
/// How long content stays whose object is gone, and with it every other one of its name.
pub const PATIENCE: Duration = Duration::from_mins(10);

/// What is known of a registry's leftovers.
#[derive(Debug, Default)]
pub struct Seen {
    /// The registry as it was; another one's begin anew.
    marker: String,
    swept: Option<Instant>,
    /// Since when each is left over, by id.
    since: HashMap<String, Instant>,
}

impl Seen {
    fn is_due(&self, marker: &str) -> bool {
        self.marker != marker || self.swept.is_none_or(|at| at.elapsed() >= AGAIN)
    }

    /// Notes what is left over now; who isn't any more is forgotten. How long each has been is the answer.
    fn ages(&mut self, found: &[Leftover], now: Instant) -> Vec<Duration> {
        self.since.retain(|id, _| found.iter().any(|leftover| leftover.id == *id));
        found.iter().map(|leftover| now - *self.since.entry(leftover.id.clone()).or_insert(now)).collect()
    }
}

/// Sweeps every registry when it begins to serve, and every [`AGAIN`] from then on, until `shutdown`.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = sweep_for_ever(&context) => {}
    }
}

async fn sweep_for_ever(context: &Context) {
    let mut all: HashMap<String, Seen> = HashMap::new();
    loop {
        let registries = context.registries.state();
        all.retain(|key, _| registries.iter().any(|registry| name(registry) == *key));
        for registry in &registries {
            if registry.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let Ok(serving) = validate::serving(registry) else { continue };
            let key = name(registry);
            let seen = all.entry(key.clone()).or_default();
            if !seen.is_due(&serving.marker) {
                continue;
            }
            match sweep(&serving, context, seen, Instant::now()).await {
                Ok(_) => seen.swept = Some(Instant::now()),
                Err(error) => tracing::debug!("registry {key} could not be swept: {}", chain(&error)),
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn name(registry: &PackageRegistry) -> String {
    format!("{}/{}", registry.namespace().unwrap_or_default(), registry.name_any())
}

/// Withdraws the declarations of `registry` that no Package object stands behind and that aren't kept for one; returns their
/// ids.
///
/// The catalogue is read first, then the objects, live: an object exists before its declaration does, so none is overlooked.
///
/// # Errors
/// When the server or the API server can't be asked.
pub async fn sweep(
    registry: &ServingRegistry,
    context: &Context,
    seen: &mut Seen,
    now: Instant,
) -> Result<Vec<String>, Error> {
    if seen.marker != registry.marker {
        *seen = Seen { marker: registry.marker.clone(), ..Seen::default() };
    }
    let server = context.servers.connect(&context.client, &context.tokens, &registry.object).await?;
    let catalogue = server.packages().await?;
    if catalogue.packages.iter().all(|package| package.managed_by.is_none()) {
        seen.since.clear();
        return Ok(Vec::new());
    }
    let namespace = registry.object.namespace().unwrap_or_default();
    let name = registry.object.name_any();
    let api: Api<Package> = Api::namespaced(context.client.clone(), &namespace);
    let objects = api.list(&ListParams::default()).await.context(ReadSnafu { what: "the list of Packages" })?.items;
    let found = leftovers(&catalogue.packages, &objects, &name);
    let ages = seen.ages(&found, now);
    let mut withdrawn = Vec::new();
    for (leftover, age) in found.iter().zip(ages) {
        let goes = match fate(leftover, &objects, &name) {
            Fate::Now => true,
            Fate::Later => age >= PATIENCE,
            Fate::Kept => false,
        };
        if !goes {
            continue;
        }
        let Leftover { id, by } = leftover;
        tracing::info!(
            registry.namespace = namespace,
            registry.name = name,
            declaration = id,
            "content of Package {by}, which is gone, is withdrawn"
        );
        server.delete_declaration(id).await?;
        withdrawn.push(id.clone());
    }
    Ok(withdrawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_left_over_any_more_begins_anew() {
        let mut seen = Seen::default();
        let leftover = Leftover { id: "a".into(), by: "apps/a".into() };
        let begun = Instant::now();
        assert_eq!(seen.ages(std::slice::from_ref(&leftover), begun), [Duration::ZERO]);
        assert_eq!(seen.ages(std::slice::from_ref(&leftover), begun + PATIENCE), [PATIENCE]);
        assert!(seen.ages(&[], begun + PATIENCE).is_empty());
        assert_eq!(seen.ages(&[leftover], begun + PATIENCE), [Duration::ZERO]);
    }
}
