//! Which workloads use the images of a package. Pure.

use std::collections::BTreeSet;

use oci_spec::distribution::Reference;

use super::survey::{Survey, Workload};

/// Users that are named.
const EXAMPLES: usize = 5;

/// Under which names a registry's images are pulled.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Served {
    /// Hosts, with port where it isn't 443.
    pub hosts: BTreeSet<String>,
    /// Upstream hosts whose images nodes ask the registry for.
    pub mirrors: BTreeSet<String>,
}

/// An image of a package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WantedImage {
    /// Upstream host and repository: `docker.io/library/redis`.
    pub path: String,
    /// Tag.
    pub tag: Option<String>,
    /// `sha256:<hex>` of its manifest or index.
    pub digest: String,
}

impl WantedImage {
    /// Takes apart what `Package.status.images` says: `<registry host>/<upstream host>/<repository>[:<tag>][@<digest>]`.
    #[must_use]
    pub fn new(reference: &str, digest: &str) -> Option<Self> {
        let (_, served) = reference.split_once('/')?;
        Some(Self::served(served, digest))
    }

    /// Takes apart what the registry's catalogue says: `<upstream host>/<repository>[:<tag>][@<digest>]`.
    #[must_use]
    pub fn served(reference: &str, digest: &str) -> Self {
        let rest = reference.split_once('@').map_or(reference, |(name, _)| name);
        let name = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match rest[name..].find(':') {
            Some(colon) => (&rest[..name + colon], Some(rest[name + colon + 1..].to_owned())),
            None => (rest, None),
        };
        Self { path: path.to_owned(), tag, digest: digest.to_owned() }
    }

    /// Whether a name that a pod or its runtime has for an image means this one. The digest decides where there is one: a tag
    /// may have moved since.
    fn is(&self, image: &Reference, served: &Served) -> bool {
        let (registry, repository) = (image.registry(), image.repository());
        let from_registry = served.hosts.contains(registry) && repository == self.path;
        let from_mirror = served.mirrors.contains(registry) && format!("{registry}/{repository}") == self.path;
        let same = match image.digest() {
            Some(digest) => digest == self.digest,
            None => image.tag() == self.tag.as_deref(),
        };
        (from_registry || from_mirror) && same
    }
}

/// Who uses a package.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// How many workloads.
    pub count: usize,
    /// Some of them: `Pod apps/web-1`, sorted.
    pub examples: Vec<String>,
}

/// Who uses any of the images: by the registry's name, by the name of a mirrored upstream, or by what runs.
#[must_use]
pub fn usage(images: &[WantedImage], served: &Served, survey: &Survey) -> Usage {
    if images.is_empty() {
        return Usage::default();
    }
    let mut users: Vec<String> = survey
        .workloads
        .iter()
        .filter(|workload| uses(workload, images, served))
        .map(|workload| format!("{} {}/{}", workload.kind, workload.namespace, workload.name))
        .collect();
    users.sort_unstable();
    users.dedup();
    let count = users.len();
    users.truncate(EXAMPLES);
    Usage { count, examples: users }
}

fn uses(workload: &Workload, images: &[WantedImage], served: &Served) -> bool {
    // Two registries may have the same image, so that a digest alone says nothing of where it came from.
    workload.images.iter().any(|image| images.iter().any(|wanted| wanted.is(image, served)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn redis() -> WantedImage {
        let reference = format!("reg.apps.svc/docker.io/library/redis:5@{}", digest('a'));
        WantedImage::new(&reference, &digest('a')).unwrap()
    }

    fn served() -> Served {
        Served { hosts: ["reg.apps.svc".to_owned()].into(), mirrors: ["docker.io".to_owned()].into() }
    }

    fn pod(name: &str, image: &str, running: &str) -> Workload {
        Workload {
            kind: "Pod",
            namespace: "apps".into(),
            name: name.into(),
            images: [image, running].into_iter().filter_map(|name| name.parse().ok()).collect(),
        }
    }

    fn users(workloads: Vec<Workload>) -> Usage {
        usage(&[redis()], &served(), &Survey { workloads })
    }

    #[test]
    fn an_image_is_taken_apart_with_and_without_port_tag_and_digest() {
        let image = |reference: &str| WantedImage::new(reference, "d").map(|image| (image.path, image.tag));
        let redis = "docker.io/library/redis".to_owned();
        assert_eq!(image("h:5000/docker.io/library/redis:5@sha256:x"), Some((redis.clone(), Some("5".to_owned()))));
        assert_eq!(image("h/docker.io/library/redis"), Some((redis, None)));
        assert_eq!(image("h/a.test-5000/x:1"), Some(("a.test-5000/x".to_owned(), Some("1".to_owned()))));
        assert_eq!(image("redis"), None);
    }

    #[test]
    fn a_workload_uses_a_package_by_the_registrys_name_by_a_mirrored_name_or_by_what_it_runs() {
        let running = format!("docker.io/library/redis@{}", digest('a'));
        for (image, runs) in [
            ("reg.apps.svc/docker.io/library/redis:5", ""),
            (&*format!("reg.apps.svc/docker.io/library/redis@{}", digest('a')), ""),
            ("redis:5", ""),
            ("docker.io/library/redis:5", ""),
            ("redis:4", &*running),
        ] {
            let found = users(vec![pod("web", image, runs)]);
            assert_eq!((found.count, found.examples), (1, vec!["Pod apps/web".to_owned()]), "{image}");
        }
    }

    #[test]
    fn other_names_tags_and_digests_are_other_images() {
        let other = format!("docker.io/library/redis@{}", digest('b'));
        let elsewhere = format!("other.apps.svc/docker.io/library/redis@{}", digest('a'));
        for (image, runs) in [
            ("redis:6", ""),
            ("redis", ""),
            (&*format!("redis:5@{}", digest('b')), &*other),
            ("quay.io/library/redis:5", ""),
            ("other.apps.svc/docker.io/library/redis:5", ""),
            ("reg.apps.svc/library/redis:5", ""),
            ("other.apps.svc/docker.io/library/redis:5", &*elsewhere),
            ("not an image", "nor this"),
        ] {
            assert_eq!(users(vec![pod("web", image, runs)]), Usage::default(), "{image}");
        }
    }

    #[test]
    fn an_upstream_that_is_not_mirrored_is_somebody_elses() {
        let served = Served { mirrors: BTreeSet::new(), ..served() };
        let survey = Survey { workloads: vec![pod("web", "redis:5", "")] };
        assert_eq!(usage(&[redis()], &served, &survey), Usage::default());
    }

    #[test]
    fn all_users_are_counted_and_the_first_are_named() {
        let pods = (0..9).rev().map(|number| pod(&format!("web-{number}"), "redis:5", "")).collect();
        let found = users(pods);
        assert_eq!(found.count, 9);
        assert_eq!(found.examples.len(), EXAMPLES);
        assert_eq!(found.examples[0], "Pod apps/web-0");
    }
}
