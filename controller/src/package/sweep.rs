//! Content whose Package object is gone: a deletion that could not wait for the server left it behind.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{Package, PackageRegistry};
use kube::{Api, ResourceExt, api::ListParams};
use snafu::ResultExt;
use tokio_util::sync::CancellationToken;

use super::{
    error::{Error, ReadSnafu},
    validate::{self, ServingRegistry},
};
use crate::{context::Context, error::chain};

/// Time between looks for registries that serve again.
const PERIOD: Duration = Duration::from_secs(10);
/// Time between sweeps of a registry that served all along.
const AGAIN: Duration = Duration::from_mins(10);

/// Sweeps every registry when it begins to serve, and every [`AGAIN`] from then on, until `shutdown`.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut swept: HashMap<String, (String, Instant)> = HashMap::new();
    loop {
        for registry in context.registries.state() {
            let Some((key, registry)) = due(&registry, &swept) else { continue };
            match sweep(&registry, &context).await {
                Ok(_) => {
                    swept.insert(key, (registry.marker, Instant::now()));
                }
                Err(error) => tracing::debug!("registry {key} could not be swept: {}", chain(&error)),
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

fn due(
    registry: &Arc<PackageRegistry>,
    swept: &HashMap<String, (String, Instant)>,
) -> Option<(String, ServingRegistry)> {
    if registry.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let serving = validate::serving(registry).ok()?;
    let key = format!("{}/{}", registry.namespace().unwrap_or_default(), registry.name_any());
    let done = swept.get(&key).is_some_and(|(marker, at)| *marker == serving.marker && at.elapsed() < AGAIN);
    (!done).then_some((key, serving))
}

/// Withdraws every declaration of `registry` that no Package object stands behind; returns their ids.
///
/// The catalogue is read first, then the objects, live: an object exists before its declaration does, so none is overlooked.
///
/// # Errors
/// When the server or the API server can't be asked.
pub async fn sweep(registry: &ServingRegistry, context: &Context) -> Result<Vec<String>, Error> {
    let server = context.servers.connect(&context.client, &context.tokens, &registry.object).await?;
    let declared: BTreeSet<String> = server
        .packages()
        .await?
        .packages
        .iter()
        .filter_map(|package| package.managed_by.clone())
        .filter(|id| uuid::Uuid::try_parse(id).is_ok())
        .collect();
    if declared.is_empty() {
        return Ok(Vec::new());
    }
    let namespace = registry.object.namespace().unwrap_or_default();
    let api: Api<Package> = Api::namespaced(context.client.clone(), &namespace);
    let objects = api.list(&ListParams::default()).await.context(ReadSnafu { what: "the list of Packages" })?;
    let leftovers = leftovers(declared, &objects.items, &registry.object.name_any());
    for id in &leftovers {
        tracing::info!(
            registry.namespace = namespace,
            registry.name = registry.object.name_any(),
            declaration = id,
            "content of a Package that is gone is withdrawn"
        );
        server.delete_declaration(id).await?;
    }
    Ok(leftovers)
}

/// Ids behind which no object of `registry` stands. Pure.
fn leftovers(declared: BTreeSet<String>, objects: &[Package], registry: &str) -> Vec<String> {
    let alive: BTreeSet<String> = objects
        .iter()
        .filter(|object| object.spec.registry_ref.name == registry)
        .filter_map(ResourceExt::uid)
        .collect();
    declared.into_iter().filter(|id| !alive.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_object_of_that_registry_stands_behind_is_left_over() {
        let object = |uid: &str, registry: &str| -> Package {
            serde_saphyr::from_str(&format!(
                "{{apiVersion: registry.dcos.io/v1alpha1, kind: Package, metadata: {{name: a, uid: {uid}}}, spec: {{registryRef: {{name: {registry}}}, source: {{}}}}}}"
            ))
            .unwrap()
        };
        let declared = ["u1", "u2", "u3"].map(str::to_owned).into();
        assert_eq!(leftovers(declared, &[object("u1", "main"), object("u2", "other")], "main"), ["u2", "u3"]);
    }
}
