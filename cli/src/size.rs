//! Numbers of bytes for people.

use std::fmt;

/// Bytes in decimal units with three digits: `999 B`, `1.25 GB`, `206 MB`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] = [
            (1_000_000_000_000_000, "PB"),
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1_000, "kB"),
        ];
        let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| self.0 >= *unit) else {
            return write!(f, "{} B", self.0);
        };
        let (whole, rest) = (self.0 / unit, self.0 % unit);
        match whole {
            0..10 => write!(f, "{whole}.{:02} {name}", rest / (unit / 100)),
            10..100 => write!(f, "{whole}.{} {name}", rest / (unit / 10)),
            _ => write!(f, "{whole} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_are_never_rounded_up() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (1_999_999, "1.99 MB"),
            (12_345_678, "12.3 MB"),
            (206_000_000, "206 MB"),
            (999_999_999, "999 MB"),
            (u64::MAX, "18446 PB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
