//! Quantities as people write them: `1h30m`, `64KiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use thiserror::Error;

/// The longest duration a file may name: 30 days.
///
/// Beyond it the months and years of varying length begin; nothing that waits
/// or expires in a gateway comes near.
pub const MAX_DURATION: Duration = Duration::from_hours(30 * 24);

/// The largest size a file may name: 1 TiB.
pub const MAX_BYTES: u64 = 1 << 40;

/// Why text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// A number that does not say of what.
    #[error("`{0}` has no unit; write it with one, such as `10s` or `250ms`")]
    NoUnit(String),
    /// Not a duration at all.
    #[error("`{0}` is not a duration; write whole numbers with ms, s, m, h or d, such as `1m30s`")]
    NotDuration(String),
    /// Longer than [`MAX_DURATION`].
    #[error("`{0}` is longer than 30 days; write a shorter duration, such as `24h`")]
    TooLong(String),
    /// Not a size at all.
    #[error(
        "`{0}` is not a size; write a whole number of bytes, or with KiB, MiB, GiB, kB, MB or GB, \
         such as `64KiB`"
    )]
    NotSize(String),
    /// Larger than [`MAX_BYTES`].
    #[error("`{0}` is larger than 1 TiB; write a smaller size, such as `1MiB`")]
    TooLarge(String),
}

/// A duration such as `250ms`, `10s` or `1h30m`.
///
/// Whole numbers with the units ms, s, m, h and d, largest first or not, with
/// or without spaces; 0 to 30 days. A number without a unit is refused, for
/// nobody remembers which unit is meant. Whether zero makes sense is for the
/// option to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let quoted = || shorten(text);
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(UnitError::NoUnit(quoted()));
        }
        // humantime also knows `M` for months, a slip away from `m`, and
        // fractions, which need not come out even.
        let mut units = text.split(|c: char| !c.is_ascii_alphabetic());
        let is_known = |unit: &str| matches!(unit, "" | "ms" | "s" | "m" | "h" | "d");
        if !text.is_ascii() || text.contains('.') || !units.all(is_known) {
            return Err(UnitError::NotDuration(quoted()));
        }
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= MAX_DURATION => Ok(Self(duration)),
            Ok(_) | Err(humantime::DurationError::NumberOverflow) => {
                Err(UnitError::TooLong(quoted()))
            }
            Err(_) => Err(UnitError::NotDuration(quoted())),
        }
    }
}

impl fmt::Display for HumanDuration {
    /// The shortest text that parses to the same duration; what is below a
    /// millisecond is cut off.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 5] = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
            (1, "ms"),
        ];
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (size, unit) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Quantity::new("a duration such as `10s`"))
    }
}

/// A number of bytes such as `64KiB`, `10MB` or `4096`.
///
/// A whole number of bytes, or with a unit: KiB, MiB, GiB (powers of 1024) or
/// kB, MB, GB (powers of 1000), in any case, `B` alone too; 0 to 1 TiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Units of [`ByteSize`], the largest first.
const BYTE_UNITS: [(u64, &str); 7] = [
    (1 << 30, "GiB"),
    (1_000_000_000, "GB"),
    (1 << 20, "MiB"),
    (1_000_000, "MB"),
    (1 << 10, "KiB"),
    (1_000, "kB"),
    (1, "B"),
];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let end = text.find(|c: char| !c.is_ascii_digit());
        let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
        let unit = match unit.trim_start() {
            "" => "B",
            unit => unit,
        };
        let known = BYTE_UNITS.iter();
        let size = known
            .clone()
            .find(|(_, name)| unit.eq_ignore_ascii_case(name));
        let Some((size, _)) = size.filter(|_| !digits.is_empty()) else {
            return Err(UnitError::NotSize(shorten(text)));
        };
        let number = digits.parse::<u64>().ok();
        match number.and_then(|number| number.checked_mul(*size)) {
            Some(bytes) if bytes <= MAX_BYTES => Ok(Self(bytes)),
            _ => Err(UnitError::TooLarge(shorten(text))),
        }
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(size, _): &&(u64, &str)| self.0 != 0 && self.0.is_multiple_of(*size);
        match BYTE_UNITS.iter().find(whole) {
            Some((size, unit)) => write!(f, "{}{unit}", self.0 / size),
            None => f.write_str("0B"),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Quantity::new("a size such as `64KiB`"))
    }
}

/// Parses the text of a quantity. Our decoder hands plain numbers over as
/// text too, so that `10` and `10s` meet the same parser.
struct Quantity<T> {
    expected: &'static str,
    quantity: std::marker::PhantomData<T>,
}

impl<T> Quantity<T> {
    fn new(expected: &'static str) -> Self {
        Self {
            expected,
            quantity: std::marker::PhantomData,
        }
    }
}

impl<T: FromStr<Err = UnitError>> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// At most 40 characters of what was written, for a message.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ByteSize, HumanDuration, MAX_BYTES, MAX_DURATION};

    #[test]
    fn durations_are_whole_numbers_with_units() {
        for (text, millis, shown) in [
            ("0s", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("10s", 10_000, "10s"),
            ("90s", 90_000, "1m30s"),
            ("1m", 60_000, "1m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("24h", 86_400_000, "1d"),
            ("30d", 2_592_000_000, "30d"),
        ] {
            let duration: HumanDuration = text.parse().expect(text);
            assert_eq!(duration.0, Duration::from_millis(millis), "{text}");
            assert_eq!(duration.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(duration), "{text}");
        }
        assert_eq!("30d".parse(), Ok(HumanDuration(MAX_DURATION)));
    }

    #[test]
    fn bad_durations_name_the_remedy() {
        for (text, message) in [
            ("10", "`10` has no unit"),
            ("", "`` is not a duration"),
            ("s", "`s` is not a duration"),
            ("10x", "`10x` is not a duration"),
            ("1M", "`1M` is not a duration"),
            ("-1s", "`-1s` is not a duration"),
            ("1.5s", "`1.5s` is not a duration"),
            ("31d", "`31d` is longer than 30 days"),
            ("99999999999999999999d", "`99999999999999999999d` is longer"),
            ("10µs", "`10µs` is not a duration"),
        ] {
            let error = text.parse::<HumanDuration>().expect_err(text).to_string();
            assert!(error.starts_with(message), "{text}: {error}");
            assert!(error.contains("; write "), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_powers_of_1000_and_1024() {
        for (text, bytes, shown) in [
            ("0", 0, "0B"),
            ("4096", 4096, "4KiB"),
            ("1001", 1001, "1001B"),
            ("64KiB", 65_536, "64KiB"),
            ("64 kib", 65_536, "64KiB"),
            ("1MiB", 1_048_576, "1MiB"),
            ("10MB", 10_000_000, "10MB"),
            ("2000KB", 2_000_000, "2MB"),
            ("1GiB", 1 << 30, "1GiB"),
            ("1024GiB", MAX_BYTES, "1024GiB"),
        ] {
            let size: ByteSize = text.parse().expect(text);
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(size), "{text}");
        }
    }

    #[test]
    fn bad_sizes_name_the_remedy() {
        for (text, message) in [
            ("", "`` is not a size"),
            ("MiB", "`MiB` is not a size"),
            ("-1", "`-1` is not a size"),
            ("1.5MiB", "`1.5MiB` is not a size"),
            ("1K", "`1K` is not a size"),
            ("1025GiB", "`1025GiB` is larger than 1 TiB"),
            ("99999999999999999999", "`99999999999999999999` is larger"),
        ] {
            let error = text.parse::<ByteSize>().expect_err(text).to_string();
            assert!(error.starts_with(message), "{text}: {error}");
            assert!(error.contains("; write "), "{text}: {error}");
        }
    }
}
