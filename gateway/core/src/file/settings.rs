//! What concerns the process rather than a route: addresses, limits, log, leaving.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use super::endpoints::{ZONE_HELP, is_zone};
use super::revocations::DocumentSource;
use super::{
    AccessLogOutput, Address, EndpointSource, HealthCheck, KeySource, NameServers, Network,
    RoutesFile, SecretPlace, TraceExport, Upgrade,
};
use crate::framing::HeadLimits;
use crate::identity::InternalIdentity;
use crate::words::units::{ByteSize, HumanDuration};

/// One listening address.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// `address:port`; port 0 takes a free one.
    pub address: Address,
}

/// Bounds on connections and heads, as written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Bytes of a request's head, 1 KiB to 1 MiB; default 64 KiB.
    pub head_size: Option<ByteSize>,
    /// Headers of a request, 1 to 1000; default 100.
    pub headers: Option<u32>,
    /// Bytes of a request's target, 64 B to 64 KiB; default 8 KiB.
    pub target_size: Option<ByteSize>,
    /// Time for a whole head, from its first byte, 10 ms to 1 h; default 10 s.
    pub head_timeout: Option<HumanDuration>,
    /// Time between two requests on a connection, 10 ms to 1 h; default 75 s, above the 60 s after
    /// which an AWS load balancer closes, so that it is never the gateway that closes first.
    pub idle_timeout: Option<HumanDuration>,
    /// Time in which nothing comes of a body that has begun, a client's or an upstream's,
    /// 10 ms to 1 h; default 30 s.
    pub body_timeout: Option<HumanDuration>,
    /// Time in which a client takes nothing of its answer, 10 ms to 1 h; default 30 s.
    pub send_timeout: Option<HumanDuration>,
    /// Connections at a time, 1 to 1,000,000; default 10,000.
    pub connections: Option<u32>,
    /// Requests on one connection, from 1; default 10,000.
    pub requests_per_connection: Option<u64>,
}

/// Bounds on connections and heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bounds on one head.
    pub head: HeadLimits,
    /// Time for a whole head.
    pub head_timeout: Duration,
    /// Time between two requests on a connection.
    pub idle_timeout: Duration,
    /// Time in which nothing comes of a body that has begun.
    pub body_timeout: Duration,
    /// Time in which a client takes nothing of its answer.
    pub send_timeout: Duration,
    /// Connections at a time.
    pub connections_max: usize,
    /// Requests on one connection.
    pub requests_per_connection_max: u64,
}

/// How the process leaves on SIGTERM, as written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownSpec {
    /// Time in which readiness fails and requests are still accepted, 0 to 2 m; default 5 s.
    pub lame_duck: Option<HumanDuration>,
    /// Time for requests under way after that, 0 to 2 m; default 20 s. Together with `lame_duck`
    /// it must stay below the 30 s after which ECS sends SIGKILL.
    pub drain: Option<HumanDuration>,
}

/// How the process leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownTimes {
    /// Readiness fails, requests are still accepted.
    pub lame_duck: Duration,
    /// Requests under way may end.
    pub drain: Duration,
}

/// Whom to believe about earlier hops.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardedSpec {
    /// Networks whose `X-Forwarded-*`, `Forwarded` and `x-request-id` are believed; default none.
    pub trusted_proxies: Vec<Network>,
    /// Whether to send `Forwarded` (RFC 7239) beside `X-Forwarded-*`; default false.
    pub send_standard: bool,
}

/// What the process works by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients connect.
    pub listeners: Vec<SocketAddr>,
    /// Where health, readiness and metrics are served.
    pub admin: SocketAddr,
    /// What allows changes at the admin listener, read each time that it is asked for; `None`
    /// where no token is.
    pub admin_token: Option<SecretPlace>,
    /// Worker threads; `None` means one a core.
    pub workers: Option<usize>,
    /// Where access lines go; `None` turns them off.
    pub access_log: Option<AccessLogOutput>,
    /// Where spans go; `None` where none are made.
    pub tracing: Option<TraceExport>,
    /// Bounds.
    pub limits: Limits,
    /// Leaving.
    pub shutdown: ShutdownTimes,
    /// Handing over to a new process; `None` where that is not wanted.
    pub upgrade: Option<Upgrade>,
    /// The gateway's own tokens for upstreams; `None` where no upstream gets any.
    pub internal_identity: Option<InternalIdentity>,
    /// The availability zone that the gateway runs in, where the file says it.
    pub zone: Option<Arc<str>>,
    /// Who is asked about the names of upstreams.
    pub name_servers: NameServers,
    /// Where keys are remembered between two starts.
    pub state_directory: Option<String>,
    /// Where keys come from, by the provider's index.
    pub key_sources: Vec<KeySource>,
    /// Where deny lists come from, by the provider's index; `None` where it has none.
    pub revocations: Vec<Option<DocumentSource>>,
    /// Where API keys come from, by the list's index: paths of files.
    pub api_key_files: Vec<String>,
    /// Where endpoints come from, by the cluster's index.
    pub endpoint_sources: Vec<EndpointSource>,
    /// How endpoints are checked, by the cluster's index.
    pub health_checks: Vec<Option<HealthCheck>>,
}

/// Where clients connect unless the file says otherwise.
const DEFAULT_LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// The time after which ECS kills a task that was told to stop, unless configured otherwise.
const ECS_STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest `stopTimeout` that Fargate takes.
const ECS_STOP_TIMEOUT_MAX: Duration = Duration::from_mins(2);

/// Where everything comes from that changes while the process runs, by its index in the plan.
pub(super) struct Sources {
    pub(super) keys: Vec<KeySource>,
    pub(super) revocations: Vec<Option<DocumentSource>>,
    pub(super) api_keys: Vec<String>,
    pub(super) endpoints: Vec<EndpointSource>,
    pub(super) health_checks: Vec<Option<HealthCheck>>,
}

impl Settings {
    pub(super) fn compile(
        file: &RoutesFile,
        internal_identity: Option<InternalIdentity>,
        sources: Sources,
        check: &mut Checker<'_>,
    ) -> Self {
        let listeners = listeners(file, check);
        if let Some(workers) = file.workers {
            check.range("workers", u64::from(workers), 1..=256);
        }
        Self {
            listeners,
            admin: file.admin.address.0,
            admin_token: file.admin.token(check),
            workers: file.workers.map(|workers| workers as usize),
            access_log: file.access_log.output(check),
            tracing: file.tracing.as_ref().map(|spec| spec.export(check)),
            limits: limits(&file.limits, check),
            shutdown: shutdown(&file.shutdown, check),
            name_servers: file.dns.compile(check),
            upgrade: file.upgrade.as_ref().map(|spec| spec.compile(check)),
            internal_identity,
            zone: zone(file, check),
            state_directory: state_directory(file, check),
            key_sources: sources.keys,
            revocations: sources.revocations,
            api_key_files: sources.api_keys,
            endpoint_sources: sources.endpoints,
            health_checks: sources.health_checks,
        }
    }
}

/// Empty text is what `${AWS_ZONE:-}` is where the variable is not set.
fn zone(file: &RoutesFile, check: &mut Checker<'_>) -> Option<Arc<str>> {
    let zone = file.zone.as_deref().filter(|zone| !zone.is_empty())?;
    if !is_zone(zone) {
        check.problem(
            "zone",
            format!("`{zone}` is not the name of a zone"),
            Some(ZONE_HELP.into()),
        );
    }
    Some(zone.into())
}

fn state_directory(file: &RoutesFile, check: &mut Checker<'_>) -> Option<String> {
    let directory = file.state_directory.as_deref()?;
    let help = "write the path of a directory, or leave it out";
    check.not_empty("state_directory", directory, help);
    Some(directory.to_owned())
}

fn listeners(file: &RoutesFile, check: &mut Checker<'_>) -> Vec<SocketAddr> {
    let mut listeners: Vec<_> = file.listeners.iter().map(|spec| spec.address.0).collect();
    if listeners.is_empty() {
        if check.is_given("listeners") {
            check.problem(
                "listeners",
                "the list of listeners is empty",
                Some(format!(
                    "name an address, or leave `listeners` out for `{DEFAULT_LISTENER}`"
                )),
            );
        }
        listeners.push(DEFAULT_LISTENER);
    }
    // A stand-in for an address that could not be read clashes with nothing.
    if !check.is_sound("listeners") || !check.is_sound("admin") {
        return listeners;
    }
    for (index, address) in listeners.iter().enumerate() {
        let place = format!("listeners[{index}].address");
        let earlier = listeners[..index].iter();
        if let Some(other) = earlier.copied().find(|other| do_clash(*other, *address)) {
            check.problem(
                &place,
                format!("`{address}` clashes with the listener `{other}`"),
                Some("give each listener a port of its own".into()),
            );
        }
        if do_clash(*address, file.admin.address.0) {
            let admin = "admin.address";
            let place = if check.is_given(admin) { admin } else { &place };
            check.problem(
                place,
                format!(
                    "`admin` at `{}` clashes with the listener `{address}`",
                    file.admin.address.0
                ),
                Some("give `admin.address` a port of its own".into()),
            );
        }
    }
    listeners
}

/// Whether the system would refuse to bind the second of two addresses. The address of all
/// interfaces covers each of them, and that of IPv6 covers IPv4 too.
fn do_clash(a: SocketAddr, b: SocketAddr) -> bool {
    let is_covered = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && is_covered
}

fn limits(spec: &LimitsSpec, check: &mut Checker<'_>) -> Limits {
    let second = Duration::from_secs;
    let defaults = HeadLimits::default();
    let long = Duration::from_millis(10)..=second(3600);
    Limits {
        head: HeadLimits {
            head_bytes_max: check.size(
                "limits.head_size",
                spec.head_size,
                defaults.head_bytes_max,
                1024..=1024 * 1024,
            ),
            headers_max: check.count(
                "limits.headers",
                spec.headers,
                defaults.headers_max,
                1..=1000,
            ),
            target_bytes_max: check.size(
                "limits.target_size",
                spec.target_size,
                defaults.target_bytes_max,
                64..=64 * 1024,
            ),
        },
        head_timeout: check.duration(
            "limits.head_timeout",
            spec.head_timeout,
            second(10),
            long.clone(),
        ),
        idle_timeout: check.duration(
            "limits.idle_timeout",
            spec.idle_timeout,
            second(75),
            long.clone(),
        ),
        body_timeout: check.duration(
            "limits.body_timeout",
            spec.body_timeout,
            second(30),
            long.clone(),
        ),
        send_timeout: check.duration("limits.send_timeout", spec.send_timeout, second(30), long),
        connections_max: check.count(
            "limits.connections",
            spec.connections,
            10_000,
            1..=1_000_000,
        ),
        requests_per_connection_max: spec.requests_per_connection.map_or(10_000, |requests| {
            check.range("limits.requests_per_connection", requests, 1..=u64::MAX);
            requests
        }),
    }
}

fn shutdown(spec: &ShutdownSpec, check: &mut Checker<'_>) -> ShutdownTimes {
    let any = Duration::ZERO..=ECS_STOP_TIMEOUT_MAX;
    let times = ShutdownTimes {
        lame_duck: check.duration(
            "shutdown.lame_duck",
            spec.lame_duck,
            Duration::from_secs(5),
            any.clone(),
        ),
        drain: check.duration("shutdown.drain", spec.drain, Duration::from_secs(20), any),
    };
    let is_each_in_range = times.lame_duck.max(times.drain) <= ECS_STOP_TIMEOUT_MAX;
    if is_each_in_range && times.lame_duck + times.drain >= ECS_STOP_TIMEOUT_MAX {
        check.problem(
            "shutdown",
            format!(
                "lame_duck and drain last {} s together, and ECS kills a task after {} s at the most",
                (times.lame_duck + times.drain).as_secs(),
                ECS_STOP_TIMEOUT_MAX.as_secs(),
            ),
            Some(format!(
                "stay below the service's stopTimeout, which is {} s unless set",
                ECS_STOP_TIMEOUT.as_secs()
            )),
        );
    }
    times
}
