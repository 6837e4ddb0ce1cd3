//! What `gateway api-key` is told.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use gateway_core::auth::api_keys::KeyId;
use gateway_core::words::time::{Date, UNIX_SECONDS_MAX, UnixSeconds};

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The key's id: 1 to 64 letters, digits and `-`. It is part of the key, and what logs show
    #[arg(long)]
    pub(super) id: KeyId,
    /// A scope that the key carries, such as `users:read`; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(super) scopes: Vec<String>,
    /// When it ends: a time from now (`90d`, `12h`, `52w`) or a date in UTC (`2027-01-31`,
    /// `2027-01-31T12:00:00Z`) [default: never]
    #[arg(long, value_name = "TIME")]
    pub(super) expires: Option<Expires>,
    /// Whom the key speaks for, the claim `sub` [default: the id]. Keys that replace each other
    /// share it
    #[arg(long, value_name = "SUBJECT")]
    pub(super) subject: Option<String>,
    /// A claim for `require` and `claims_to_headers`, as text; may be given several times
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse_attribute)]
    pub(super) attributes: Vec<(String, String)>,
    /// Whose it is, for people who read the file
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// The file of keys to add it to; made if it is not there, readable for its owner alone
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The file of keys
    #[arg(long, value_name = "FILE")]
    pub(super) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The key's id
    #[arg(long)]
    pub(super) id: KeyId,
    /// The file of keys
    #[arg(long, value_name = "FILE")]
    pub(super) file: PathBuf,
}

/// When a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expires {
    At(Date),
    In(Duration),
}

/// Why a key cannot end then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpiresError {
    #[error(
        "this is neither a time from now nor a date; write `90d`, `12h` or `52w`, or a date in \
         UTC, such as `2027-01-31` or `2027-01-31T12:00:00Z`"
    )]
    Malformed,
    #[error("{0} lies in the past; a key that ends then would never be valid")]
    Past(Date),
    #[error("that is after the year 9999; leave `--expires` out for a key without an end")]
    TooLate,
}

impl Expires {
    pub(super) fn after(self, now: UnixSeconds) -> Result<Date, ExpiresError> {
        match self {
            Self::At(date) if date.0 <= now => Err(ExpiresError::Past(date)),
            Self::At(date) => Ok(date),
            Self::In(time) => {
                let end = now.checked_add(time.as_secs());
                let end = end.filter(|end| *end <= UNIX_SECONDS_MAX);
                end.map(Date).ok_or(ExpiresError::TooLate)
            }
        }
    }
}

impl FromStr for Expires {
    type Err = ExpiresError;

    fn from_str(text: &str) -> Result<Self, ExpiresError> {
        if let Ok(date) = text.parse() {
            return Ok(Self::At(date));
        }
        // humantime also knows months (`M`, a slip away from `m`), fractions and units nobody
        // means here.
        let mut units = text.split(|c: char| !c.is_ascii_alphabetic());
        let is_known = |unit: &str| matches!(unit, "" | "m" | "h" | "d" | "w" | "y");
        if text.contains('.') || !units.all(is_known) {
            return Err(ExpiresError::Malformed);
        }
        match humantime::parse_duration(text) {
            Ok(time) if !time.is_zero() => Ok(Self::In(time)),
            Err(humantime::DurationError::NumberOverflow) => Err(ExpiresError::TooLate),
            _ => Err(ExpiresError::Malformed),
        }
    }
}

fn parse_attribute(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write a name, `=` and a value, such as `tenant=a`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = 1_800_000_000;

    fn end(text: &str) -> Result<String, ExpiresError> {
        let end = text.parse::<Expires>().and_then(|end| end.after(NOW));
        end.map(|date| date.to_string())
    }

    #[test]
    fn a_key_ends_some_time_from_now_or_at_a_date() {
        for (text, expected) in [
            ("90d", "2027-04-15T08:00:00Z"),
            ("12h", "2027-01-15T20:00:00Z"),
            ("52w", "2028-01-14T08:00:00Z"),
            ("1d 30m", "2027-01-16T08:30:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ] {
            assert_eq!(end(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, error) in [
            ("", ExpiresError::Malformed),
            ("90", ExpiresError::Malformed),
            ("0d", ExpiresError::Malformed),
            ("3M", ExpiresError::Malformed),
            ("1.5d", ExpiresError::Malformed),
            ("-1d", ExpiresError::Malformed),
            ("soon", ExpiresError::Malformed),
            ("2027-02-30", ExpiresError::Malformed),
            ("2027-01-15", ExpiresError::Past(Date(1_799_971_200))),
            ("9000y", ExpiresError::TooLate),
            ("99999999999999999999d", ExpiresError::TooLate),
        ] {
            assert_eq!(end(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_attribute_is_a_name_and_a_value() {
        for (text, expected) in [
            ("tenant=a", Some(("tenant", "a"))),
            ("a=b=c", Some(("a", "b=c"))),
            ("a=", Some(("a", ""))),
            ("a", None),
            ("=a", None),
        ] {
            let parsed = parse_attribute(text).ok();
            let parsed = parsed.as_ref().map(|(name, value)| (&**name, &**value));
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
