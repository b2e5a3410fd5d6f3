//! The `Range` header. Pure.

use crate::storage::ByteRange;

/// Reads `bytes=…` with one range; `None` for what a server may ignore: other units, several ranges, nonsense.
#[must_use]
pub fn parse(value: &str) -> Option<ByteRange> {
    let (unit, range) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Some(ByteRange::Between(first, last)),
        (Some(first), None) if last.is_empty() => Some(ByteRange::From(first)),
        (None, Some(count)) if first.is_empty() => Some(ByteRange::Suffix(count)),
        _ => None,
    }
}

/// Digits alone; what doesn't fit is as good as the largest number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_forms_are_read() {
        assert_eq!(parse("bytes=0-9"), Some(ByteRange::Between(0, 9)));
        assert_eq!(parse("Bytes=5-"), Some(ByteRange::From(5)));
        assert_eq!(parse("bytes=-5"), Some(ByteRange::Suffix(5)));
        assert_eq!(parse("bytes=0-99999999999999999999999"), Some(ByteRange::Between(0, u64::MAX)));
    }

    #[test]
    fn what_may_be_ignored_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=--1",
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
