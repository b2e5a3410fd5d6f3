//! What the packages need of the store, and what becomes of the rest. Pure.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::entry::{Link, Roots, TagTarget};
use super::publish::json;
use crate::digest::Digest;
use crate::storage::keys::{Key, Place};

/// What must be in the store for a set of packages.
#[derive(Debug, Default)]
pub struct Needs {
    /// Packages that a later publication of the same declaration replaced.
    pub superseded: Vec<Roots>,
    blobs: HashSet<Digest>,
    /// Links with what they hold; those of blobs hold nothing.
    links: HashMap<Place, (u64, Option<Link>)>,
    tags: HashMap<Place, (u64, TagTarget)>,
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
                needs.superseded.push(roots);
            }
        }
        needs
    }

    fn mark(&mut self, roots: Roots) {
        let order = roots.order;
        self.blobs.extend(roots.blobs);
        let manifests = roots.manifests.into_iter().map(|(place, link)| (place, Some(link)));
        for (place, link) in manifests.chain(roots.blob_links.into_iter().map(|place| (place, None))) {
            keep_latest(&mut self.links, place, order, link);
        }
        for (repository, tag, target) in roots.tags {
            keep_latest(&mut self.tags, Place::Tag(repository, tag), order, target);
        }
    }

    /// What a link holds; `None` for what is no link of these packages.
    #[must_use]
    pub fn link(&self, place: &Place) -> Option<Result<Bytes, serde_json::Error>> {
        self.links.get(place).map(|(_, link)| link_bytes(link.as_ref()))
    }

    /// Links and tags that must be there and that `seen` says were not found, with what they hold: links first.
    ///
    /// # Errors
    /// Something that can't be put into words.
    pub fn missing(&self, seen: &HashSet<Place>) -> Result<Vec<(Key, Bytes)>, serde_json::Error> {
        let links = self.links.iter().filter(|(place, _)| !seen.contains(*place));
        let links = links.map(|(place, (_, link))| Ok((place.key(), link_bytes(link.as_ref())?)));
        let tags = self.tags.iter().filter(|(place, _)| !seen.contains(*place));
        let tags = tags.map(|(place, (_, target))| Ok((place.key(), json(target)?)));
        links.chain(tags).collect()
    }

    /// What becomes of a place that was found in the store.
    #[must_use]
    pub fn verdict(&self, place: &Place) -> Verdict {
        match place {
            // Entries are the roots themselves; a referrer's entry goes with its manifest.
            Place::Entry(..) | Place::Referrer(..) => Verdict::Keep,
            Place::Tag(..) => match self.tags.get(place) {
                Some((_, target)) => Verdict::PointAt(target.clone()),
                None => Verdict::Remove,
            },
            Place::Blob(digest) if self.blobs.contains(digest) => Verdict::Keep,
            Place::ManifestLink(..) | Place::BlobLink(..) if self.links.contains_key(place) => Verdict::Keep,
            Place::Blob(_) | Place::ManifestLink(..) | Place::BlobLink(..) => Verdict::Remove,
        }
    }
}

fn keep_latest<T>(all: &mut HashMap<Place, (u64, T)>, place: Place, order: u64, value: T) {
    let newer = all.get(&place).is_none_or(|(there, _)| *there <= order);
    if newer {
        all.insert(place, (order, value));
    }
}

/// What the link of a manifest holds, or (`None`) that of a blob.
pub(super) fn link_bytes(link: Option<&Link>) -> Result<Bytes, serde_json::Error> {
    link.map_or_else(|| Ok(Bytes::from_static(b"{}")), json)
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Declared, Link};
    use super::*;
    use crate::names::{Repository, Tag};
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
            manifests: vec![(link, Link { media_type: "m".into(), size: 1, pushed: None })],
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
    fn links_and_tags_that_were_not_found_are_missing() {
        let needs = Needs::of(vec![package("a", 1, 1, "x")]);
        let (link, tag) = (Place::ManifestLink(repository(), digest("x")), Place::Tag(repository(), tag()));
        let missing = |seen: &[&Place]| -> Vec<Key> {
            let seen = seen.iter().map(|place| (*place).clone()).collect();
            needs.missing(&seen).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(missing(&[]), [link.key(), tag.key()]);
        assert_eq!(missing(&[&link]), [tag.key()]);
        assert!(missing(&[&link, &tag]).is_empty());
        assert_eq!(needs.missing(&HashSet::new()).unwrap()[1].1, json(&target("x")).unwrap());
    }

    #[test]
    fn a_tag_without_a_package_is_removed() {
        let needs = Needs::of(vec![]);
        assert_eq!(needs.verdict(&Place::Tag(repository(), tag())), Verdict::Remove);
    }

    #[test]
    fn a_declaration_keeps_its_latest_publication_alone() {
        let needs = Needs::of(vec![package("a", 1, 1, "old"), package("a", 2, 2, "new")]);
        assert_eq!(needs.superseded.len(), 1);
        assert_eq!(needs.superseded[0].entry, keys::entry(&"pmrg4".parse().unwrap(), 1));
        assert_eq!(needs.verdict(&Place::Blob(digest("old"))), Verdict::Remove);
        assert_eq!(needs.verdict(&Place::Blob(digest("new"))), Verdict::Keep);
    }
}
