//! What becomes of the links and tags of one repository. Pure.
//!
//! A package's links and tags are what its entry says. What was pushed stays until it is deleted: manifests and tags by
//! themselves, everything else as long as a pushed manifest of the same repository refers to it. A blob that was pushed
//! waits for its manifest as long as the grace period lasts.

use std::collections::HashSet;
use std::time::Duration;

use super::links::Held;
use super::needs::Needs;
use crate::digest::Digest;
use crate::storage::Version;
use crate::storage::keys::Place;

/// A link or tag that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Where.
    pub(super) place: Place,
    /// In which state.
    pub(super) state: Version,
    /// How long ago it was written or renewed.
    pub(super) age: Option<Duration>,
    /// What it holds; nothing where that is damaged.
    pub(super) held: Option<Held>,
}

impl Found {
    /// The digest that a link is for.
    pub(super) fn digest(&self) -> Option<&Digest> {
        match &self.place {
            Place::ManifestLink(_, digest) | Place::BlobLink(_, digest) => Some(digest),
            _ => None,
        }
    }
}

/// What is to be done with a link or tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It stays.
    Keep,
    /// It must hold what the packages say.
    Settle,
    /// Nobody needs it.
    Remove,
    /// Nobody needs it yet.
    Expire,
    /// It stays as long as its manifest.
    Follow,
}

/// What the pushed manifests of a repository refer to.
#[derive(Debug, Default)]
pub(super) struct References {
    digests: HashSet<String>,
    /// Whether there may be others: a manifest's link that no package needs is damaged.
    uncertain: bool,
}

impl References {
    pub(super) fn of(found: &[Found], needs: &Needs) -> Self {
        let mut references = Self::default();
        for found in found {
            match (&found.place, &found.held) {
                (_, Some(Held::Manifest(link))) => {
                    references.digests.extend(link.pushed.iter().flat_map(|pushed| pushed.references.iter().cloned()));
                }
                (Place::ManifestLink(..), None) => references.uncertain |= !needs.has(&found.place),
                _ => {}
            }
        }
        references
    }

    fn has(&self, digest: &Digest) -> bool {
        self.digests.contains(&digest.to_string())
    }
}

/// Manifests that a pushed one refers to although they were not pushed themselves, and that no package needs (any more):
/// what those refer to isn't known without reading them.
pub(super) fn unread(found: &[Found], needs: &Needs) -> Vec<usize> {
    let references = References::of(found, needs);
    let is_unread = |found: &Found| match (&found.place, &found.held) {
        (Place::ManifestLink(_, digest), Some(Held::Manifest(link))) => {
            link.pushed.is_none() && !needs.has(&found.place) && references.has(digest)
        }
        _ => false,
    };
    found.iter().enumerate().filter(|(_, found)| is_unread(found)).map(|(index, _)| index).collect()
}

/// What becomes of a link or tag.
pub(super) fn verdict(found: &Found, needs: &Needs, references: &References) -> Verdict {
    if let Some(wanted) = needs.held(&found.place) {
        let is_right = match (&found.held, wanted) {
            // Moved by somebody who may.
            (Some(Held::Tag(there)), _) if there.pushed => true,
            (there, wanted) => there.as_ref().is_some_and(|there| wanted.over(Some(there)) == *there),
        };
        return if is_right { Verdict::Keep } else { Verdict::Settle };
    }
    match (&found.place, &found.held) {
        (Place::ManifestLink(_, digest) | Place::BlobLink(_, digest), _) if references.has(digest) => Verdict::Keep,
        (Place::ManifestLink(..) | Place::BlobLink(..), _) if references.uncertain => Verdict::Keep,
        (Place::ManifestLink(..), Some(Held::Manifest(link))) if link.pushed.is_none() => Verdict::Remove,
        (Place::BlobLink(..), Some(Held::Blob(link))) if link.pushed => Verdict::Expire,
        (Place::Tag(..), Some(Held::Tag(target))) if target.pushed => Verdict::Keep,
        (Place::BlobLink(..) | Place::Tag(..), _) => Verdict::Remove,
        (Place::Referrer(..), _) => Verdict::Follow,
        // A manifest that was pushed, or a damaged link: who knows what that leads to.
        _ => Verdict::Keep,
    }
}

/// Digests that a manifest or index needs: its configuration, its layers, its blobs and its manifests.
pub(super) fn references(manifest: &[u8]) -> Vec<String> {
    let Ok(document) = serde_json::from_slice::<serde_json::Value>(manifest) else { return Vec::new() };
    let lists = ["layers", "manifests", "blobs"].into_iter().filter_map(|field| document.get(field)?.as_array());
    let descriptors = document.get("config").into_iter().chain(lists.flatten());
    descriptors.filter_map(|descriptor| descriptor.get("digest")?.as_str().map(ToOwned::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::entry::{BlobLink, Declared, Link, Pushed, Roots, TagTarget, code_of};
    use super::*;
    use crate::names::Repository;
    use crate::storage::keys;

    fn digest(content: &str) -> Digest {
        Digest::sha256(content.as_bytes())
    }

    fn repository() -> Repository {
        "a/b".parse().unwrap()
    }

    fn manifest(content: &str) -> Place {
        Place::ManifestLink(repository(), digest(content))
    }

    fn blob(content: &str) -> Place {
        Place::BlobLink(repository(), digest(content))
    }

    fn tag() -> Place {
        Place::Tag(repository(), "5".parse().unwrap())
    }

    fn found(place: Place, held: Option<Held>) -> Found {
        Found { place, state: Version::new("1"), age: None, held }
    }

    fn link(references: Option<&[&str]>) -> Held {
        let pushed = references.map(|references| Pushed {
            references: references.iter().map(|content| digest(content).to_string()).collect(),
            subject: None,
        });
        Held::Manifest(Link { media_type: "m".into(), size: 1, pushed })
    }

    fn layer(pushed: bool) -> Held {
        Held::Blob(BlobLink { pushed })
    }

    fn target(content: &str, pushed: bool) -> Held {
        Held::Tag(TagTarget { digest: digest(content).to_string(), media_type: "m".into(), size: 1, pushed })
    }

    /// What a package with one image needs.
    fn package() -> Needs {
        Needs::of(vec![Roots {
            entry: keys::entry(&code_of("redis", "1").unwrap()),
            release: Place::Release("redis".parse().unwrap(), 1),
            release_version: 1,
            declaration: Declared { id: "u".into(), source: "s".into(), by: "a/b".into() },
            order: 1,
            held: vec![(manifest("m"), link(None)), (blob("l"), layer(false)), (tag(), target("m", false))],
            blobs: vec![digest("m"), digest("l")],
        }])
    }

    fn verdicts(found: &[Found], needs: &Needs) -> Vec<Verdict> {
        let references = References::of(found, needs);
        found.iter().map(|found| verdict(found, needs, &references)).collect()
    }

    #[test]
    fn a_packages_links_and_tags_are_kept_made_right_and_removed_with_it() {
        let right = [
            found(manifest("m"), Some(link(None))),
            found(blob("l"), Some(layer(false))),
            found(tag(), Some(target("m", false))),
        ];
        assert_eq!(verdicts(&right, &package()), [Verdict::Keep; 3]);
        let damaged = [found(manifest("m"), None), found(blob("l"), None), found(tag(), Some(target("x", false)))];
        assert_eq!(verdicts(&damaged, &package()), [Verdict::Settle; 3]);
        assert_eq!(verdicts(&right, &Needs::default()), [Verdict::Remove; 3]);
    }

    #[test]
    fn what_is_both_pushed_and_a_packages_is_right_and_stays_without_the_package() {
        let both = [
            found(manifest("m"), Some(link(Some(&["l"])))),
            found(blob("l"), Some(layer(true))),
            found(tag(), Some(target("m", true))),
        ];
        assert_eq!(verdicts(&both, &package()), [Verdict::Keep; 3]);
        assert_eq!(verdicts(&both, &Needs::default()), [Verdict::Keep; 3]);
    }

    #[test]
    fn a_tag_that_was_pushed_elsewhere_is_not_moved_back() {
        assert_eq!(verdicts(&[found(tag(), Some(target("other", true)))], &package()), [Verdict::Keep]);
    }

    #[test]
    fn a_pushed_manifest_keeps_what_it_refers_to_whoever_brought_that() {
        let all = [
            found(manifest("index"), Some(link(Some(&["m", "l"])))),
            found(manifest("m"), Some(link(None))),
            found(blob("l"), Some(layer(false))),
            found(blob("waits"), Some(layer(true))),
            found(blob("left"), Some(layer(false))),
        ];
        let expected = [Verdict::Keep, Verdict::Keep, Verdict::Keep, Verdict::Expire, Verdict::Remove];
        assert_eq!(verdicts(&all, &Needs::default()), expected);
        assert_eq!(unread(&all, &Needs::default()), [1]);
        assert!(unread(&all, &package()).is_empty());
    }

    #[test]
    fn next_to_a_damaged_link_nothing_is_taken_for_unneeded() {
        let all = [
            found(manifest("x"), None),
            found(manifest("child"), Some(link(None))),
            found(blob("l"), Some(layer(true))),
            found(blob("k"), Some(layer(false))),
        ];
        assert_eq!(verdicts(&all, &Needs::default()), [Verdict::Keep; 4]);
    }

    #[test]
    fn a_manifests_references_are_read_from_all_its_lists() {
        let text = r#"{"config":{"digest":"c"},"layers":[{"digest":"l"}],"manifests":[{"digest":"m"},{}],"blobs":7}"#;
        assert_eq!(references(text.as_bytes()), ["c", "l", "m"]);
        assert!(references(b"x").is_empty());
    }
}
