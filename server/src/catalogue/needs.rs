//! What the packages need of the store, and what becomes of the rest. Pure.

use std::collections::{HashMap, HashSet};

use super::entry::{Roots, TagTarget};
use crate::storage::keys::{self, Key, Place};

/// What must be in the store for a set of packages.
#[derive(Debug, Default)]
pub struct Needs {
    /// Entries of packages that a later publication of the same declaration replaced.
    pub superseded: Vec<Key>,
    places: HashSet<Place>,
    tags: HashMap<Key, (u64, TagTarget)>,
}

/// What is to be done with something that is in the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Needed, or not known.
    Keep,
    /// Nobody needs it.
    Remove,
    /// A tag that must point here.
    PointAt(TagTarget),
}

impl Needs {
    /// Marks everything that the packages need.
    ///
    /// A declaration keeps its latest publication alone. A tag belongs to the latest publication that has it.
    #[must_use]
    pub fn of(packages: Vec<Roots>) -> Self {
        let mut latest: HashMap<String, u64> = HashMap::new();
        for roots in &packages {
            let order = latest.entry(roots.declaration.id.clone()).or_default();
            *order = roots.order.max(*order);
        }
        let mut needs = Self::default();
        for roots in packages {
            if latest.get(&roots.declaration.id) == Some(&roots.order) {
                needs.mark(roots);
            } else {
                needs.superseded.push(roots.entry);
            }
        }
        needs
    }

    fn mark(&mut self, roots: Roots) {
        self.places.extend(roots.manifests.into_iter().map(|(place, _)| place));
        self.places.extend(roots.blob_links);
        self.places.extend(roots.blobs.into_iter().map(Place::Blob));
        for (repository, tag, target) in roots.tags {
            let key = keys::tag(&repository, &tag);
            let newer = self.tags.get(&key).is_none_or(|(order, _)| *order <= roots.order);
            if newer {
                self.tags.insert(key, (roots.order, target));
            }
        }
    }

    /// Tags that must be there and that `seen` says were not found, with what they point at.
    pub fn missing_tags<'a>(&'a self, seen: &'a HashSet<Key>) -> impl Iterator<Item = (&'a Key, &'a TagTarget)> {
        let missing = self.tags.iter().filter(|(key, _)| !seen.contains(*key));
        missing.map(|(key, (_, target))| (key, target))
    }

    /// What becomes of a place that was found in the store.
    #[must_use]
    pub fn verdict(&self, place: &Place) -> Verdict {
        match place {
            // Entries are the roots themselves.
            Place::Entry(..) => Verdict::Keep,
            Place::Tag(repository, tag) => match self.tags.get(&keys::tag(repository, tag)) {
                Some((_, target)) => Verdict::PointAt(target.clone()),
                None => Verdict::Remove,
            },
            Place::Blob(_) | Place::ManifestLink(..) | Place::BlobLink(..) => {
                if self.places.contains(place) {
                    Verdict::Keep
                } else {
                    Verdict::Remove
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Declared, Link};
    use super::*;
    use crate::digest::Digest;
    use crate::names::{Repository, Tag};

    fn target(content: &str) -> TagTarget {
        TagTarget { digest: digest(content).to_string(), media_type: "m".into(), size: 1 }
    }

    fn digest(content: &str) -> Digest {
        Digest::sha256(content.as_bytes())
    }

    fn repository() -> Repository {
        "docker.io/library/redis".parse().unwrap()
    }

    fn tag() -> Tag {
        "5".parse().unwrap()
    }

    fn package(id: &str, release_version: u64, order: u64, content: &str) -> Roots {
        let code = "pmrg4".parse().unwrap();
        let link = Place::ManifestLink(repository(), digest(content));
        Roots {
            entry: keys::entry(&code, release_version),
            release_version,
            declaration: Declared { id: id.into(), source: "s".into(), by: "a/b".into() },
            order,
            manifests: vec![(link, Link { media_type: "m".into(), size: 1 })],
            blob_links: vec![],
            tags: vec![(repository(), tag(), target(content))],
            blobs: vec![digest(content)],
        }
    }

    #[test]
    fn what_a_package_needs_is_kept_and_the_rest_removed() {
        let needs = Needs::of(vec![package("a", 1, 1, "x")]);
        assert_eq!(needs.verdict(&Place::Blob(digest("x"))), Verdict::Keep);
        assert_eq!(needs.verdict(&Place::Blob(digest("y"))), Verdict::Remove);
        let link = Place::ManifestLink(repository(), digest("x"));
        assert_eq!(needs.verdict(&link), Verdict::Keep);
        let foreign = Place::ManifestLink("other/repo".parse().unwrap(), digest("x"));
        assert_eq!(needs.verdict(&foreign), Verdict::Remove);
        assert_eq!(needs.verdict(&Place::BlobLink(repository(), digest("x"))), Verdict::Remove);
    }

    #[test]
    fn a_tag_points_at_the_latest_publication_whatever_the_order_of_reading() {
        for packages in [
            vec![package("a", 1, 10, "old"), package("b", 2, 11, "new")],
            vec![package("b", 2, 11, "new"), package("a", 1, 10, "old")],
        ] {
            let needs = Needs::of(packages);
            let verdict = needs.verdict(&Place::Tag(repository(), tag()));
            assert_eq!(verdict, Verdict::PointAt(target("new")));
        }
    }

    #[test]
    fn a_tag_that_was_not_found_is_missing() {
        let needs = Needs::of(vec![package("a", 1, 1, "x")]);
        let key = keys::tag(&repository(), &tag());
        assert_eq!(needs.missing_tags(&HashSet::new()).collect::<Vec<_>>(), [(&key, &target("x"))]);
        assert_eq!(needs.missing_tags(&HashSet::from([key])).count(), 0);
    }

    #[test]
    fn a_tag_without_a_package_is_removed() {
        let needs = Needs::of(vec![]);
        assert_eq!(needs.verdict(&Place::Tag(repository(), tag())), Verdict::Remove);
    }

    #[test]
    fn a_declaration_keeps_its_latest_publication_alone() {
        let needs = Needs::of(vec![package("a", 1, 1, "old"), package("a", 2, 2, "new")]);
        assert_eq!(needs.superseded, [keys::entry(&"pmrg4".parse().unwrap(), 1)]);
        assert_eq!(needs.verdict(&Place::Blob(digest("old"))), Verdict::Remove);
        assert_eq!(needs.verdict(&Place::Blob(digest("new"))), Verdict::Keep);
    }
}
