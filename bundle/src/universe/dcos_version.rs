//! Versions of DC/OS: what `minDcosReleaseVersion` holds and what a cluster says in `User-Agent`.

use std::cmp::Ordering;

/// A DC/OS version, ordered number by number, a missing number counting as 0. A suffix after `-` does not count.
#[derive(Clone, Debug)]
pub struct DcosVersion(Vec<u32>);

impl DcosVersion {
    /// Reads `1.13` or `2.1.0-beta`. Every number is at most 2147483647 and has no leading zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split_once('-').map_or(text, |(numbers, _)| numbers);
        numbers.split('.').map(number).collect::<Option<Vec<u32>>>().map(Self)
    }

    /// The version made of these numbers.
    #[must_use]
    pub fn of(numbers: &[u32]) -> Self {
        Self(numbers.to_vec())
    }

    fn significant(&self) -> &[u32] {
        let end = self.0.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1);
        self.0.get(..end).unwrap_or_default()
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse::<i32>().ok()).flatten().and_then(|number| u32::try_from(number).ok())
}

impl Ord for DcosVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.significant().cmp(other.significant())
    }
}

impl PartialOrd for DcosVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DcosVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DcosVersion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> DcosVersion {
        DcosVersion::parse(text).unwrap()
    }

    #[test]
    fn versions_are_ordered_number_by_number() {
        assert!(version("1.9") < version("1.10"));
        assert_eq!(version("1.9"), version("1.9.0"));
        assert!(version("1.13.1") > version("1.13"));
        assert_eq!(version("1.10-beta"), version("1.10"));
        assert_eq!(version("0"), DcosVersion::of(&[]));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for wrong in ["", "1.", ".1", "01", "1.x", "1..2", "2147483648", "+1", "1.-2"] {
            assert!(DcosVersion::parse(wrong).is_none(), "{wrong}");
        }
        assert!(DcosVersion::parse("2147483647").is_some());
    }
}
