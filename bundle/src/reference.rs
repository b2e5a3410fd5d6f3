//! Image references as metadata has them (`redis:5`), and the names under which the registry serves the images.

use std::fmt;

use snafu::{OptionExt, Snafu, ensure};

/// Longest repository name that registries take.
const LONGEST_REPOSITORY: usize = 255;

/// An image reference, normalised as container tools do it: the host written out, `library/` for official images.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Reference {
    /// Upstream host with its port, lower case: `docker.io`, `localhost:5000`.
    pub host: String,
    /// Repository on that host: `library/redis`.
    pub path: String,
    /// Tag, where one is written.
    pub tag: Option<String>,
    /// `sha256:<hex>`, where one is written.
    pub digest: Option<String>,
}

/// Why a text is no image reference.
#[derive(Debug, Snafu)]
#[snafu(display("\"{reference}\" is not an image reference: {reason}"))]
pub struct ReferenceError {
    reference: String,
    reason: &'static str,
}

impl Reference {
    /// Reads `[host[:port]/]path[:tag][@sha256:<hex>]`.
    ///
    /// The first segment is a host when it has a dot or a colon or is `localhost`; everything else belongs to `docker.io`.
    ///
    /// # Errors
    /// [`ReferenceError`], which says which part is wrong.
    pub fn parse(reference: &str) -> Result<Self, ReferenceError> {
        let refused = |reason| ReferenceSnafu { reference, reason };
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        let digest_right = digest.is_none_or(is_digest);
        ensure!(digest_right, refused("after @ comes sha256: and 64 lower-case hex digits"));
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest.get(after_slash..).and_then(|last| last.find(':')) {
            Some(colon) => rest.split_at(after_slash + colon),
            None => (rest, ""),
        };
        let tag = (!tag.is_empty()).then(|| tag.trim_start_matches(':'));
        let tag_right = tag.is_none_or(is_tag) && !rest.ends_with(':') && !rest.contains("::");
        ensure!(tag_right, refused("a tag has 1 to 128 characters A-Z a-z 0-9 _ . - and does not start with . or -"));
        let (host, path) = split_host(name);
        let path = if host == DOCKER && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        ensure!(
            path.split('/').all(is_path_component),
            refused("the repository has lower-case letters, digits and single separators . _ __ - between them")
        );
        let parsed = Self {
            host: host.to_ascii_lowercase(),
            path,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        };
        let host_component =
            parsed.host_component().with_context(|| refused("the host is a name or an IPv4 address"))?;
        let length = host_component.len() + 1 + parsed.path.len();
        ensure!(length <= LONGEST_REPOSITORY, refused("host and repository have at most 255 characters"));
        Ok(parsed)
    }

    /// The repository as the registry serves it: `docker.io/library/redis`, `localhost-5000/x`.
    #[must_use]
    pub fn served_repository(&self) -> String {
        format!("{}/{}", self.host.replace(':', "-"), self.path)
    }

    /// The tag to publish: the written one, `latest` where there is neither tag nor digest, none for a reference by digest.
    #[must_use]
    pub fn published_tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// The name of this image on a registry: `<registry>/docker.io/library/redis:5@sha256:…`.
    #[must_use]
    pub fn served_name(&self, registry: &str, digest: &str) -> String {
        let tag = self.published_tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        format!("{registry}/{}{tag}@{digest}", self.served_repository())
    }

    /// Whether two references mean the same image: same repository, and the same digest or, without one, the same tag.
    #[must_use]
    pub fn same_image(&self, other: &Self) -> bool {
        let pinned = self.digest.is_some() || other.digest.is_some();
        self.host == other.host
            && self.path == other.path
            && if pinned { self.digest == other.digest } else { self.published_tag() == other.published_tag() }
    }

    fn host_component(&self) -> Option<String> {
        let (name, port) = match self.host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (self.host.as_str(), None),
        };
        let port_right = port.is_none_or(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'));
        let name_right = name.split('.').all(is_host_label);
        (port_right && name_right).then(|| self.host.replace(':', "-"))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = self.published_tag() {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

const DOCKER: &str = "docker.io";

fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io" | "registry-1.docker.io", path)) => (DOCKER, path),
        Some((first, path)) if first.contains(['.', ':']) || first.eq_ignore_ascii_case("localhost") => (first, path),
        _ => (DOCKER, name),
    }
}

/// Whether a text is `sha256:` and 64 lower-case hex digits.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_sha256_hex)
}

/// Whether a text is 64 lower-case hex digits.
#[must_use]
pub fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    tag.len() <= 128 && tag.bytes().next().is_some_and(word) && tag.bytes().all(|c| word(c) || matches!(c, b'.' | b'-'))
}

fn is_host_label(label: &str) -> bool {
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    label.bytes().next().is_some_and(edge)
        && label.bytes().next_back().is_some_and(edge)
        && label.bytes().all(|c| edge(c) || c == b'-')
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|c| c == b'-');
    component.starts_with(alphanumeric)
        && component.ends_with(alphanumeric)
        && component.split(alphanumeric).filter(|run| !run.is_empty()).all(separator)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn served(reference: &str) -> (String, Option<String>) {
        let parsed = Reference::parse(reference).unwrap();
        (parsed.served_repository(), parsed.published_tag().map(str::to_owned))
    }

    fn named(repository: &str, tag: &str) -> (String, Option<String>) {
        (repository.to_owned(), Some(tag.to_owned()))
    }

    #[test]
    fn references_are_served_under_their_upstream_written_out() {
        assert_eq!(served("redis:5"), named("docker.io/library/redis", "5"));
        assert_eq!(served("redis"), named("docker.io/library/redis", "latest"));
        assert_eq!(served("a/b:1"), named("docker.io/a/b", "1"));
        assert_eq!(served("docker.io/redis"), named("docker.io/library/redis", "latest"));
        assert_eq!(served("index.docker.io/a/b"), named("docker.io/a/b", "latest"));
        assert_eq!(served("quay.io/a/b:v1.0"), named("quay.io/a/b", "v1.0"));
        assert_eq!(served("Quay.IO/a/b"), named("quay.io/a/b", "latest"));
        assert_eq!(served("localhost:5000/x"), named("localhost-5000/x", "latest"));
        assert_eq!(served("localhost/x:1"), named("localhost/x", "1"));
        assert_eq!(served("127.0.0.1:5000/a/b/c:2"), named("127.0.0.1-5000/a/b/c", "2"));
    }

    #[test]
    fn a_reference_by_digest_publishes_no_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(served(&format!("redis@{digest}")), ("docker.io/library/redis".to_owned(), None));
        assert_eq!(served(&format!("redis:5@{digest}")), named("docker.io/library/redis", "5"));
        let reference = Reference::parse("redis:5").unwrap();
        assert_eq!(
            reference.served_name("r.test:8443", &digest),
            format!("r.test:8443/docker.io/library/redis:5@{digest}")
        );
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for wrong in [
            "",
            ":",
            "a:",
            "a::b",
            "A",
            "a/B",
            "/a",
            "a/",
            "a//b",
            "a b",
            "../a",
            "a/../b",
            "a@sha256:12",
            "a@md5:12",
            "a:-x",
            "a:x/..",
            "[::1]:5000/a",
            "h.test:99999/a",
            "h.test:/a",
            "http://a/b",
            "a..b",
            "a._b",
            "-a",
            "a-",
            "ä",
            "h..test/a",
            "-h.test/a",
            "a:b:c",
        ] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Reference::parse(&format!("a/{}", "b".repeat(255))).is_err());
        assert!(Reference::parse(&format!("a:{}", "b".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_served_under_a_valid_name(text in "[a-zA-Z0-9._:/@-]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                let repository = reference.served_repository();
                prop_assert!(repository.split('/').all(is_path_component), "{}", repository);
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap().served_repository(), repository);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = Reference::parse(&text);
        }
    }
}
