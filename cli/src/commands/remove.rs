//! `remove`: a package leaves the registry.

use std::time::{Duration, Instant};

use api::{PackageInfo, State};
use clap::Args;
use crds::Package;
use crds::condition::IN_USE;
use crds::names::FORCE_REMOVAL;
use kube::ResourceExt;
use kube::api::{Api as Objects, Patch, PatchParams};
use reqwest::StatusCode;
use serde_json::json;

use crate::connection::{Connection, Target};
use crate::coordinate::Coordinate;
use crate::failure::Failure;
use crate::http::{PATIENT_ATTEMPTS, polling, repeat};
use crate::output::{Json, Output, warning};
use crate::runtime::runtime;

/// How long the operator has to say what becomes of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Arguments of `remove`.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    package: Coordinate,
    /// Remove it although something still uses it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    json: Json,
}

/// Asks for the removal and waits until the package is gone, or somebody says why it stays.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let connection = arguments.target.connect().await?;
        if arguments.force && connection.cluster.is_none() {
            let message = "--force marks the Package object; name the cluster (--kubeconfig, --context), not --url";
            return Err(Failure::usage(format!("error: {message}")));
        }
        let Coordinate { name, version } = &arguments.package;
        let found = connection.api.package(name, version).await?;
        arguments.package.known(found)?;
        let object = object(&connection, &arguments.package).await?;
        if let Some(object) = &object {
            if let Some(users) = users(object) {
                warning(&format!("package {name} {version} is still used by {users}"));
            }
            if arguments.force {
                force(&connection, object).await?;
            }
        }
        let asked = match connection.api.remove(name, version).await {
            Err(error) if error.status() == Some(StatusCode::CONFLICT) => {
                return Err(kept(&error.to_string(), object.as_ref()));
            }
            answer => arguments.package.known(answer?)?,
        };
        let left = gone(&connection, &arguments.package, object.as_ref(), asked).await?;
        let text = match left.status {
            State::Removing if left.removal_requested => format!("Package {name} {version} is being removed\n"),
            _ => format!("Removed package {name} {version}\n"),
        };
        Ok(Output::from(arguments.json).result(text, &left)?)
    })
}

/// The Package object of a package, where the registry is in a cluster.
async fn object(connection: &Connection, package: &Coordinate) -> Result<Option<Package>, Failure> {
    let Some((cluster, registry)) = &connection.cluster else { return Ok(None) };
    let is_it = |object: &Package| {
        let status = object.status.as_ref();
        let said = |text: Option<&String>, wanted: &str| text.is_some_and(|text| text == wanted);
        status.is_some_and(|status| {
            said(status.name.as_ref(), &package.name) && said(status.version.as_ref(), &package.version)
        })
    };
    Ok(cluster.packages(registry).await?.into_iter().find(is_it))
}

/// The objects among which it is.
fn objects(connection: &Connection) -> Option<Objects<Package>> {
    let (cluster, registry) = connection.cluster.as_ref()?;
    Some(Objects::namespaced(cluster.client.clone(), &registry.namespace))
}

async fn force(connection: &Connection, object: &Package) -> Result<(), Failure> {
    let Some(objects) = objects(connection) else { return Ok(()) };
    let patch = json!({"metadata": {"annotations": {FORCE_REMOVAL: "true"}}});
    objects.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Waits until the package is gone; an error when the operator says that something still uses it.
async fn gone(
    connection: &Connection,
    package: &Coordinate,
    found: Option<&Package>,
    asked: PackageInfo,
) -> Result<PackageInfo, Failure> {
    let mut known = found.map(ResourceExt::name_any);
    let (started, mut left) = (Instant::now(), asked);
    for pause in polling() {
        match connection.api.awaited(&package.name, &package.version).await? {
            None => return Ok(PackageInfo { status: State::Removing, removal_requested: false, ..left }),
            Some(there) => left = there,
        }
        let object = match (&known, objects(connection)) {
            (Some(name), Some(objects)) => repeat(PATIENT_ATTEMPTS, async || objects.get_opt(name).await).await?,
            // That of a new upload is still to come.
            _ => object(connection, package).await?,
        };
        known = known.or_else(|| object.as_ref().map(ResourceExt::name_any));
        if let Some(reason) = object.as_ref().and_then(blocked) {
            return Err(Failure::Failed {
                message: format!(
                    "package {} {} stays: {reason}; --force removes it anyway",
                    package.name, package.version
                ),
            });
        }
        if started.elapsed() >= PATIENCE {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    Ok(PackageInfo { status: State::Removing, removal_requested: true, ..left })
}

/// Why the operator keeps a package whose object is going: what it said since then.
fn blocked(object: &Package) -> Option<String> {
    object.metadata.deletion_timestamp.as_ref()?;
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let mut held = conditions.filter(|it| it.type_ == IN_USE && it.status == "True");
    held.find(|it| it.observed_generation == object.metadata.generation).map(|condition| condition.message.clone())
}

/// What still uses a package, by its object.
fn users(object: &Package) -> Option<String> {
    let workloads = object.status.as_ref()?.workloads.as_ref().filter(|workloads| workloads.count > 0)?;
    let examples = workloads.examples.join(", ");
    Some(format!("{} workloads: {examples}", workloads.count))
}

/// A package that an object with another source declares.
fn kept(said: &str, object: Option<&Package>) -> Failure {
    let message = match object {
        Some(object) => format!("{said}; `kubectl delete package {}` removes it", object.name_any()),
        None => said.to_owned(),
    };
    Failure::Failed { message }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn package(in_use: &str, generation: i64, deleted: bool) -> Package {
        let condition = json!({"type": "InUse", "status": in_use, "reason": "InUse", "message": "used by Pod apps/web-1",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation});
        let deletion = if deleted { json!("2026-01-01T00:00:00Z") } else { Value::Null };
        let object = json!({
            "apiVersion": "registry.dcos.io/v1alpha1", "kind": "Package",
            "metadata": {"name": "redis-1", "generation": 2, "deletionTimestamp": deletion},
            "spec": {"registryRef": {"name": "dcos-registry"}, "source": {}},
            "status": {"conditions": [condition], "workloads": {"count": 7, "examples": ["Pod apps/web-1", "Pod apps/web-2"]}},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_uses_a_package_is_counted_and_named() {
        assert_eq!(users(&package("True", 1, false)).unwrap(), "7 workloads: Pod apps/web-1, Pod apps/web-2");
    }

    #[test]
    fn a_package_is_held_only_when_the_operator_said_so_after_its_deletion() {
        assert_eq!(blocked(&package("True", 2, true)).unwrap(), "used by Pod apps/web-1");
        for object in [package("True", 1, true), package("False", 2, true), package("True", 2, false)] {
            assert_eq!(blocked(&object), None);
        }
    }
}
