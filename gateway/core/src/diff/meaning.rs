//! What a configuration means, thing by thing and option by option, as text that is the same
//! where the meaning is. It is compared and never shown: it may be a secret.
//!
//! Structures are taken apart without `..`, so that what is new in a plan must be named here.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::Side;
use crate::auth::api_keys::ApiKeyList;
use crate::auth::jwt::Provider;
use crate::auth::{Auth, Credential, Policy};
use crate::cluster::balance::Balancer;
use crate::file::{KeyPlace, KeySource, RouteSpec, Secret, SecretPlace, Settings};
use crate::plan::{Action, Backends, Cluster, Plan, Route};
use crate::route::MatchSpec;

/// One thing: its options, and what each means.
pub(super) struct Thing {
    pub(super) name: Box<str>,
    options: BTreeMap<&'static str, String>,
}

/// The keys of a file that an option stands for, where that is more than the one of its name.
const SEVERAL_KEYS: &[(&str, &[&str])] = &[
    ("source", &["cloud_map", "static", "dns", "file"]),
    ("retries", &["retries"]),
    (
        "load_balancer",
        &["load_balancer", "zone_aware", "slow_start"],
    ),
    ("limits", &["limits"]),
    (
        "keys",
        &[
            "discovery",
            "jwks_uri",
            "jwks_file",
            "jwks",
            "secret",
            "allow_http",
            "refresh_interval",
            "min_refresh_interval",
            "max_refresh_interval",
            "max_stale",
            "unknown_key_wait",
        ],
    ),
];

/// The keys that say an option.
pub(super) fn keys_of(option: &str) -> Vec<&str> {
    let several = SEVERAL_KEYS.iter().find(|(known, _)| *known == option);
    several.map_or_else(|| vec![option], |(_, keys)| keys.to_vec())
}

impl Thing {
    fn new(name: &str, options: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self {
            name: name.into(),
            options: options.into_iter().collect(),
        }
    }

    /// The options that mean something else there.
    pub(super) fn changed_options(&self, other: &Self) -> Vec<&'static str> {
        let options = self.options.iter();
        let changed = options.filter(|(option, text)| other.options.get(*option) != Some(*text));
        changed.map(|(option, _)| *option).collect()
    }
}

/// All things, each section in the order of their names.
pub(super) struct Meaning {
    routes: Vec<Thing>,
    upstreams: Vec<Thing>,
    providers: Vec<Thing>,
    api_keys: Vec<Thing>,
    settings: Vec<Thing>,
}

impl Meaning {
    pub(super) fn of(side: Side<'_>) -> Self {
        let (plan, settings) = (&side.compiled.plan, &side.compiled.settings);
        let written = side.written.routes.iter();
        let routes = plan.routes.iter().zip(written);
        let clusters = plan.clusters.iter().enumerate();
        let providers = plan.providers.iter().enumerate();
        let lists = plan.api_keys.iter().enumerate();
        let mut meaning = Self {
            routes: routes.map(|(it, spec)| route(plan, it, spec)).collect(),
            upstreams: clusters
                .map(|(index, it)| upstream(settings, index, it))
                .collect(),
            providers: providers
                .map(|(index, it)| provider(settings, index, it))
                .collect(),
            api_keys: lists
                .map(|(index, it)| api_keys(settings, index, it))
                .collect(),
            settings: process(plan, settings),
        };
        meaning.routes.sort_by(|a, b| a.name.cmp(&b.name));
        meaning.settings.sort_by(|a, b| a.name.cmp(&b.name));
        meaning
    }

    pub(super) fn sections(&self) -> [(&'static str, &[Thing]); 5] {
        [
            ("routes", &self.routes),
            ("upstreams", &self.upstreams),
            ("jwt_providers", &self.providers),
            ("api_keys", &self.api_keys),
            ("settings", &self.settings),
        ]
    }
}

fn text(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// What a route's options mean, for those who compare more of it.
pub(super) fn route_options(plan: &Plan, route: &Route) -> BTreeMap<&'static str, String> {
    let Route {
        name: _,
        auth,
        action,
        timeout,
        per_try_timeout,
        retries,
        hedge,
        priority,
        body_bytes_max,
        access_log,
        // It follows from the match.
        template: _,
    } = route;
    let (backends, sticky, respond) = action_options(plan, action);
    // What concerns upstreams means nothing where there is none.
    let is_forwarded = matches!(action, Action::Forward(_));
    let forwarding = |text: String| if is_forwarded { text } else { String::new() };
    BTreeMap::from([
        ("auth", auth_text(plan, auth)),
        ("backends", backends),
        ("sticky", sticky),
        ("respond", respond),
        ("timeout", forwarding(text(timeout))),
        ("retries", forwarding(text(&(per_try_timeout, retries)))),
        ("hedge", forwarding(text(hedge))),
        ("priority", forwarding(text(priority))),
        ("max_request_body", text(body_bytes_max)),
        ("access_log", text(access_log)),
    ])
}

fn route(plan: &Plan, route: &Route, written: &RouteSpec) -> Thing {
    let mut options = route_options(plan, route);
    options.insert("match", match_text(&written.r#match));
    Thing::new(&route.name, options)
}

/// Hosts in any case, and lists in any order.
fn match_text(spec: &MatchSpec) -> String {
    let mut spec = spec.clone();
    for host in spec.hosts.iter_mut().flatten() {
        host.make_ascii_lowercase();
    }
    for list in [&mut spec.hosts, &mut spec.methods].into_iter().flatten() {
        list.sort();
    }
    for header in &mut spec.headers {
        header.name.make_ascii_lowercase();
    }
    spec.headers.sort_by(|a, b| a.name.cmp(&b.name));
    spec.query.sort_by(|a, b| a.name.cmp(&b.name));
    text(&spec)
}

fn auth_text(plan: &Plan, auth: &Auth) -> String {
    let policies = auth.policies().iter();
    let policies: Vec<_> = policies.map(|it| policy_text(plan, it)).collect();
    text(&(matches!(auth, Auth::Open), policies))
}

fn policy_text(plan: &Plan, policy: &Policy) -> String {
    let Policy {
        id: _,
        credential,
        networks,
        requirements,
        identity,
        withheld,
    } = policy;
    let credential = credential_text(plan, credential);
    text(&(credential, networks, requirements, identity, withheld))
}

/// What a caller shows, such as `jwt main`.
pub(super) fn credential_text(plan: &Plan, credential: &Credential) -> String {
    match credential {
        Credential::Jwt(indices) => {
            let names = indices.iter().map(|it| &*plan.providers[*it].name);
            let names: Vec<_> = names.collect();
            format!("jwt {}", names.join(", "))
        }
        Credential::ApiKey(index) => format!("api_key {}", plan.api_keys[*index].name),
        Credential::Network => "network".to_owned(),
    }
}

fn action_options(plan: &Plan, action: &Action) -> (String, String, String) {
    let none = String::new;
    match action {
        Action::Forward(backends) => {
            let sticky = text(&backends.sticky());
            (backends_text(plan, backends), sticky, none())
        }
        Action::Respond(fixed) => (none(), none(), text(fixed)),
        Action::RespondKeys => (none(), none(), "keys".to_owned()),
    }
}

/// Names, shares and subsets: `users 90, legacy 10`.
pub(super) fn backends_text(plan: &Plan, backends: &Backends) -> String {
    let all = backends.weighted().map(|(target, weight)| {
        let cluster = &plan.clusters[target.cluster];
        let subset = target.subset.map(|choice| {
            let attributes = cluster.balancer.subsets.get(choice.index);
            let attributes = attributes.map(|it| text(&it.attributes));
            format!(" {} {}", attributes.unwrap_or_default(), choice.or_any)
        });
        format!("{} {weight}{}", cluster.name, subset.unwrap_or_default())
    });
    let all: Vec<_> = all.collect();
    // A share of one backend is all, whatever its number is.
    match all.as_slice() {
        [_] => {
            let only = backends.weighted().map(|(target, _)| target);
            let only = only.map(|it| plan.clusters[it.cluster].name.to_string());
            let only: String = only.collect();
            let subset = all[0].splitn(3, ' ').nth(2).unwrap_or_default();
            format!("{only} {subset}").trim_end().to_owned()
        }
        all => all.join(", "),
    }
}

fn upstream(settings: &Settings, index: usize, cluster: &Cluster) -> Thing {
    let Cluster {
        name,
        balancer,
        connect_timeout,
        limits,
        adaptive,
        // These follow from the routes that use it.
        priorities: _,
        outliers,
        connections,
        identity,
    } = cluster;
    let Balancer {
        policy,
        slow_start,
        zones,
        aperture,
        // These too.
        subsets: _,
    } = balancer;
    Thing::new(
        name,
        [
            ("source", text(&settings.endpoint_sources.get(index))),
            (
                "load_balancer",
                text(&(policy, slow_start, zones, aperture)),
            ),
            ("connect_timeout", text(connect_timeout)),
            ("limits", text(&(limits, adaptive))),
            ("outlier_detection", text(outliers)),
            ("connections", text(connections)),
            ("health_check", text(&settings.health_checks.get(index))),
            ("identity", text(identity)),
        ],
    )
}

fn provider(settings: &Settings, index: usize, provider: &Provider) -> Thing {
    let Provider {
        id: _,
        name,
        issuer,
        audiences,
        audience_claim,
        algorithms,
        token_type,
        places,
        clock_skew_seconds,
        token_bytes_max,
    } = provider;
    let keys = settings.key_sources.get(index).map(keys_text);
    Thing::new(
        name,
        [
            ("issuer", text(issuer)),
            ("audiences", text(audiences)),
            ("audience_claim", text(audience_claim)),
            ("algorithms", text(algorithms)),
            ("token_type", text(token_type)),
            ("token_from", text(places)),
            ("clock_skew", text(clock_skew_seconds)),
            ("max_token_size", text(token_bytes_max)),
            ("keys", keys.unwrap_or_default()),
            ("revocations", text(&settings.revocations.get(index))),
        ],
    )
}

/// `Debug` shows nothing of a secret, so that two would seem the same.
fn keys_text(source: &KeySource) -> String {
    let secret = match &source.place {
        KeyPlace::Secret(secret, _) => Some(digest(secret)),
        KeyPlace::Url(_)
        | KeyPlace::Discovery(_)
        | KeyPlace::File(_)
        | KeyPlace::Inline(_)
        | KeyPlace::SecretFile { .. } => None,
    };
    text(&(source, secret))
}

fn digest(secret: &Secret) -> u64 {
    let mut hasher = DefaultHasher::new();
    secret.bytes().hash(&mut hasher);
    hasher.finish()
}

fn api_keys(settings: &Settings, index: usize, list: &ApiKeyList) -> Thing {
    let ApiKeyList { name, header } = list;
    let file = settings.api_key_files.get(index);
    Thing::new(name, [("header", text(header)), ("file", text(&file))])
}

/// The sections of the file that concern the process.
fn process(plan: &Plan, settings: &Settings) -> Vec<Thing> {
    let Settings {
        listeners,
        admin,
        admin_token,
        workers,
        access_log,
        tracing,
        limits,
        shutdown,
        upgrade,
        internal_identity,
        zone,
        name_servers,
        state_directory,
        // These belong to providers, lists and upstreams.
        key_sources: _,
        revocations: _,
        api_key_files: _,
        endpoint_sources: _,
        health_checks: _,
    } = settings;
    let known = |place: &SecretPlace| match place {
        SecretPlace::Value(secret) => Some(digest(secret)),
        SecretPlace::File { .. } => None,
    };
    let token = admin_token.as_ref().and_then(known);
    let trace_headers = tracing.iter().flat_map(|export| &export.headers);
    let trace_headers: Vec<_> = trace_headers.filter_map(|(_, it)| known(it)).collect();
    let sections = [
        ("listeners", text(listeners)),
        ("admin", text(&(admin, admin_token, token))),
        ("workers", text(workers)),
        ("access_log", text(&(access_log, &plan.access_log))),
        ("tracing", text(&(tracing, &plan.tracing, trace_headers))),
        ("limits", text(limits)),
        ("shutdown", text(shutdown)),
        ("upgrade", text(upgrade)),
        ("internal_identity", text(internal_identity)),
        ("zone", text(zone)),
        ("dns", text(name_servers)),
        ("state_directory", text(state_directory)),
        ("forwarded", text(&plan.forwarded)),
    ];
    let things = sections.map(|(name, text)| Thing::new(name, [(name, text)]));
    things.into_iter().collect()
}
