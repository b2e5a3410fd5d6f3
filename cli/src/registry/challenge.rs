//! `WWW-Authenticate`: what a registry wants to see. Pure.

use url::Url;

use super::hosts_toml::is_loopback;

/// A way to authenticate that a registry offers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Challenge {
    /// User and password.
    Basic,
    /// A token from another address.
    Bearer {
        /// Where tokens are.
        realm: String,
        /// Whom the token is for, as the realm calls it.
        service: Option<String>,
    },
}

/// The challenges of one header, in its order; unknown ones are left out.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut scheme: Option<(String, Vec<(String, String)>)> = None;
    for part in parts(header) {
        let (before, value) =
            part.split_once('=').map_or((part.trim(), None), |(name, value)| (name.trim(), Some(value)));
        // "Bearer realm" is a scheme and its first parameter; "service" is a further one.
        let (starts, name) = match before.split_once(char::is_whitespace) {
            Some((word, name)) => (Some(word), name.trim()),
            None if value.is_none() => (Some(before), ""),
            None => (None, before),
        };
        if let Some(word) = starts {
            challenges.extend(scheme.take().and_then(challenge));
            scheme = Some((word.to_ascii_lowercase(), Vec::new()));
        }
        if let (Some((_, parameters)), Some(value)) = (&mut scheme, value) {
            parameters.push((name.to_ascii_lowercase(), unquoted(value.trim())));
        }
    }
    challenges.extend(scheme.and_then(challenge));
    challenges
}

fn challenge((scheme, parameters): (String, Vec<(String, String)>)) -> Option<Challenge> {
    let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match scheme.as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: get("realm")?, service: get("service") }),
        _ => None,
    }
}

/// Splits at commas outside of quotes.
fn parts(header: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let split = header.split(move |c| {
        let ends = c == ',' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        ends
    });
    split.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut escaped = false;
    let plain = |c: &char| {
        escaped = *c == '\\' && !escaped;
        !escaped
    };
    inner.chars().filter(plain).collect()
}

/// Whether a registry's credentials may go to a realm that the registry chose: to itself, to the domain that it is part of
/// (`registry.gitlab.com` → `gitlab.com`), and for Docker Hub to `auth.docker.io`; never from TLS to plain HTTP.
///
/// A registry, or somebody who answers in its place, could otherwise have them sent anywhere (CVE-2026-33540).
pub fn may_have_credentials(registry: &Url, realm: &Url) -> bool {
    let (Some(own), Some(other)) = (registry.host_str(), realm.host_str()) else { return false };
    let safe = realm.scheme() == "https" || (realm.scheme() == registry.scheme() && own == other) || is_loopback(realm);
    let parent = own.strip_suffix(other).is_some_and(|rest| rest.ends_with('.')) && other.contains('.');
    let is_name = matches!(realm.host(), Some(url::Host::Domain(_)));
    let hub = own == "registry-1.docker.io" && other == "auth.docker.io";
    safe && (own == other || (parent && is_name) || hub)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:pull,push""#,
                vec![bearer("https://auth.docker.io/token", Some("registry.docker.io"))],
            ),
            (r#"Basic realm="Registry, \"quoted\"""#, vec![Challenge::Basic]),
            ("bearer realm=https://e.test/t", vec![bearer("https://e.test/t", None)]),
            (
                r#"Basic realm="x", Bearer realm="https://e.test/t" , service = "s""#,
                vec![Challenge::Basic, bearer("https://e.test/t", Some("s"))],
            ),
            (r#"Negotiate, Basic realm="x""#, vec![Challenge::Basic]),
            ("Bearer service=x", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    #[test]
    fn credentials_go_to_the_registry_itself_or_its_domain_only() {
        for (registry, realm, may) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("https://e.test:5000", "https://e.test/token", true),
            ("https://e.test", "http://e.test/token", false),
            ("https://e.test", "https://evil.test/token", false),
            ("https://a.e.test", "https://b.e.test/token", false),
            ("https://a.test", "https://test/token", false),
            ("https://xe.test", "https://e.test/token", false),
            ("https://e.test", "https://auth.docker.io/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("http://10.0.0.1", "http://10.0.0.1/token", true),
            ("https://1.10.0.0.1", "https://10.0.0.1/token", false),
        ] {
            let url = |text: &str| Url::parse(text);
            let Ok(registry) = url(registry) else { continue };
            assert_eq!(may_have_credentials(&registry, &url(realm).unwrap()), may, "{registry} {realm}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}
