//! Kubernetes quantities as numbers, so that `1Gi` and `1024Mi` are the same.

/// A quantity in units of 10⁻⁹, or nothing when `text` isn't one (or is beyond any that a cluster has).
#[must_use]
pub fn nanos(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let value = match suffix {
        "Ki" => scaled(digits.checked_mul(1 << 10)?, 9 - places),
        "Mi" => scaled(digits.checked_mul(1 << 20)?, 9 - places),
        "Gi" => scaled(digits.checked_mul(1 << 30)?, 9 - places),
        "Ti" => scaled(digits.checked_mul(1 << 40)?, 9 - places),
        "Pi" => scaled(digits.checked_mul(1 << 50)?, 9 - places),
        "Ei" => scaled(digits.checked_mul(1 << 60)?, 9 - places),
        _ => scaled(digits, decimal_exponent(suffix)? + 9 - places),
    }?;
    Some(if negative { -value } else { value })
}

/// A quantity of bytes, rounded up to whole ones; nothing when `text` isn't one, is negative, or beyond 2⁶⁴.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let nanos = nanos(text).filter(|nanos| *nanos >= 0)?;
    u64::try_from(nanos.checked_add(999_999_999)? / 1_000_000_000).ok()
}

fn decimal_exponent(suffix: &str) -> Option<i32> {
    Some(match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-30..=30).contains(&exponent).then_some(exponent)?
        }
    })
}

/// `value · 10^exponent`; what is below one unit is rounded up, as the API server does.
fn scaled(value: i128, exponent: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    if exponent >= 0 { value.checked_mul(power) } else { Some(value.checked_add(power - 1)? / power) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_is_the_same_number_however_it_is_written() {
        for (one, other) in [
            ("1Gi", "1024Mi"),
            ("1", "1000m"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("12E6", "12M"),
            ("2.0", "2"),
            ("100n", "0.1u"),
        ] {
            assert_eq!(nanos(one), nanos(other), "{one} {other}");
            assert!(nanos(one).is_some());
        }
        assert_ne!(nanos("1G"), nanos("1Gi"));
        assert!(nanos("-1") < nanos("0"));
    }

    #[test]
    fn bytes_are_whole_and_not_negative() {
        assert_eq!(bytes("32Gi"), Some(32 << 30));
        assert_eq!(bytes("1"), Some(1));
        assert_eq!(bytes("1500m"), Some(2));
        assert_eq!(bytes("-1"), None);
        assert_eq!(bytes("17E"), Some(17_000_000_000_000_000_000));
        assert_eq!(bytes("99E"), None);
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "Gi", "abc", "1.2.3", "1Q", "1e", "1e99", "99999999999999999999999999999999999999999"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
