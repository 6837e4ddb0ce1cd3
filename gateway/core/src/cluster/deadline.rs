//! How long an upstream may take, in the two ways in which it is told.

use std::fmt;

/// Digits of a `grpc-timeout`.
const GRPC_DIGITS_MAX: usize = 8;
/// The most that [`GRPC_DIGITS_MAX`] digits say.
const GRPC_VALUE_MAX: u64 = 99_999_999;

/// Milliseconds as `x-request-deadline` has them: a plain decimal number. `None` for all else.
#[must_use]
pub fn parse_millis(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A `grpc-timeout` (gRPC over HTTP/2, "Requests": 1 to 8 digits and one of the units H, M, S, m,
/// u and n), in milliseconds, cut off. `None` where it is none.
#[must_use]
pub fn parse_grpc(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if digits.len() > GRPC_DIGITS_MAX {
        return None;
    }
    let value = parse_millis(digits)?;
    match unit {
        b'H' => Some(value * 3_600_000),
        b'M' => Some(value * 60_000),
        b'S' => Some(value * 1_000),
        b'm' => Some(value),
        b'u' => Some(value / 1_000),
        b'n' => Some(value / 1_000_000),
        _ => None,
    }
}

/// A `grpc-timeout` of this many milliseconds; 99,999,999 at the most, which is beyond all that
/// a route may allow.
#[must_use]
pub fn grpc(millis: u64) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{}m", millis.min(GRPC_VALUE_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts() {
        for (value, expected) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3_000)),
            ("4m", Some(4)),
            ("5000u", Some(5)),
            ("999n", Some(0)),
            ("99999999H", Some(359_999_996_400_000)),
            ("123456789m", None),
            ("m", None),
            ("", None),
            ("5", None),
            ("5x", None),
            ("+5m", None),
            ("-5m", None),
        ] {
            assert_eq!(parse_grpc(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(grpc(1500).to_string(), "1500m");
        assert_eq!(grpc(u64::MAX).to_string(), "99999999m");
    }

    #[test]
    fn milliseconds_are_plain_digits() {
        for (value, expected) in [
            ("0", Some(0)),
            ("1500", Some(1500)),
            ("18446744073709551616", None),
            ("+1", None),
            ("1 ", None),
            ("", None),
        ] {
            assert_eq!(parse_millis(value.as_bytes()), expected, "{value}");
        }
    }
}
