//! What still uses a package, and whether that keeps its object.

use std::time::Duration;

use api::PackageInfo;
use crds::{Package, PackageRegistry, Removal, condition, names};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use snafu::ResultExt;
use url::Url;

use super::{
    dereference::Dereferenced,
    error::{Error, ReadSnafu},
    reconcile::PackageContext,
    status::MOST_IMAGES,
    validate,
};
use crate::{
    condition::is_true,
    context::Context,
    error::chain,
    server_client,
    trust::plan::granted_mirrors,
    workloads::{Served, Usage, WantedImage, usage},
};

/// Age of what the status is made from.
const SEEN: Duration = Duration::from_mins(2);
/// Age of what a deletion is decided by.
const FRESH: Duration = Duration::from_secs(3);
/// What is read, in errors.
const WORKLOADS: &str = "what uses the package's images";

/// Who uses a published package now; `None` where that can't be known, or there is nothing to use.
pub async fn seen(package: &Package, found: &Dereferenced, context: &Context) -> Option<Usage> {
    let registry = found.registry.as_ref()?;
    let asked = async {
        let images = images(package, found, registry, context).await?;
        if images.is_empty() {
            return Ok(Usage::default());
        }
        let survey = context.workloads.running(&context.client, SEEN).await.context(ReadSnafu { what: WORKLOADS })?;
        Ok::<_, Error>(usage(&images, &served(registry, context), &survey))
    };
    match asked.await {
        Ok(users) => Some(users),
        Err(error) => {
            tracing::debug!("who uses Package {} can't be known: {}", package.name_any(), chain(&error));
            None
        }
    }
}

/// What a deletion does about users.
#[derive(Debug)]
pub enum Guard {
    /// Nothing stands against it.
    Go,
    /// It goes on, and these lose their image.
    Warn(Usage),
    /// It waits for these.
    Hold(Usage),
}

/// Whether a deletion may go on. What can't be known doesn't hold it up for ever: `overdue` ends that.
///
/// # Errors
/// When the API server can't be asked, or the registry's where the status hasn't all images, and the deletion isn't overdue.
pub async fn guard(
    package: &Package,
    found: &Dereferenced,
    overdue: bool,
    context: &PackageContext,
) -> Result<Guard, Error> {
    let shared = &context.shared;
    let Some(registry) = found.registry.as_ref() else { return Ok(Guard::Go) };
    let listed = images_of(package, found, &[]);
    let has_none = listed.is_empty() && !is_cut(package);
    if has_none || registry.metadata.deletion_timestamp.is_some() || is_forced(package) {
        return Ok(Guard::Go);
    }
    let gives_up = overdue && !known_in_use(package);
    let asked = async {
        if is_leaving(package, shared).await.context(ReadSnafu { what: WORKLOADS })? {
            return Ok(Usage::default());
        }
        let images = match images(package, found, registry, shared).await {
            // Those that the status has are better than none.
            Err(error) if gives_up => {
                let name = package.name_any();
                tracing::warn!("Package {name}: not all of its images are known: {}", chain(&error));
                listed
            }
            other => other?,
        };
        let survey = shared.workloads.everything(&shared.client, FRESH).await.context(ReadSnafu { what: WORKLOADS })?;
        Ok(usage(&images, &served(registry, shared), &survey))
    };
    match asked.await {
        Ok(found) => Ok(decide(found, registry.spec.packages.removal)),
        // Its account is gone, and so is the registry.
        Err(Error::Server { source: server_client::Error::Token { source } }) if source.is_gone() => Ok(Guard::Go),
        // What was seen in use stays until somebody has seen that it isn't.
        Err(error) if gives_up => {
            tracing::warn!("Package {} goes, though nobody knows who uses it: {}", package.name_any(), chain(&error));
            Ok(Guard::Go)
        }
        Err(error) => Err(error),
    }
}

fn decide(found: Usage, removal: Removal) -> Guard {
    match removal {
        _ if found.count == 0 => Guard::Go,
        Removal::BlockIfInUse => Guard::Hold(found),
        Removal::WarnIfInUse => Guard::Warn(found),
    }
}

/// Whether somebody wants it gone whoever uses it.
fn is_forced(package: &Package) -> bool {
    package.annotations().get(names::FORCE_REMOVAL).is_some_and(|value| value == "true")
}

/// Whether the status says that workloads use it.
pub(super) fn known_in_use(package: &Package) -> bool {
    package.status.as_ref().is_some_and(|status| is_true(&status.conditions, condition::IN_USE))
}

/// Whether the whole namespace goes.
async fn is_leaving(package: &Package, context: &Context) -> Result<bool, kube::Error> {
    let api: Api<Namespace> = Api::all(context.client.clone());
    let found = api.get_opt(&package.namespace().unwrap_or_default()).await?;
    Ok(found.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}

/// Images that go with this package alone. The registry is asked only where a status hasn't all of them.
async fn images(
    package: &Package,
    found: &Dereferenced,
    registry: &PackageRegistry,
    context: &Context,
) -> Result<Vec<WantedImage>, Error> {
    let listed = images_of(package, found, &[]);
    let others_cut = found.siblings.iter().any(|other| is_cut(other));
    if !is_cut(package) && (listed.is_empty() || !others_cut) {
        return Ok(listed);
    }
    let asked = async {
        let server = context.servers.connect(&context.client, &context.tokens, registry).await?;
        server.packages().await
    };
    match asked.await {
        Ok(catalogue) => Ok(images_of(package, found, &catalogue.packages)),
        // What others have beyond their status could only have excused some of its images.
        Err(_) if !is_cut(package) => Ok(listed),
        Err(error) => Err(error.into()),
    }
}

/// Others that are to be deleted, too, keep nothing for it. Pure.
fn images_of(package: &Package, found: &Dereferenced, catalogue: &[PackageInfo]) -> Vec<WantedImage> {
    let own = wanted(package, catalogue);
    let stay = found.siblings.iter().filter(|other| other.metadata.deletion_timestamp.is_none());
    let others: Vec<WantedImage> = stay.flat_map(|other| wanted(other, catalogue)).collect();
    own.into_iter().filter(|image| !others.contains(image)).collect()
}

/// Whether the status of a published package may name only the first of its images.
fn is_cut(package: &Package) -> bool {
    package
        .status
        .as_ref()
        .is_some_and(|status| status.images.len() >= MOST_IMAGES && is_true(&status.conditions, condition::PUBLISHED))
}

/// The images of a published package: those of its status, and those that `catalogue` adds where that was cut.
fn wanted(package: &Package, catalogue: &[PackageInfo]) -> Vec<WantedImage> {
    let Some(status) = &package.status else { return Vec::new() };
    if !is_true(&status.conditions, condition::PUBLISHED) {
        return Vec::new();
    }
    let listed = status.images.iter().filter_map(|image| WantedImage::new(&image.reference, &image.digest));
    let entry = catalogue.iter().filter(|entry| {
        is_cut(package) && (Some(&entry.name), Some(&entry.version)) == (status.name.as_ref(), status.version.as_ref())
    });
    let more = entry.flat_map(|entry| &entry.images).skip(status.images.len());
    listed.chain(more.map(|image| WantedImage::served(&image.reference, &image.digest))).collect()
}

/// The names that a registry's images go by. What it may not mirror comes from where it always came.
fn served(registry: &PackageRegistry, context: &Context) -> Served {
    let all = context.registries.state();
    let mirrors = granted_mirrors(registry, all.iter().map(AsRef::as_ref), &context.settings);
    let status = registry.status.as_ref();
    let urls = status.map(|status| status.url.iter().chain(&status.urls)).into_iter().flatten();
    Served {
        hosts: urls.filter_map(|url| validate::authority(&Url::parse(url).ok()?)).collect(),
        mirrors: mirrors.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn package(uid: &str, published: &str, image: &str) -> Package {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: registry.dcos.io/v1alpha1, kind: Package, metadata: {{name: {uid}, namespace: apps, uid: {uid}}}, \
             spec: {{registryRef: {{name: main}}, source: {{}}}}, status: {{images: [{{name: a, reference: '{image}', digest: 'd'}}], \
             conditions: [{{type: Published, status: '{published}', reason: Succeeded, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}]}}}}"
        ))
        .unwrap()
    }

    fn found(siblings: Vec<Package>) -> Dereferenced {
        Dereferenced { registry: None, siblings: siblings.into_iter().map(Arc::new).collect() }
    }

    #[test]
    fn an_image_that_another_published_package_has_does_not_go_with_this_one() {
        let own = package("a", "True", "h/docker.io/library/redis:5@d");
        assert_eq!(images_of(&own, &found(vec![]), &[]).len(), 1);
        let same = package("b", "True", "h/docker.io/library/redis:5@d");
        assert!(images_of(&own, &found(vec![same]), &[]).is_empty());
        for other in [package("b", "False", "h/docker.io/library/redis:5@d"), package("b", "True", "h/quay.io/x:5@d")] {
            assert_eq!(images_of(&own, &found(vec![other]), &[]).len(), 1);
        }
    }

    #[test]
    fn packages_that_go_together_do_not_excuse_each_other() {
        let own = package("a", "True", "h/docker.io/library/redis:5@d");
        let mut other = package("b", "True", "h/docker.io/library/redis:5@d");
        other.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(images_of(&own, &found(vec![other]), &[]).len(), 1);
    }

    #[test]
    fn what_is_not_published_has_no_users() {
        assert!(images_of(&package("a", "False", "h/docker.io/library/redis:5@d"), &found(vec![]), &[]).is_empty());
    }

    #[test]
    fn the_annotation_forces_only_with_the_value_true() {
        let mut object = package("a", "True", "h/x/y:1@d");
        assert!(!is_forced(&object));
        for (value, forced) in [("true", true), ("false", false), ("", false)] {
            object.annotations_mut().insert(names::FORCE_REMOVAL.into(), value.into());
            assert_eq!(is_forced(&object), forced);
        }
    }

    #[test]
    fn the_registrys_rule_decides_what_users_mean() {
        let used = || Usage { count: 1, examples: vec!["Pod a/b".into()] };
        assert!(matches!(decide(used(), Removal::BlockIfInUse), Guard::Hold(_)));
        assert!(matches!(decide(used(), Removal::WarnIfInUse), Guard::Warn(_)));
        for removal in [Removal::BlockIfInUse, Removal::WarnIfInUse] {
            assert!(matches!(decide(Usage::default(), removal), Guard::Go));
        }
    }
}
