//! How large the parts of a multipart upload are.

/// Bytes of the first parts, and of what is written in one piece. The protocol asks for 5 MiB at least.
pub(super) const PART: usize = 8 << 20;

/// Most parts that the protocol allows.
pub(super) const MOST_PARTS: usize = 10_000;

/// Bytes of the part of that number, from 1. Parts grow, so that those of the usual layer are small in memory and
/// [`MOST_PARTS`] of them still hold the largest.
pub(super) fn part_size(number: usize) -> usize {
    match number {
        0..=4_000 => PART,
        4_001..=6_000 => 2 * PART,
        6_001..=8_000 => 4 * PART,
        _ => 8 * PART,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_that_are_allowed_hold_more_than_32_gib() {
        let most: usize = (1..=MOST_PARTS).map(part_size).sum();
        assert!(most > 200 << 30, "{most}");
        assert_eq!((part_size(1), part_size(MOST_PARTS)), (8 << 20, 64 << 20));
    }
}
