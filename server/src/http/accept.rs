//! Which repository document a request asks for. Pure.

use bundle::universe::{DcosVersion, RepositoryVersion};

const TYPE: &str = "application/vnd.dcos.universe.repo+json";

/// The media type of a repository document.
#[must_use]
pub fn media_type(version: RepositoryVersion) -> &'static str {
    match version {
        RepositoryVersion::V3 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v3",
        RepositoryVersion::V4 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4",
        RepositoryVersion::V5 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v5",
    }
}

/// The highest version that `Accept` names; the highest that it doesn't exclude where it names none but takes JSON or
/// anything. `None`: not acceptable.
#[must_use]
pub fn version(accept: &[&str]) -> Option<RepositoryVersion> {
    const VERSIONS: [(&str, RepositoryVersion); 3] =
        [("v5", RepositoryVersion::V5), ("v4", RepositoryVersion::V4), ("v3", RepositoryVersion::V3)];
    let ranges: Vec<Range> = accept.iter().flat_map(|v| v.split(',')).filter_map(range).collect();
    if ranges.is_empty() {
        return Some(RepositoryVersion::V5);
    }
    let says = |wanted: &str, excluded: bool| {
        let is = |r: &Range| r.kind == TYPE && r.version.as_deref() == Some(wanted) && r.excluded == excluded;
        ranges.iter().any(is)
    };
    let anything = ranges.iter().filter(|range| !range.excluded).any(|range| {
        matches!(range.kind.as_str(), "*/*" | "application/*" | "application/json")
            || (range.kind == TYPE && range.version.is_none())
    });
    let named = VERSIONS.iter().find(|(word, _)| says(word, false));
    let taken = VERSIONS.iter().find(|(word, _)| anything && !says(word, true));
    named.or(taken).map(|(_, version)| *version)
}

/// Whether `Accept-Encoding` takes gzip.
#[must_use]
pub fn takes_gzip(accept: &[&str]) -> bool {
    let ranges: Vec<Range> = accept.iter().flat_map(|v| v.split(',')).filter_map(range).collect();
    let says = |wanted: &str| ranges.iter().find(|range| range.kind == wanted).map(|range| !range.excluded);
    says("gzip").or_else(|| says("*")).unwrap_or(false)
}

struct Range {
    kind: String,
    version: Option<String>,
    /// By `q=0`.
    excluded: bool,
}

/// One range; `None` for nothing and for nonsense.
fn range(text: &str) -> Option<Range> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().filter(|kind| !kind.is_empty())?.to_ascii_lowercase();
    let (mut version, mut excluded) = (None, false);
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "version" => version = Some(value.to_ascii_lowercase()),
            "q" => excluded = value.parse::<f32>().is_ok_and(|q| q <= 0.0),
            _ => {}
        }
    }
    Some(Range { kind, version, excluded })
}

/// The DC/OS version in `User-Agent`: the first `dcos/<numbers>` that starts a word.
#[must_use]
pub fn dcos_version(user_agent: &str) -> Option<DcosVersion> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    user_agent.match_indices("dcos/").find_map(|(at, found)| {
        if user_agent[..at].chars().next_back().is_some_and(word) {
            return None;
        }
        let rest = &user_agent[at + found.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let numbers = rest[..end].split("..").next().unwrap_or_default().trim_end_matches('.');
        (!numbers.is_empty()).then(|| DcosVersion::parse(numbers)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_highest_version_wins_whatever_the_order() {
        let consumer = "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v3,application/vnd.dcos.universe.repo+json;charset=utf-8;version=v5,application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4";
        assert_eq!(version(&[consumer]), Some(RepositoryVersion::V5));
        assert_eq!(version(&[&consumer.replace("v5", "v4")]), Some(RepositoryVersion::V4));
        assert_eq!(version(&["Application/VND.dcos.universe.repo+json ; version=v3"]), Some(RepositoryVersion::V3));
    }

    #[test]
    fn a_version_with_q_0_is_not_taken() {
        let accept = format!("{TYPE};version=v5;q=0, {TYPE};version=v4;q=0.1");
        assert_eq!(version(&[&accept]), Some(RepositoryVersion::V4));
    }

    #[test]
    fn who_takes_anything_gets_v5() {
        for accept in [vec![], vec!["*/*"], vec!["application/json"], vec!["text/html, */*;q=0.1"], vec![TYPE]] {
            assert_eq!(version(&accept), Some(RepositoryVersion::V5), "{accept:?}");
        }
    }

    #[test]
    fn other_types_alone_are_not_acceptable() {
        assert_eq!(version(&["text/html"]), None);
        assert_eq!(version(&[&format!("{TYPE};version=v9")]), None);
    }

    #[test]
    fn what_q_0_excludes_is_not_sent() {
        assert_eq!(version(&["*/*;q=0"]), None);
        assert_eq!(version(&[&format!("{TYPE};version=v5;q=0, */*")]), Some(RepositoryVersion::V4));
        assert_eq!(version(&[&format!("{TYPE};version=v4, {TYPE};version=v5;q=0.0")]), Some(RepositoryVersion::V4));
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for right in ["gzip", "GZIP;q=0.1", "deflate, gzip", "*", "br;q=1, *;q=0.5"] {
            assert!(takes_gzip(&[right]), "{right}");
        }
        for wrong in ["", "identity", "gzip;q=0", "gzip;q=0, *", "deflate", "x-gzip", "*;q=0"] {
            assert!(!takes_gzip(&[wrong]), "{wrong}");
        }
    }

    #[test]
    fn the_cluster_version_is_read_from_the_user_agent() {
        assert_eq!(dcos_version("cosmos/0.6.3 dcos/2.1.0"), DcosVersion::parse("2.1.0"));
        assert_eq!(dcos_version("dcos/1.9"), DcosVersion::parse("1.9"));
        assert_eq!(dcos_version("xdcos/1.9 dcos/1.10-beta"), DcosVersion::parse("1.10"));
        assert_eq!(dcos_version("dcos/ curl/8"), None);
        assert_eq!(dcos_version("curl/8"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,80}", tail in "[0-9.]{0,12}") {
            let _ = version(&[&text]);
            let _ = dcos_version(&text);
            let _ = dcos_version(&format!("{text} dcos/{tail}"));
        }
    }
}
