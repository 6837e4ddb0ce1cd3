//! `aperture:` how much of a large set of endpoints one worker uses.

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use super::load_balancers::Switch;
use crate::cluster::aperture::ApertureRules;
use crate::config::{TextOr, join};

/// Endpoints that a worker uses at least, where there are as many.
const ENDPOINTS_MIN: u32 = 32;
/// Endpoints for each request in flight.
const ENDPOINTS_PER_REQUEST: u32 = 1;

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
    /// Endpoints for each request that the worker has in flight to this upstream, 1 to 100;
    /// default 1.
    pub endpoints_per_request: Option<u32>,
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
        let per_request = spec.endpoints_per_request.unwrap_or(ENDPOINTS_PER_REQUEST);
        let range = 1..=100;
        check.range(
            join(&at, "endpoints_per_request"),
            per_request.into(),
            range,
        );
        Some(ApertureRules {
            endpoints_min,
            endpoints_per_request: per_request,
        })
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self.0, TextOr::Text(Switch::Off))
    }
}
