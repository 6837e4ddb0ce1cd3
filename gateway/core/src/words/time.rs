//! Time as an argument: the core reads no clock.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use thiserror::Error;

/// Seconds since 1970-01-01T00:00:00Z, as `NumericDate` of RFC 7519 section 2 has them.
pub type UnixSeconds = u64;

/// Milliseconds on a clock that never goes back; its origin means nothing.
pub type Millis = u64;

/// The last second of the year 9999, after which RFC 3339 ends.
pub const UNIX_SECONDS_MAX: UnixSeconds = 253_402_300_799;

/// Numbers below are no date that anybody means, but slips such as `20270131`: this is
/// 2001-09-09T01:46:40Z.
const UNIX_SECONDS_MIN: UnixSeconds = 1_000_000_000;

/// A second of civil time, as people and programs write it.
///
/// A date-time of RFC 3339 in UTC (`2027-01-31T12:00:00Z`; fractions are cut off), a date
/// (`2027-01-31`: its first second, in UTC), or, where a file has a number, seconds since 1970
/// from 1,000,000,000 on. Up to the end of the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub UnixSeconds);

/// Why text is not a date.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DateError {
    /// Not a date, or one that no calendar has.
    #[error("this is no date; write one in UTC, such as `2027-01-31` or `2027-01-31T12:00:00Z`")]
    NotDate,
    /// A number that is no second from 2001 to 9999.
    #[error(
        "`{0}` is no date in seconds since 1970; write one in UTC, such as `2027-01-31`, or seconds \
         (not milliseconds)"
    )]
    NotSeconds(u64),
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let written = match text.len() {
            10 => &format!("{text}T00:00:00Z"),
            _ => text,
        };
        // humantime lets a few letters after the seconds pass.
        let rest = written.get(19..).ok_or(DateError::NotDate)?;
        let zone = rest.strip_prefix('.').map_or(rest, |fraction| {
            fraction.trim_start_matches(|c: char| c.is_ascii_digit())
        });
        if !matches!(zone, "Z" | "+00:00") {
            return Err(DateError::NotDate);
        }
        let time = humantime::parse_rfc3339(written).map_err(|_| DateError::NotDate)?;
        let since = time.duration_since(UNIX_EPOCH);
        since
            .map(|since| Self(since.as_secs()))
            .map_err(|_| DateError::NotDate)
    }
}

impl fmt::Display for Date {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_secs(self.0.min(UNIX_SECONDS_MAX));
        humantime::format_rfc3339_seconds(time).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DateVisitor)
    }
}

struct DateVisitor;

impl Visitor<'_> for DateVisitor {
    type Value = Date;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a date such as `2027-01-31`")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Date, E> {
        if (UNIX_SECONDS_MIN..=UNIX_SECONDS_MAX).contains(&seconds) {
            return Ok(Date(seconds));
        }
        Err(E::custom(DateError::NotSeconds(seconds)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Date, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_utc() {
        for (text, seconds, shown) in [
            ("2027-01-31", 1_801_353_600, "2027-01-31T00:00:00Z"),
            (
                "2027-01-31T12:00:01Z",
                1_801_396_801,
                "2027-01-31T12:00:01Z",
            ),
            (
                "2027-01-31T12:00:01.9Z",
                1_801_396_801,
                "2027-01-31T12:00:01Z",
            ),
            (
                "2027-01-31T12:00:01+00:00",
                1_801_396_801,
                "2027-01-31T12:00:01Z",
            ),
            ("2028-02-29", 1_835_395_200, "2028-02-29T00:00:00Z"),
            ("1970-01-01", 0, "1970-01-01T00:00:00Z"),
            (
                "9999-12-31T23:59:59Z",
                UNIX_SECONDS_MAX,
                "9999-12-31T23:59:59Z",
            ),
        ] {
            assert_eq!(text.parse(), Ok(Date(seconds)), "{text}");
            assert_eq!(Date(seconds).to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_no_calendar_has_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2027-02-29",
            "2027-13-01",
            "2027-00-10",
            "1969-12-31",
            "2027-01-31 12:00:00",
            "2027-01-31T12:00:00",
            "2027-01-31T24:00:00Z",
            "2027-01-31T12:00:00+02:00",
            "2027-01-31T12:00:00ZZ",
            "2027-01-31T12:00:00.x1Z",
            "2027-01-31T12:00Z",
            "27-01-31",
            "2027-1-31",
            "2027-01-31\u{e9}T12:00:00Z",
            "99999-12-31",
        ] {
            assert_eq!(text.parse::<Date>(), Err(DateError::NotDate), "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_and_no_slips() {
        for (json, seconds) in [
            ("1801353600", Some(1_801_353_600)),
            ("1000000000", Some(1_000_000_000)),
            ("253402300799", Some(UNIX_SECONDS_MAX)),
            ("\"2027-01-31\"", Some(1_801_353_600)),
            ("20270131", None),
            ("1801353600000", None),
            ("1801353600.5", None),
            ("-1", None),
            ("\"1801353600\"", None),
            ("true", None),
            ("null", None),
        ] {
            let read = serde_json::from_str::<Date>(json).ok();
            assert_eq!(read, seconds.map(Date), "{json}");
        }
    }
}
