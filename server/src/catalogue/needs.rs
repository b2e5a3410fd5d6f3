//! What the packages need of the store. Pure.

use std::collections::{HashMap, HashSet};

use super::entry::Roots;
use super::links::Held;
use crate::digest::Digest;
use crate::storage::keys::Place;

/// What must be in the store for a set of packages, and for what is on its way.
#[derive(Debug, Default)]
pub struct Needs {
    /// Packages that a later publication of the same declaration replaced.
    pub superseded: Vec<Roots>,
    blobs: HashSet<Digest>,
    /// Links and tags of packages with what they hold, each from the latest publication that has it.
    held: HashMap<Place, Held>,
    releases: HashSet<Place>,
}

impl Needs {
    /// Marks everything that the packages need.
    ///
    /// A declaration keeps its latest publication alone. A tag belongs to the latest publication that has it.
    #[must_use]
    pub fn of(packages: Vec<Roots>) -> Self {
        // Two clocks may give two publications one order; then the key decides, so that everybody decides alike.
        let rank = |roots: &Roots| (roots.order, roots.entry.clone());
        let mut latest: HashMap<String, _> = HashMap::new();
        for roots in &packages {
            let highest = latest.entry(roots.declaration.id.clone()).or_insert_with(|| rank(roots));
            if *highest < rank(roots) {
                *highest = rank(roots);
            }
        }
        let mut needs = Self::default();
        let (mut current, superseded): (Vec<_>, Vec<_>) =
            packages.into_iter().partition(|roots| latest.get(&roots.declaration.id) == Some(&rank(roots)));
        needs.superseded = superseded;
        current.sort_by_key(rank);
        for roots in current {
            needs.mark(roots);
        }
        needs
    }

    /// The later ones win.
    fn mark(&mut self, roots: Roots) {
        self.blobs.extend(roots.blobs);
        self.releases.insert(roots.release);
        self.held.extend(roots.held);
    }

    /// Adds blobs that are needed whoever names them.
    pub fn keep(&mut self, digests: impl IntoIterator<Item = Digest>) {
        self.blobs.extend(digests);
    }

    /// What the packages want a link or tag to hold.
    #[must_use]
    pub fn held(&self, place: &Place) -> Option<&Held> {
        self.held.get(place)
    }

    /// Whether a blob or the claim of a number is needed.
    #[must_use]
    pub fn has(&self, place: &Place) -> bool {
        match place {
            Place::Blob(digest) => self.blobs.contains(digest),
            Place::Release(..) => self.releases.contains(place),
            _ => self.held.contains_key(place),
        }
    }

    /// Links and tags that must be there and that `seen` says were not found: links first.
    #[must_use]
    pub fn missing<'a>(&'a self, seen: &HashSet<Place>) -> Vec<&'a Place> {
        let mut missing: Vec<_> = self.held.keys().filter(|place| !seen.contains(*place)).collect();
        missing.sort_by_key(|place| matches!(place, Place::Tag(..)));
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Declared, Link, TagTarget, code_of};
    use super::*;
    use crate::names::{CoordinateCode, Repository};
    use crate::storage::keys;

    fn target(content: &str) -> TagTarget {
        TagTarget { digest: digest(content).to_string(), media_type: "m".into(), size: 1, pushed: false }
    }

    fn digest(content: &str) -> Digest {
        Digest::sha256(content.as_bytes())
    }

    fn repository() -> Repository {
        "docker.io/library/redis".parse().unwrap()
    }

    fn tag() -> Place {
        Place::Tag(repository(), "5".parse().unwrap())
    }

    fn link(content: &str) -> Place {
        Place::ManifestLink(repository(), digest(content))
    }

    fn code(release_version: u64) -> CoordinateCode {
        code_of("redis", &release_version.to_string()).unwrap()
    }

    fn package(id: &str, release_version: u64, order: u64, content: &str) -> Roots {
        let held = Held::Manifest(Link { media_type: "m".into(), size: 1, pushed: None });
        Roots {
            entry: keys::entry(&code(release_version)),
            release: Place::Release("redis".parse().unwrap(), release_version),
            release_version,
            declaration: Declared { id: id.into(), source: "s".into(), by: "a/b".into() },
            order,
            held: vec![(link(content), held), (tag(), Held::Tag(target(content)))],
            blobs: vec![digest(content)],
        }
    }

    #[test]
    fn what_a_package_needs_is_needed_and_the_rest_is_not() {
        let needs = Needs::of(vec![package("a", 1, 1, "x")]);
        let blob = |content| Place::Blob(digest(content));
        let foreign = Place::ManifestLink("other/repo".parse().unwrap(), digest("x"));
        let release = |number| Place::Release("redis".parse().unwrap(), number);
        assert!(needs.has(&blob("x")) && needs.has(&link("x")) && needs.has(&tag()) && needs.has(&release(1)));
        for place in [blob("y"), link("y"), foreign, Place::BlobLink(repository(), digest("x")), release(2)] {
            assert!(!needs.has(&place), "{place:?}");
        }
    }

    #[test]
    fn a_tag_points_at_the_latest_publication_whatever_the_order_of_reading() {
        let (old, new) = (package("a", 1, 10, "old"), package("b", 2, 11, "new"));
        for packages in [vec![old.clone(), new.clone()], vec![new, old]] {
            assert_eq!(Needs::of(packages).held(&tag()), Some(&Held::Tag(target("new"))));
        }
    }

    #[test]
    fn publications_of_one_order_are_told_apart_the_same_way_by_everybody() {
        let (one, two) = (package("a", 1, 10, "one"), package("b", 2, 10, "two"));
        let found = Needs::of(vec![one.clone(), two.clone()]);
        let turned = Needs::of(vec![two.clone(), one.clone()]);
        assert_eq!(found.held(&tag()), turned.held(&tag()));
        let declared_twice = |packages| Needs::of(packages).superseded.pop().unwrap().entry;
        let same = Roots { declaration: one.declaration.clone(), ..two };
        assert_eq!(declared_twice(vec![one.clone(), same.clone()]), declared_twice(vec![same, one]));
    }

    #[test]
    fn links_and_tags_that_were_not_found_are_missing() {
        let needs = Needs::of(vec![package("a", 1, 1, "x")]);
        let missing = |seen: &[Place]| -> Vec<Place> {
            let seen = seen.iter().cloned().collect();
            needs.missing(&seen).into_iter().cloned().collect()
        };
        assert_eq!(missing(&[]), [link("x"), tag()]);
        assert_eq!(missing(&[link("x")]), [tag()]);
        assert!(missing(&[link("x"), tag()]).is_empty());
    }

    #[test]
    fn a_declaration_keeps_its_latest_publication_alone() {
        let needs = Needs::of(vec![package("a", 1, 1, "old"), package("a", 2, 2, "new")]);
        assert_eq!(needs.superseded.len(), 1);
        assert_eq!(needs.superseded[0].entry, keys::entry(&code(1)));
        assert!(!needs.has(&Place::Blob(digest("old"))) && needs.has(&Place::Blob(digest("new"))));
    }

    #[test]
    fn what_is_on_its_way_is_needed_too() {
        let mut needs = Needs::default();
        needs.keep([digest("x")]);
        assert!(needs.has(&Place::Blob(digest("x"))));
    }
}
