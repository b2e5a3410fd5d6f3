//! The `Content-Range` of an upload: `<first>-<last>`, not the form of RFC 9110. Pure.

use crate::images::Span;

/// Reads the value; `None` for one that is wrong.
#[must_use]
pub fn parse(value: &str) -> Option<Span> {
    let (first, last) = value.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let span = Span { first: number(first)?, last: number(last)? };
    (span.first <= span.last).then_some(span)
}

/// How far an upload of so many bytes is, as the value of `Range`. There is no way to say that nothing has arrived; `0-0` is
/// what clients expect then.
#[must_use]
pub fn so_far(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ends_are_read() {
        assert_eq!(parse("0-9"), Some(Span { first: 0, last: 9 }));
        assert_eq!(parse("5-5"), Some(Span { first: 5, last: 5 }));
    }

    #[test]
    fn other_forms_are_wrong() {
        for value in
            ["", "-", "0-", "-9", "9-8", "bytes 0-9/10", "bytes=0-9", "+1-2", "0-9-", "0-99999999999999999999", " 0-9"]
        {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }

    #[test]
    fn the_last_byte_is_named_not_the_count() {
        assert_eq!((so_far(0), so_far(1), so_far(10)), ("0-0".into(), "0-0".into(), "0-9".into()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}", first: u64, last: u64) {
            let _ = parse(&text);
            prop_assert_eq!(parse(&format!("{first}-{last}")).is_some(), first <= last);
        }
    }
}
