//! `aperture:` how much of a large set of endpoints one worker uses.

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use super::load_balancers::Switch;
use crate::cluster::aperture::ApertureRules;
use crate::config::{TextOr, join};

/// Endpoints that a worker uses at least, where there are as many.
const ENDPOINTS_MIN: u32 = 32;
/// Endpoints, in hundredths of the requests in flight: two requests each, where Finagle's aperture
/// begins to widen by default.
const WIDTH_PERCENT: u32 = 50;

/// Whether a worker uses only a part of a large set: a boolean, or how large a part.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "TextOr<Switch, ApertureSpec>")]
pub struct Aperture(TextOr<Switch, ApertureSpec>);

impl From<TextOr<Switch, ApertureSpec>> for Aperture {
    fn from(written: TextOr<Switch, ApertureSpec>) -> Self {
        Self(written)
    }
}

/// How large a part of a large set of endpoints one worker uses at a time.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApertureSpec {
    /// Endpoints that a worker uses at least, 8 to 100,000; default 32. An upstream that has no more
    /// than this is used whole by everybody.
    pub min_endpoints: Option<u32>,
    /// Endpoints that a worker uses, as a percentage of the requests that it has in flight to this
    /// upstream, 10 to 10,000; default 50: two requests each.
    pub width_percent: Option<u32>,
}

impl Aperture {
    /// What `aperture` says, or the rules where it says nothing.
    pub(super) fn compile(
        written: Option<&Self>,
        at: &str,
        check: &mut Checker<'_>,
    ) -> Option<ApertureRules> {
        let spec = match written.map(|aperture| &aperture.0) {
            Some(TextOr::Text(Switch::Off)) => return None,
            Some(TextOr::Text(Switch::On)) | None => &ApertureSpec::default(),
            Some(TextOr::Other(spec)) => spec,
        };
        let at = join(at, "aperture");
        let endpoints_min = spec.min_endpoints.unwrap_or(ENDPOINTS_MIN);
        let range = 8..=100_000;
        check.range(join(&at, "min_endpoints"), endpoints_min.into(), range);
        let width_percent = spec.width_percent.unwrap_or(WIDTH_PERCENT);
        let range = 10..=10_000;
        check.range(join(&at, "width_percent"), width_percent.into(), range);
        Some(ApertureRules {
            endpoints_min,
            width_percent,
        })
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self.0, TextOr::Text(Switch::Off))
    }
}
