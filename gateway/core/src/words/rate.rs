//! A share of requests, chosen by their trace ids: `10%`, `0.5%`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Parts of all requests.
const PARTS: u32 = 1_000_000;
/// Digits after the point: a part of [`PARTS`] is the smallest share.
const DECIMALS: usize = 4;
/// The bits of a trace id that are random (W3C Trace Context Level 2, section 3.2.2.3: the last
/// seven bytes).
const RANDOM_BITS: u32 = 56;

/// A share of requests, such as `10%` or `0.5%`; 0% to 100%, with at most four decimals. The sign is
/// needed: `0.5` and `50` would be read in two ways.
///
/// It is chosen by trace ids, so that all who look at one trace choose alike: the rule is that of
/// OpenTelemetry's consistent probability sampling, which keeps a trace when its random bits are at
/// least a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u32);

impl Rate {
    /// Every request.
    pub const ALL: Self = Self(PARTS);
    /// No request.
    pub const NONE: Self = Self(0);
    /// One in a hundred.
    pub const ONE_PERCENT: Self = Self(PARTS / 100);

    /// The least value of a trace id's random bits that is kept.
    #[must_use]
    pub fn threshold(self) -> Threshold {
        let share = (u64::from(self.0) << 36) / u64::from(PARTS);
        // 36 bits of the share are exact to a millionth, and nothing overflows.
        Threshold((1 << RANDOM_BITS) - (share << (RANDOM_BITS - 36)))
    }
}

/// From which value of their random bits on traces are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold(u64);

impl Threshold {
    /// Whether a trace is one of those that are kept.
    #[must_use]
    pub fn keeps(self, trace_id: u128) -> bool {
        let random = trace_id & ((1 << RANDOM_BITS) - 1);
        random >= u128::from(self.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = PARTS / 100;
        write!(f, "{}", self.0 / unit)?;
        if !self.0.is_multiple_of(unit) {
            let decimals = format!("{:04}", self.0 % unit);
            write!(f, ".{}", decimals.trim_end_matches('0'))?;
        }
        f.write_str("%")
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share such as `10%`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
        parse(text).ok_or_else(|| {
            E::custom(format_args!(
                "`{text}` is not a share; write percent from `0%` to `100%` with at most \
                 {DECIMALS} decimals, such as `10%` or `0.5%`"
            ))
        })
    }
}

fn parse(text: &str) -> Option<Rate> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > DECIMALS {
        return None;
    }
    let decimals: u32 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
    let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 100)?;
    let parts = whole * (PARTS / 100) + decimals;
    (parts <= PARTS).then_some(Rate(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_percent_with_its_sign() {
        for (text, expected) in [
            ("0%", Some("0%")),
            ("10%", Some("10%")),
            ("100%", Some("100%")),
            ("100.0%", Some("100%")),
            ("0.5%", Some("0.5%")),
            ("0.0001%", Some("0.0001%")),
            ("12.3400%", Some("12.34%")),
            ("100.0001%", None),
            ("101%", None),
            ("0.00001%", None),
            ("-1%", None),
            ("+1%", None),
            ("1.%", None),
            (".5%", None),
            ("10", None),
            ("0.1", None),
            ("%", None),
            ("99999999999%", None),
        ] {
            let shown = parse(text).map(|rate| rate.to_string());
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_threshold_keeps_its_share_of_traces() {
        let seed = 11;
        let mut random = fastrand::Rng::with_seed(seed);
        for (text, expected) in [("0%", 0), ("1%", 1_000), ("25%", 25_000), ("100%", 100_000)] {
            let threshold = parse(text).unwrap().threshold();
            let kept = (0..100_000).filter(|_| threshold.keeps(random.u128(..)));
            let kept = kept.count();
            let off = kept.abs_diff(expected);
            let exact = matches!(expected, 0 | 100_000);
            let allowed = if exact { 0 } else { expected / 8 };
            assert!(off <= allowed, "seed {seed}, {text}: {kept}");
        }
    }

    #[test]
    fn who_keeps_a_tenth_keeps_all_of_a_hundredth() {
        let [tenth, hundredth] = ["10%", "1%"].map(|text| parse(text).unwrap().threshold());
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..10_000 {
            let trace_id = random.u128(..);
            assert!(tenth.keeps(trace_id) || !hundredth.keeps(trace_id));
        }
        // Only the last seven bytes are random in every trace.
        assert!(!tenth.keeps(u128::MAX << 56));
        assert!(hundredth.keeps((1 << 56) - 1));
    }
}
