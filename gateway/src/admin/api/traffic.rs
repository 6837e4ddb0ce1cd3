//! Routes and upstreams, and what is counted of them since the process began.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use gateway_core::auth::Credential;
use gateway_core::cluster::balance::Origin;
use gateway_core::explain::endpoints;
use gateway_core::plan::{Action, Plan, Route};
use gateway_core::words::reason::Reason;
use gateway_core::words::time::Millis;
use serde_json::{Map, Value, json};

use super::{Observed, now};
use crate::admin::metrics::sum;
use crate::proxy::Live;
use crate::telemetry::cells::{
    BUCKETS_MICROS, Counter, DurationsSum, STATUS_CLASSES, UpstreamCells,
};
use crate::telemetry::ledger::{Ledger, NONE};

/// Routes and upstreams that one answer has.
const SHOWN_MAX: usize = 2_000;

pub(super) async fn routes(State(observed): State<Arc<Observed>>) -> Response {
    let live = observed.live.load();
    let counted = Counted::of(&live.ledger);
    let plan = &live.plan;
    let routes = plan.routes.iter().enumerate().take(SHOWN_MAX);
    let routes = routes.map(|(index, route)| {
        let mut shown = route_words(plan, route);
        shown["index"] = index.into();
        let written_at = plan.origins.route(index);
        shown["file"] = json!(written_at.file);
        shown["line"] = json!(written_at.line);
        shown["traffic"] = counted.route(&route.name);
        shown
    });
    now(json!({
        "bucket_bounds_seconds": bounds(),
        "routes": routes.collect::<Vec<_>>(),
        "unmatched": counted.route(NONE),
    }))
}

fn route_words(plan: &Plan, route: &Route) -> Value {
    let (action, upstreams) = match &route.action {
        Action::Forward(backends) => ("forward", backends.weighted().collect()),
        Action::Respond(_) => ("respond", Vec::new()),
        Action::RespondKeys => ("respond_keys", Vec::new()),
    };
    let upstreams = upstreams.iter().map(
        |(target, weight)| json!({"name": plan.clusters[target.cluster].name, "weight": weight}),
    );
    let policies = route.auth.policies().iter().map(|policy| {
        let (kind, by) = match &policy.credential {
            Credential::Jwt(indices) => {
                let names = indices.iter().map(|&index| &plan.providers[index].name);
                ("jwt", names.collect())
            }
            Credential::ApiKey(list) => ("api_key", vec![&plan.api_keys[*list].name]),
            Credential::Network => ("network", Vec::new()),
        };
        json!({"kind": kind, "by": by})
    });
    json!({
        "name": route.name,
        "action": action,
        "auth": policies.collect::<Vec<_>>(),
        "upstreams": upstreams.collect::<Vec<_>>(),
        "timeout_ms": millis(route.timeout),
        "body_bytes_max": route.body_bytes_max,
        "priority": route.priority.as_str(),
    })
}

pub(super) async fn upstreams(State(observed): State<Arc<Observed>>) -> Response {
    let live = observed.live.load();
    let at = observed.clock.to_ms(Instant::now());
    let counted = Counted::of(&live.ledger);
    let indices = 0..live.plan.clusters.len().min(SHOWN_MAX);
    let upstreams = indices.map(|index| upstream(&live, &counted, index, at));
    now(json!({
        "bucket_bounds_seconds": bounds(),
        "upstreams": upstreams.collect::<Vec<_>>(),
    }))
}

fn upstream(live: &Live, counted: &Counted<'_>, index: usize, at: Millis) -> Value {
    let cluster = &live.plan.clusters[index];
    let set = live.endpoints[index].load();
    let cells = counted
        .upstreams
        .get(&*cluster.name)
        .copied()
        .unwrap_or_default();
    let count = |pick: fn(&UpstreamCells) -> &Counter| sum(cells.iter().map(|it| pick(it)));
    let picks = Origin::ALL.map(|origin| {
        let count = sum(cells.iter().map(|it| &it.picks.origins[origin as usize]));
        (origin.as_str().to_owned(), Value::from(count))
    });
    let mut latency = DurationsSum::default();
    for cells in cells {
        cells.duration.sum_into(&mut latency);
    }
    let written_at = live.plan.origins.upstream(index);
    let discovery = live.watched.discoveries.get(index).and_then(Option::as_ref);
    json!({
        "name": cluster.name,
        "file": written_at.file,
        "line": written_at.line,
        "is_answered": discovery.is_none_or(|it| it.state().answered()),
        "is_panicking": set.health().is_panicking(),
        "endpoint_count": set.endpoints().len(),
        "endpoints": endpoints(cluster, &set, None, at),
        "tries": count(|cells| &cells.tries),
        "retries": count(|cells| &cells.retries),
        "retries_denied": count(|cells| &cells.retries_denied),
        "connections_opened": count(|cells| &cells.connections_opened),
        "connect_failures": count(|cells| &cells.connect_failures),
        "picks": Value::Object(picks.into_iter().collect()),
        "answers": counted.answers(|_, upstream| upstream == &*cluster.name),
        "latency": histogram(&latency),
    })
}

/// What is counted, by name.
struct Counted<'a> {
    ledger: &'a Ledger,
    upstreams: BTreeMap<&'a str, &'a [Arc<UpstreamCells>]>,
    routes: BTreeMap<&'a str, &'a [Arc<crate::telemetry::cells::RouteCounts>]>,
}

impl<'a> Counted<'a> {
    fn of(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            upstreams: ledger.upstreams().collect(),
            routes: ledger.routes().collect(),
        }
    }

    fn route(&self, name: &str) -> Value {
        let counts = self.routes.get(name).copied().unwrap_or_default();
        let mut latency = DurationsSum::default();
        for counts in counts {
            counts.duration.sum_into(&mut latency);
        }
        let reasons = Reason::ALL.iter().filter_map(|reason| {
            let count = sum(counts.iter().map(|it| &it.reasons[*reason as usize]));
            (count > 0).then(|| (reason.code().to_owned(), Value::from(count)))
        });
        json!({
            "answers": self.answers(|route, _| route == name),
            "reasons": Value::Object(reasons.collect()),
            "latency": histogram(&latency),
        })
    }

    /// Answers by class of status, of these pairs of route and upstream.
    fn answers(&self, is_wanted: impl Fn(&str, &str) -> bool) -> Value {
        let mut classes = [0; STATUS_CLASSES.len()];
        for (route, upstream, counts) in self.ledger.answers() {
            if is_wanted(route, upstream) {
                for (class, total) in classes.iter_mut().enumerate() {
                    *total += sum(counts.iter().map(|counts| &counts.classes[class]));
                }
            }
        }
        let named = STATUS_CLASSES.iter().zip(classes);
        let named = named.map(|(name, count)| ((*name).to_owned(), Value::from(count)));
        Value::Object(named.collect::<Map<_, _>>())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds with microseconds fit 52 bits"
)]
fn histogram(sum: &DurationsSum) -> Value {
    json!({
        "count": sum.buckets.iter().sum::<u64>(),
        "sum_seconds": sum.micros as f64 / 1e6,
        "buckets": sum.buckets,
    })
}

/// The upper bounds of all buckets but the last, which has none.
#[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
fn bounds() -> Vec<f64> {
    BUCKETS_MICROS
        .iter()
        .map(|&micros| micros as f64 / 1e6)
        .collect()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
