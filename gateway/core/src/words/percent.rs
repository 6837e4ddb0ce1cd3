//! Shares as people write them: `50%`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A share in whole percent, such as `50%`; 0% to 100%. The sign is needed: `0.5` and `50` would
/// be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PercentVisitor)
    }
}

struct PercentVisitor;

impl Visitor<'_> for PercentVisitor {
    type Value = Percent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share such as `50%`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Percent, E> {
        let digits = text.strip_suffix('%');
        let is_plain = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let percent = digits.filter(is_plain).and_then(|it| it.parse().ok());
        percent
            .filter(|percent| *percent <= 100)
            .map(Percent)
            .ok_or_else(|| {
                E::custom(format_args!(
                    "`{text}` is not a share; write whole percent from `0%` to `100%`, such as `50%`"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_whole_percent_with_its_sign() {
        for (json, percent) in [
            ("\"0%\"", Some(0)),
            ("\"50%\"", Some(50)),
            ("\"100%\"", Some(100)),
            ("\"101%\"", None),
            ("\"-1%\"", None),
            ("\"+1%\"", None),
            ("\"0.5%\"", None),
            ("\"50\"", None),
            ("\"%\"", None),
            ("\"99999999999%\"", None),
            ("50", None),
        ] {
            let read = serde_json::from_str::<Percent>(json).ok();
            assert_eq!(read, percent.map(Percent), "{json}");
        }
    }
}
