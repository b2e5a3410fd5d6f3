//! What becomes of content whose Package object is gone. Pure.

use std::collections::{BTreeSet, HashSet};

use api::PackageInfo;
use crds::{Package, condition, reason};
use kube::ResourceExt;

use super::build::declared_by;
use crate::condition::{find, is_true};

/// Content of a declaration that no object stands behind.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Leftover {
    /// Id of the declaration: the uid that its object had.
    pub id: String,
    /// `<namespace>/<name>` that its object had.
    pub by: String,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// An object of that name was made anew and hasn't got its own content yet: a volume or a cluster was restored, and the
    /// source may not be there any more. It serves until that object has its own.
    Kept,
    /// It goes when it was left over for a while: who restores a cluster may bring the registry back before the packages.
    Later,
    /// It goes: the object of that name has other content, or could have it but for this one.
    Now,
}

/// What of `catalogue` no object of `registry` stands behind.
#[must_use]
pub fn leftovers(catalogue: &[PackageInfo], objects: &[Package], registry: &str) -> Vec<Leftover> {
    let declared = catalogue.iter().filter_map(|package| {
        let id = package.managed_by.clone().filter(|id| uuid::Uuid::try_parse(id).is_ok())?;
        Some(Leftover { id, by: package.declared_by.clone().unwrap_or_default() })
    });
    let alive: HashSet<String> = of(objects, registry).filter_map(ResourceExt::uid).collect();
    let found: BTreeSet<Leftover> = declared.filter(|leftover| !alive.contains(&leftover.id)).collect();
    found.into_iter().collect()
}

/// What becomes of one.
#[must_use]
pub fn fate(leftover: &Leftover, objects: &[Package], registry: &str) -> Fate {
    let is_heir =
        |object: &&Package| object.metadata.deletion_timestamp.is_none() && declared_by(object) == leftover.by;
    let Some(heir) = of(objects, registry).find(is_heir) else { return Fate::Later };
    let conditions = heir.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let published = find(conditions, condition::PUBLISHED);
    let kept_out = published.is_some_and(|published| published.reason == reason::ALREADY_DECLARED);
    if kept_out || is_true(conditions, condition::PUBLISHED) { Fate::Now } else { Fate::Kept }
}

fn of<'a>(objects: &'a [Package], registry: &str) -> impl Iterator<Item = &'a Package> {
    objects.iter().filter(move |object| object.spec.registry_ref.name == registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 2] = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"];

    fn object(name: &str, uid: &str, registry: &str, published: Option<(&str, &str)>) -> Package {
        let conditions = published.map_or_else(String::new, |(status, reason)| {
            format!(
                "{{type: Published, status: '{status}', reason: {reason}, message: '', lastTransitionTime: \
                 '2026-01-01T00:00:00Z'}}"
            )
        });
        serde_saphyr::from_str(&format!(
            "{{apiVersion: registry.dcos.io/v1alpha1, kind: Package, metadata: {{name: {name}, namespace: apps, uid: {uid}}}, \
             spec: {{registryRef: {{name: {registry}}}, source: {{}}}}, status: {{conditions: [{conditions}]}}}}"
        ))
        .unwrap()
    }

    fn declared(id: &str, by: &str) -> PackageInfo {
        let text = format!("{{name: a, version: '1', status: Added, managedBy: {id}, declaredBy: {by}}}");
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn only_what_no_object_of_that_registry_stands_behind_is_left_over() {
        let catalogue = [declared(IDS[0], "apps/a"), declared(IDS[1], "apps/b"), declared("by-hand", "apps/c")];
        let objects = [object("a", IDS[0], "main", None), object("b", IDS[1], "other", None)];
        assert_eq!(leftovers(&catalogue, &objects, "main"), [Leftover { id: IDS[1].into(), by: "apps/b".into() }]);
    }

    #[test]
    fn what_an_object_of_before_had_stays_until_the_new_one_of_its_name_has_its_own() {
        let leftover = Leftover { id: IDS[0].into(), by: "apps/a".into() };
        let fate = |published| fate(&leftover, &[object("a", IDS[1], "main", published)], "main");
        assert_eq!(fate(None), Fate::Kept);
        assert_eq!(fate(Some(("False", "Progressing"))), Fate::Kept);
        assert_eq!(fate(Some(("False", "FetchFailed"))), Fate::Kept);
        assert_eq!(fate(Some(("False", "AlreadyDeclared"))), Fate::Now);
        assert_eq!(fate(Some(("True", "Succeeded"))), Fate::Now);
    }

    #[test]
    fn what_no_object_has_the_name_of_goes_later() {
        let leftover = Leftover { id: IDS[0].into(), by: "apps/a".into() };
        assert_eq!(fate(&leftover, &[], "main"), Fate::Later);
        assert_eq!(fate(&leftover, &[object("a", IDS[1], "other", None)], "main"), Fate::Later);
        assert_eq!(fate(&leftover, &[object("b", IDS[1], "main", None)], "main"), Fate::Later);
    }
}
