//! `internal_identity:` the gateway's own tokens for upstreams; see `docs/internal-identity.md`.

use std::time::Duration;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::RoutesFile;
use super::auth::RESERVED_HEADERS;
use super::compile::Checker;
use super::routes::RespondSpec;
use crate::config::join;
use crate::identity::InternalIdentity;
use crate::plan::NameSet;
use crate::words::units::HumanDuration;

/// The gateway's own tokens, as written. An upstream that says `identity: AUDIENCE` gets one with
/// each request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InternalIdentitySpec {
    /// The tokens' `iss`; default `gateway`.
    pub issuer: Option<String>,
    /// How long a token holds, 5 s to 10 m; default 60 s.
    pub lifetime: Option<HumanDuration>,
    /// How long one key signs, 1 m to 30 d and at least `lifetime`; default 24 h.
    pub rotation: Option<HumanDuration>,
    /// The header that carries the token; default `x-gateway-token`. A client's own never goes
    /// upstream, on any route.
    pub header: Option<String>,
}

const ISSUER: &str = "gateway";
const HEADER: &str = "x-gateway-token";
const LIFETIME: Duration = Duration::from_mins(1);
const LIFETIME_MIN: Duration = Duration::from_secs(5);
const LIFETIME_MAX: Duration = Duration::from_mins(10);
const ROTATION: Duration = Duration::from_hours(24);
const ROTATION_MIN: Duration = Duration::from_mins(1);
const ROTATION_MAX: Duration = Duration::from_hours(30 * 24);
/// Bytes of an issuer or an audience: they are in every token.
const NAME_BYTES_MAX: usize = 256;

const SECTION: &str = "internal_identity";

impl InternalIdentitySpec {
    /// `taken` are the headers that routes make of claims.
    pub(super) fn compile(&self, taken: &NameSet, check: &mut Checker<'_>) -> InternalIdentity {
        let at = |key| join(SECTION, key);
        let issuer = self.issuer.as_deref().unwrap_or(ISSUER);
        check_name(&at("issuer"), issuer, check);
        let lifetime = check.duration(
            at("lifetime"),
            self.lifetime,
            LIFETIME,
            LIFETIME_MIN..=LIFETIME_MAX,
        );
        let rotation = check.duration(
            at("rotation"),
            self.rotation,
            ROTATION,
            ROTATION_MIN..=ROTATION_MAX,
        );
        if rotation < lifetime && rotation >= ROTATION_MIN && lifetime <= LIFETIME_MAX {
            check.problem(
                at("rotation"),
                "a key would be replaced before its first token has ended",
                Some("make `rotation` as long as `lifetime`, or longer".into()),
            );
        }
        InternalIdentity {
            issuer: issuer.into(),
            // Dates in tokens are whole seconds.
            lifetime: Duration::from_secs(lifetime.as_secs()),
            rotation,
            header: self.header(taken, check),
        }
    }

    fn header(&self, taken: &NameSet, check: &mut Checker<'_>) -> HeaderName {
        let place = join(SECTION, "header");
        let written = self.header.as_deref().unwrap_or(HEADER);
        let help = "choose a name of your own, such as `x-gateway-token`";
        let Ok(name) = written.parse::<HeaderName>() else {
            check.problem(
                place,
                format!("`{written}` is not a header name"),
                Some(help.into()),
            );
            return HeaderName::from_static(HEADER);
        };
        let read_as = name.as_str().replace('_', "-");
        if RESERVED_HEADERS.contains(&read_as.as_str()) {
            check.problem(
                place,
                format!("the header `{written}` cannot carry the gateway's token"),
                Some(help.into()),
            );
        } else if taken.covers(&name) {
            check.problem(
                place,
                format!("the header `{written}` carries a claim on some route already"),
                Some("give the claim or `internal_identity` a header of its own".into()),
            );
        }
        name
    }
}

/// Checks the section against what uses it, in both directions.
pub(super) fn check_uses(file: &RoutesFile, check: &mut Checker<'_>) {
    // A section that could not be read is there all the same.
    let is_there = file.internal_identity.is_some() || !check.is_sound(SECTION);
    let mut uses = 0;
    for (name, upstream) in &file.upstreams {
        if upstream.identity.is_some() {
            uses += 1;
            let place = join(&join("upstreams", name), "identity");
            needs_section(is_there, place, check);
        }
    }
    for (index, route) in file.routes.iter().enumerate() {
        if let Some(RespondSpec::InternalJwks) = route.respond {
            needs_section(is_there, format!("routes[{index}].respond"), check);
        }
    }
    if is_there && uses == 0 && check.is_sound("upstreams") {
        check.problem(
            SECTION,
            "no upstream gets the gateway's tokens",
            Some("give an upstream `identity: AUDIENCE`, or remove this section".into()),
        );
    }
}

/// The audience of an upstream's tokens.
pub(super) fn audience(
    written: Option<&String>,
    at: &str,
    check: &mut Checker<'_>,
) -> Option<Box<str>> {
    let audience = written?;
    check_name(&join(at, "identity"), audience, check);
    Some(audience.as_str().into())
}

fn needs_section(is_there: bool, place: String, check: &mut Checker<'_>) {
    if !is_there {
        check.problem(
            place,
            format!("there is no section `{SECTION}`"),
            Some(format!("add `{SECTION}: {{}}` to the file")),
        );
    }
}

fn check_name(place: &str, name: &str, check: &mut Checker<'_>) {
    check.not_empty(place, name, "write a name, such as `users`");
    if name.len() > NAME_BYTES_MAX {
        check.problem(
            place,
            format!(
                "a name of {} bytes is longer than {NAME_BYTES_MAX}",
                name.len()
            ),
            Some("choose a shorter one: it is in every token".into()),
        );
    }
}
