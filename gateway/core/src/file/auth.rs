//! `auth:` of a route: who may use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Network;
use super::compile::{Checker, Names};
use crate::auth::claims::{ClaimRule, IdentityHeaders, Requirements, ScopeRule};
use crate::auth::{Auth, Credential, Policy};
use crate::config::{TextOr, item, join};

/// Who may use a route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(from = "TextOr<Open, CallerSpec>")]
pub enum AuthSpec {
    /// Everybody.
    Open,
    /// Callers who show something.
    Callers(Box<CallerSpec>),
}

/// The word for a route that everybody may use.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    /// Everybody.
    None,
}

impl From<TextOr<Open, CallerSpec>> for AuthSpec {
    fn from(written: TextOr<Open, CallerSpec>) -> Self {
        match written {
            TextOr::Text(Open::None) => Self::Open,
            TextOr::Other(spec) => Self::Callers(Box::new(spec)),
        }
    }
}

/// What callers must show: exactly one of `jwt`, `api_key`, `network` and `any`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerSpec {
    /// A token of this provider, or of one of these: of the one whose issuer it names.
    #[serde(default)]
    pub jwt: Option<TextOr<String, Vec<String>>>,
    /// A key of this list.
    #[serde(default)]
    pub api_key: Option<String>,
    /// Nothing, but from one of these networks.
    #[serde(default)]
    pub network: Option<Vec<Network>>,
    /// One of these, up to 16, in this order; the first that lets a request in says what the
    /// upstream is told.
    #[serde(default)]
    pub any: Option<Vec<CallerSpec>>,
    /// What must hold beside.
    #[serde(default)]
    pub require: RequireSpec,
    /// Claims that the upstream gets as headers, by the claim's path. The client's own copies
    /// of these headers never go upstream, on any route.
    #[serde(default)]
    pub claims_to_headers: BTreeMap<String, String>,
    /// A header that gets all claims, as a JSON object in base64url; none by default.
    #[serde(default)]
    pub payload_to_header: Option<String>,
    /// Whether the credential goes on to the upstream; default true for `jwt`, false for
    /// `api_key`.
    #[serde(default)]
    pub forward_credential: Option<bool>,
}

/// What must hold beside the credential.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequireSpec {
    /// Scopes the caller must have.
    pub scopes: ScopeRule,
    /// Rules on claims, by the claim's path: its name, or names joined with dots.
    pub claims: BTreeMap<String, ClaimRule>,
    /// Networks, one of which the client must be in.
    pub network: Option<Vec<Network>>,
}

/// Ways to be let in, on one route.
const ALTERNATIVES_MAX: usize = 16;
/// Providers of one policy.
const PROVIDERS_MAX: usize = 16;

/// Headers that carry no claim and no API key: they steer the message or the gateway itself.
pub(super) const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "b3",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "grpc-timeout",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-deadline",
    "x-request-id",
];

impl AuthSpec {
    pub(super) fn compile(&self, at: &str, names: &Names<'_>, check: &mut Checker<'_>) -> Auth {
        let spec = match self {
            AuthSpec::Open => return Auth::Open,
            AuthSpec::Callers(spec) => spec,
        };
        let Some(any) = &spec.any else {
            return Auth::AnyOf(spec.compile(at, names, check).into_iter().collect());
        };
        spec.check_only_any(at, check);
        let at = join(at, "any");
        if !(1..=ALTERNATIVES_MAX).contains(&any.len()) {
            check.problem(
                &at,
                format!("{} ways to be let in", any.len()),
                Some(format!("list 1 to {ALTERNATIVES_MAX}")),
            );
        }
        let policies = any.iter().enumerate().filter_map(|(index, spec)| {
            let at = item(&at, index);
            if spec.any.is_some() {
                let help = "list all ways side by side in the outer one";
                check.problem(join(&at, "any"), "`any` within `any`", Some(help.into()));
                return None;
            }
            spec.compile(&at, names, check)
        });
        Auth::AnyOf(policies.collect())
    }
}

impl CallerSpec {
    /// Beside `any` nothing else may stand: it would be unclear for which of them it holds.
    fn check_only_any(&self, at: &str, check: &mut Checker<'_>) {
        let beside = [
            ("jwt", self.jwt.is_some()),
            ("api_key", self.api_key.is_some()),
            ("network", self.network.is_some()),
            ("require", self.require != RequireSpec::default()),
            ("claims_to_headers", !self.claims_to_headers.is_empty()),
            ("payload_to_header", self.payload_to_header.is_some()),
            ("forward_credential", self.forward_credential.is_some()),
        ];
        for (key, is_there) in beside {
            if is_there {
                check.problem(
                    join(at, key),
                    format!("`{key}` beside `any`"),
                    Some("write it within each item of `any` that it is meant for".into()),
                );
            }
        }
    }

    fn compile(&self, at: &str, names: &Names<'_>, check: &mut Checker<'_>) -> Option<Policy> {
        let credential = self.credential(at, names, check)?;
        let mut networks = self.network.as_deref().unwrap_or_default().to_vec();
        if let Some(network) = &self.network {
            check_network(network, &join(at, "network"), check);
        }
        if let Some(network) = &self.require.network {
            check_network(network, &join(&join(at, "require"), "network"), check);
            networks.extend(network);
        }
        let requirements = Requirements {
            scopes: self.require.scopes.clone(),
            claims: self.require.claims.clone(),
        };
        let withheld = match credential {
            Credential::Jwt(ref providers) if self.forward_credential == Some(false) => {
                names.places(providers)
            }
            Credential::ApiKey(list) if self.forward_credential != Some(true) => {
                names.key_place(list).into_iter().collect()
            }
            _ => Vec::new(),
        };
        Some(Policy {
            // Given when all policies are known.
            id: 0,
            credential,
            networks: networks.iter().map(|network| network.0).collect(),
            requirements,
            identity: self.identity(at, check),
            withheld: Arc::from(withheld),
        })
    }

    fn credential(
        &self,
        at: &str,
        names: &Names<'_>,
        check: &mut Checker<'_>,
    ) -> Option<Credential> {
        match (&self.jwt, &self.api_key, &self.network) {
            (Some(jwt), None, None) => Some(Credential::Jwt(providers(jwt, at, names, check))),
            (None, Some(name), None) => {
                let known = names.api_keys.iter().copied();
                let list = check.name(join(at, "api_key"), "api_keys", name, known);
                Some(Credential::ApiKey(list.unwrap_or_default()))
            }
            (None, None, Some(_)) => {
                self.check_nobody(at, check);
                Some(Credential::Network)
            }
            (None, None, None) => {
                let help = "say who may use the route, such as `{jwt: PROVIDER}`, or write \
                            `auth: none` to let everybody in";
                check.problem(at, "`auth` asks for nothing", Some(help.into()));
                None
            }
            _ => {
                let help = "to accept one of several, list them within `any`; to ask for a \
                            network too, write it under `require`";
                let message = "`jwt`, `api_key` and `network` exclude each other";
                check.problem(at, message, Some(help.into()));
                None
            }
        }
    }

    /// An address has no claims.
    fn check_nobody(&self, at: &str, check: &mut Checker<'_>) {
        let wants = [
            ("require", self.require != RequireSpec::default()),
            ("claims_to_headers", !self.claims_to_headers.is_empty()),
            ("payload_to_header", self.payload_to_header.is_some()),
            ("forward_credential", self.forward_credential.is_some()),
        ];
        for (key, is_there) in wants {
            if is_there {
                let help = "remove it, or ask for a credential and put the network under `require`";
                check.problem(
                    join(at, key),
                    format!("`{key}` where only the network counts"),
                    Some(help.into()),
                );
            }
        }
    }

    fn identity(&self, at: &str, check: &mut Checker<'_>) -> IdentityHeaders {
        let mut taken = Vec::with_capacity(self.claims_to_headers.len());
        let place = join(at, "claims_to_headers");
        for (claim, header) in &self.claims_to_headers {
            let place = join(&place, claim);
            if let Some(name) = identity_header(header, &place, &taken, check) {
                taken.push((claim.clone(), name));
            }
        }
        let payload = self.payload_to_header.as_ref().and_then(|header| {
            identity_header(header, &join(at, "payload_to_header"), &taken, check)
        });
        IdentityHeaders {
            claims: taken,
            payload,
        }
    }
}

fn check_network(networks: &[Network], at: &str, check: &mut Checker<'_>) {
    if networks.is_empty() {
        let help = "name at least one, such as `[10.0.0.0/8]`";
        check.problem(at, "the list of networks is empty", Some(help.into()));
    }
}

fn providers(
    written: &TextOr<String, Vec<String>>,
    at: &str,
    names: &Names<'_>,
    check: &mut Checker<'_>,
) -> Vec<usize> {
    let at = join(at, "jwt");
    let known = || names.providers.iter().copied();
    let list = match written {
        TextOr::Text(name) => {
            let index = check.name(at, "jwt_providers", name, known());
            return vec![index.unwrap_or_default()];
        }
        TextOr::Other(list) => list,
    };
    if !(1..=PROVIDERS_MAX).contains(&list.len()) {
        let help = format!("name 1 to {PROVIDERS_MAX} of them");
        check.problem(&at, format!("{} providers", list.len()), Some(help));
    }
    let indices = list.iter().enumerate().map(|(index, name)| {
        let place = item(&at, index);
        if list[..index].contains(name) {
            let help = "remove one of the two";
            check.problem(&place, format!("`{name}` comes twice"), Some(help.into()));
        }
        let index = check.name(place, "jwt_providers", name, known());
        index.unwrap_or_default()
    });
    indices.collect()
}

/// A header that tells the upstream of the caller, where it can.
fn identity_header(
    header: &str,
    at: &str,
    taken: &[(String, HeaderName)],
    check: &mut Checker<'_>,
) -> Option<HeaderName> {
    let Ok(name) = header.parse::<HeaderName>() else {
        check.problem(
            at,
            format!("`{header}` is not a header name"),
            Some("use letters, digits and `-`, such as `x-user-id`".into()),
        );
        return None;
    };
    // Some servers make no difference between `_` and `-` (RFC 3875 section 4.1.18).
    let read_as = name.as_str().replace('_', "-");
    let is_same = |(_, other): &&(String, HeaderName)| read_as == other.as_str().replace('_', "-");
    if RESERVED_HEADERS.contains(&read_as.as_str()) {
        check.problem(
            at,
            format!("the header `{header}` cannot carry a claim"),
            Some("choose a name of your own, such as `x-user-id`".into()),
        );
        return None;
    }
    if let Some((other, _)) = taken.iter().find(is_same) {
        check.problem(
            at,
            format!("the header `{header}` carries the claim `{other}` already"),
            Some("give each claim a header of its own".into()),
        );
        return None;
    }
    Some(name)
}
