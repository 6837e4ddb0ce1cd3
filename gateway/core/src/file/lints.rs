//! What is legal but odd: warnings of `gateway check`, each under a code that stays the same.
//! `docs/check.md` says of each why it is given and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::auth::{AuthSpec, CallerSpec};
use super::compile::Checker;
use super::retries::{RetryCondition, StatusMethodsSpec};
use super::{BackendSpec, RouteSpec, RoutesFile};
use crate::config::{INCLUDE, Problem, TextOr, Unmatched, item, join};
use crate::words::units::HumanDuration;

/// The codes of all warnings, in the order of the alphabet.
pub const WARNING_CODES: &[&str] = &[
    DUPLICATE_BACKEND,
    HEDGE_NEVER,
    IDLE_BELOW_LOAD_BALANCER,
    INCLUDE_WITHOUT_MATCH,
    OPEN_ADMIN,
    PER_TRY_TIMEOUT_NEVER,
    PLAIN_HTTP,
    RETRY_NON_IDEMPOTENT,
    SHUTDOWN_ABOVE_ECS,
    STICKY_NEVER,
    TIMEOUT_ABOVE_LOAD_BALANCER,
    TIMEOUT_BELOW_CONNECT,
    TRUSTS_EVERYBODY,
    UNUSED_API_KEYS,
    UNUSED_JWT_PROVIDER,
    UNUSED_OPTION,
    UNUSED_UPSTREAM,
    WEIGHT_ZERO,
];

const DUPLICATE_BACKEND: &str = "duplicate-backend";
const HEDGE_NEVER: &str = "hedge-never";
const IDLE_BELOW_LOAD_BALANCER: &str = "idle-below-load-balancer";
const INCLUDE_WITHOUT_MATCH: &str = "include-without-match";
const OPEN_ADMIN: &str = "open-admin";
const PER_TRY_TIMEOUT_NEVER: &str = "per-try-timeout-never";
const PLAIN_HTTP: &str = "plain-http";
const RETRY_NON_IDEMPOTENT: &str = "retry-non-idempotent";
const SHUTDOWN_ABOVE_ECS: &str = "shutdown-above-ecs";
const STICKY_NEVER: &str = "sticky-never";
const TIMEOUT_ABOVE_LOAD_BALANCER: &str = "timeout-above-load-balancer";
const TIMEOUT_BELOW_CONNECT: &str = "timeout-below-connect";
const TRUSTS_EVERYBODY: &str = "trusts-everybody";
const UNUSED_API_KEYS: &str = "unused-api-keys";
const UNUSED_JWT_PROVIDER: &str = "unused-jwt-provider";
const UNUSED_OPTION: &str = "unused-option";
const UNUSED_UPSTREAM: &str = "unused-upstream";
const WEIGHT_ZERO: &str = "weight-zero";

/// After so much silence an AWS Application Load Balancer closes, unless configured otherwise.
const LOAD_BALANCER_IDLE: Duration = Duration::from_mins(1);
/// After so much time ECS kills a task that was told to stop, unless configured otherwise.
const ECS_STOP_TIMEOUT: Duration = Duration::from_secs(30);
const ROUTE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// What a route says of forwarding, and what means nothing where it answers by itself.
const FORWARDING_OPTIONS: &[&str] = &["timeout", "retries", "hedge", "priority", "sticky"];

/// Everything that is odd.
pub(super) fn lint(file: &RoutesFile, check: &mut Checker<'_>) {
    includes(check);
    process(file, check);
    plain_http(file, check);
    unused(file, check);
    let defaults = file.defaults.timeout;
    above_load_balancer("defaults.timeout", defaults, check);
    for (index, route) in file.routes.iter().enumerate() {
        Lint {
            file,
            route,
            at: item("routes", index),
        }
        .run(check);
    }
}

fn includes(check: &mut Checker<'_>) {
    for &Unmatched {
        position,
        ref pattern,
    } in check.unmatched()
    {
        check.warn_at(Problem {
            position: Some(position),
            path: INCLUDE.to_owned(),
            message: format!("no file matches `{pattern}`"),
            help: Some(
                "paths are relative to the directory of this file, and `*` matches no name that \
                 begins with a dot; mend the pattern, or take it out"
                    .to_owned(),
            ),
            warning: Some(INCLUDE_WITHOUT_MATCH),
        });
    }
}

fn process(file: &RoutesFile, check: &mut Checker<'_>) {
    let admin = file.admin.address.0;
    if !admin.ip().is_loopback() && file.admin.token.is_none() {
        check.warn(
            OPEN_ADMIN,
            "admin.address",
            format!("`{admin}` can be reached by other machines, and no token is asked for"),
            "write `127.0.0.1` or add `admin.token`; reloads are refused as it is, and metrics \
             are shown to everybody",
        );
    }
    for (index, network) in file.forwarded.trusted_proxies.iter().enumerate() {
        if network.0.prefix_len() == 0 {
            check.warn(
                TRUSTS_EVERYBODY,
                item("forwarded.trusted_proxies", index),
                "every client is believed about its own address",
                "name the network of the load balancer, such as `10.0.0.0/16`",
            );
        }
    }
    let idle = file.limits.idle_timeout;
    if let Some(idle) = idle.filter(|idle| idle.0 <= LOAD_BALANCER_IDLE) {
        check.warn(
            IDLE_BELOW_LOAD_BALANCER,
            "limits.idle_timeout",
            format!("the gateway closes idle connections after {idle}, a load balancer after 60s"),
            "write more than the load balancer's, such as `75s`: else it sends requests into \
             connections that are being closed, and answers 502",
        );
    }
    let second = Duration::from_secs;
    let times = [
        file.shutdown.lame_duck.map_or(second(5), |it| it.0),
        file.shutdown.drain.map_or(second(20), |it| it.0),
    ];
    if times.iter().sum::<Duration>() >= ECS_STOP_TIMEOUT {
        check.warn(
            SHUTDOWN_ABOVE_ECS,
            "shutdown",
            "lame_duck and drain together reach the 30s after which ECS kills a task",
            "shorten them, or see to it that the task's `stopTimeout` is longer",
        );
    }
}

fn plain_http(file: &RoutesFile, check: &mut Checker<'_>) {
    let is_plain = |url: &Option<String>| {
        let url = url.as_deref().unwrap_or_default();
        url.starts_with("http://")
    };
    let help = "use https: whoever can listen in on the way can change what comes";
    for (name, spec) in &file.jwt_providers {
        let at = join("jwt_providers", name);
        let by_issuer = spec.discovery && spec.issuer.starts_with("http://");
        if spec.allow_http && (is_plain(&spec.jwks_uri) || by_issuer) {
            let message = "the keys come over plain http";
            check.warn(PLAIN_HTTP, join(&at, "allow_http"), message, help);
        }
        let deny_list = spec.revocations.as_ref();
        if deny_list.is_some_and(|it| it.allow_http && is_plain(&it.url)) {
            let at = format!("{at}.revocations.allow_http");
            check.warn(PLAIN_HTTP, at, "the deny list comes over plain http", help);
        }
    }
}

/// What is defined, and named by no route.
fn unused(file: &RoutesFile, check: &mut Checker<'_>) {
    let mut used = Used::default();
    for route in &file.routes {
        let backends = route.backends.iter().flatten();
        used.upstreams
            .extend(backends.map(|it| it.upstream.as_str()));
        if let AuthSpec::Callers(callers) = &route.auth {
            used.note(callers);
        }
    }
    // A route that could not be read may use anything.
    if !check.is_sound("routes") {
        return;
    }
    let sections = [
        (
            "upstreams",
            UNUSED_UPSTREAM,
            names(&file.upstreams),
            &used.upstreams,
        ),
        (
            "jwt_providers",
            UNUSED_JWT_PROVIDER,
            names(&file.jwt_providers),
            &used.jwt_providers,
        ),
        (
            "api_keys",
            UNUSED_API_KEYS,
            names(&file.api_keys),
            &used.api_keys,
        ),
    ];
    for (section, code, defined, used) in sections {
        for name in defined.into_iter().filter(|name| !used.contains(name)) {
            check.warn(
                code,
                join(section, name),
                format!("no route uses `{name}` of `{section}`"),
                "remove it, or name it in a route: its source is asked all the same",
            );
        }
    }
}

fn names<T>(section: &BTreeMap<String, T>) -> Vec<&str> {
    section.keys().map(String::as_str).collect()
}

#[derive(Default)]
struct Used<'f> {
    upstreams: BTreeSet<&'f str>,
    jwt_providers: BTreeSet<&'f str>,
    api_keys: BTreeSet<&'f str>,
}

impl<'f> Used<'f> {
    fn note(&mut self, callers: &'f CallerSpec) {
        match &callers.jwt {
            Some(TextOr::Text(name)) => drop(self.jwt_providers.insert(name)),
            Some(TextOr::Other(names)) => {
                self.jwt_providers.extend(names.iter().map(String::as_str));
            }
            None => {}
        }
        self.api_keys.extend(callers.api_key.as_deref());
        for callers in callers.any.iter().flatten() {
            self.note(callers);
        }
    }
}

fn above_load_balancer(at: &str, timeout: Option<HumanDuration>, check: &mut Checker<'_>) {
    if let Some(timeout) = timeout.filter(|timeout| timeout.0 > LOAD_BALANCER_IDLE) {
        check.warn(
            TIMEOUT_ABOVE_LOAD_BALANCER,
            at,
            format!("a load balancer gives up after 60s without a byte, before {timeout}"),
            "write at most `60s`, or raise the load balancer's idle timeout",
        );
    }
}

/// One route, and all that is odd about it.
struct Lint<'f> {
    file: &'f RoutesFile,
    route: &'f RouteSpec,
    at: String,
}

impl Lint<'_> {
    fn run(&self, check: &mut Checker<'_>) {
        above_load_balancer(&self.path("timeout"), self.route.timeout, check);
        match &self.route.backends {
            Some(backends) => {
                self.backends(backends, check);
                self.times(backends, check);
                self.retries(check);
            }
            None => self.own_answer(check),
        }
    }

    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.at)
    }

    fn timeout(&self) -> Duration {
        let timeout = self.route.timeout.or(self.file.defaults.timeout);
        timeout.map_or(ROUTE_TIMEOUT, |it| it.0)
    }

    fn own_answer(&self, check: &mut Checker<'_>) {
        for key in FORWARDING_OPTIONS {
            let path = self.path(key);
            if check.is_given(&path) {
                check.warn(
                    UNUSED_OPTION,
                    path,
                    format!("`{key}` means nothing where the gateway answers by itself"),
                    "remove it",
                );
            }
        }
    }

    fn backends(&self, backends: &[BackendSpec], check: &mut Checker<'_>) {
        let at = self.path("backends");
        for (index, backend) in backends.iter().enumerate() {
            let place = item(&at, index);
            let name = &backend.upstream;
            if backend.weight == Some(0) {
                check.warn(
                    WEIGHT_ZERO,
                    join(&place, "weight"),
                    format!("`{name}` gets no request"),
                    "remove the backend, or give it a weight from 1",
                );
            }
            let is_twin = |other: &BackendSpec| {
                other.upstream == backend.upstream && other.subset == backend.subset
            };
            if let Some(twin) = backends[..index].iter().position(is_twin) {
                check.warn(
                    DUPLICATE_BACKEND,
                    join(&place, "upstream"),
                    format!("`{name}` is backend {twin} of this route too"),
                    "keep one of them, with the sum of their weights",
                );
            }
        }
        if self.route.sticky.is_some() && backends.len() == 1 {
            check.warn(
                STICKY_NEVER,
                self.path("sticky"),
                "there is one backend, so that there is nothing to stay with",
                "remove it; `consistent_hash` of the upstream chooses among its endpoints",
            );
        }
    }

    fn times(&self, backends: &[BackendSpec], check: &mut Checker<'_>) {
        let timeout = self.timeout();
        let shown = HumanDuration(timeout);
        let given = self.given("timeout", "defaults.timeout", check);
        for backend in backends {
            let Some(upstream) = self.file.upstreams.get(&backend.upstream) else {
                continue;
            };
            let connect = upstream.connect_timeout.map_or(CONNECT_TIMEOUT, |it| it.0);
            if timeout < connect {
                check.warn(
                    TIMEOUT_BELOW_CONNECT,
                    given.clone(),
                    format!(
                        "{shown} are over before `connect_timeout` of `{}`, which is {}",
                        backend.upstream,
                        HumanDuration(connect)
                    ),
                    "write more, or shorten the upstream's `connect_timeout`",
                );
                break;
            }
        }
        let hedge = self.route.hedge.as_ref();
        if hedge.is_some_and(|hedge| hedge.after.0 >= timeout) {
            check.warn(
                HEDGE_NEVER,
                self.path("hedge.after"),
                format!("the request is over after {shown}, before a second try begins"),
                "write less than the route's `timeout`",
            );
        }
    }

    /// The path of what the route says, or of what stands in for it.
    fn given(&self, key: &str, default: &str, check: &Checker<'_>) -> String {
        let own = self.path(key);
        if check.is_given(&own) || !check.is_given(default) {
            own
        } else {
            default.to_owned()
        }
    }

    fn retries(&self, check: &mut Checker<'_>) {
        let retries = self.route.retries.or(&self.file.defaults.retries);
        let timeout = self.timeout();
        if let Some(each) = retries.per_try_timeout.filter(|each| each.0 >= timeout) {
            let key = "retries.per_try_timeout";
            check.warn(
                PER_TRY_TIMEOUT_NEVER,
                self.given(key, "defaults.retries.per_try_timeout", check),
                format!(
                    "one try may last {each}, and all of them together {}",
                    HumanDuration(timeout)
                ),
                "write less than the route's `timeout`, so that there is time for another try",
            );
        }
        let is_status = |condition: &RetryCondition| matches!(condition, RetryCondition::Status(_));
        let names_status = retries.retry_on.iter().flatten().any(is_status);
        if retries.status_methods == Some(StatusMethodsSpec::All)
            && names_status
            && !self.is_idempotent()
        {
            let key = "retries.status_methods";
            check.warn(
                RETRY_NON_IDEMPOTENT,
                self.given(key, "defaults.retries.status_methods", check),
                "a POST that was answered with one of the statuses is sent again",
                "write `idempotent`, unless the upstream promises that it carried out nothing",
            );
        }
    }

    /// Whether all methods of the route mean the same when repeated (RFC 9110 section 9.2.2).
    fn is_idempotent(&self) -> bool {
        let idempotent = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];
        let methods = self.route.r#match.methods.as_deref();
        methods.is_some_and(|all| all.iter().all(|it| idempotent.contains(&it.as_str())))
    }
}
