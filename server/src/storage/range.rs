//! Parts of objects.

use std::ops::Range;

/// Which part of an object is wanted, as an HTTP range says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ByteRange {
    /// All of it.
    Whole,
    /// From this byte to the end.
    From(u64),
    /// From the first to the last byte named, both included; the last may lie behind the end.
    Between(u64, u64),
    /// The last so many bytes.
    Suffix(u64),
}

impl ByteRange {
    /// The bytes of an object of that size; `None` where the range lies outside.
    #[must_use]
    pub fn within(self, size: u64) -> Option<Range<u64>> {
        match self {
            Self::Whole => Some(0..size),
            Self::From(first) => (first < size).then_some(first..size),
            Self::Between(first, last) => {
                (first <= last && first < size).then(|| first..size.min(last.saturating_add(1)))
            }
            Self::Suffix(count) => (count > 0 && size > 0).then(|| size.saturating_sub(count)..size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_is_cut_to_the_object() {
        assert_eq!(ByteRange::Between(2, 100).within(10), Some(2..10));
        assert_eq!(ByteRange::Between(0, 0).within(10), Some(0..1));
        assert_eq!(ByteRange::From(9).within(10), Some(9..10));
        assert_eq!(ByteRange::Suffix(3).within(10), Some(7..10));
        assert_eq!(ByteRange::Suffix(30).within(10), Some(0..10));
        assert_eq!(ByteRange::Whole.within(0), Some(0..0));
    }

    #[test]
    fn a_range_outside_the_object_is_none() {
        for range in [ByteRange::From(10), ByteRange::Between(10, 12), ByteRange::Between(5, 4), ByteRange::Suffix(0)] {
            assert_eq!(range.within(10), None, "{range:?}");
        }
        assert_eq!(ByteRange::Suffix(1).within(0), None);
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_object(first: u64, last: u64, size: u64) {
            for range in [ByteRange::From(first), ByteRange::Between(first, last), ByteRange::Suffix(last)] {
                if let Some(found) = range.within(size) {
                    prop_assert!(found.start < found.end && found.end <= size);
                }
            }
        }
    }
}
