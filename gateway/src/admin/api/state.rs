//! The process, its configuration, keys, limits, and what was refused just now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use gateway_core::cluster::{Priority, Usage};
use gateway_core::plan::Line;
use serde_json::{Value, json};

use super::{Observed, now};
use crate::admin::metrics::sum;
use crate::jwks::KeyStats;
use crate::proxy::Live;
use crate::telemetry::cells::{Counter, WorkerCells};

/// Keys of one provider that are named.
const KEYS_MAX: usize = 100;
/// Refusals that are shown, the newest first.
const REFUSALS_MAX: usize = 200;

pub(super) async fn status(State(observed): State<Arc<Observed>>) -> Response {
    let total =
        |pick: fn(&WorkerCells) -> &Counter| sum(observed.workers.iter().map(|cells| pick(cells)));
    let opened = total(|cells| &cells.connections);
    let closed = total(|cells| &cells.connections_closed);
    let waiting = observed.lifecycle.unready();
    now(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "time": observed.clock.to_unix_seconds(Instant::now()),
        "is_ready": waiting.is_none(),
        "waiting_for": waiting.unwrap_or_default(),
        "workers": observed.workers.len(),
        "connections": opened.saturating_sub(closed),
        "connections_opened": opened,
        "connections_refused": observed.lifecycle.connections_refused(),
        "requests_in_flight": total(|cells| &cells.requests_in_flight),
        "tokens_cached": total(|cells| &cells.tokens_cached),
    }))
}

pub(super) async fn config(State(observed): State<Arc<Observed>>) -> Response {
    let live = observed.live.load();
    let plan = &live.plan;
    let origins = &plan.origins;
    let section = |names: Vec<&str>, lines: &[Option<Line>]| -> Vec<Value> {
        let lines = lines.iter().copied().chain(std::iter::repeat(None));
        let entries = names.into_iter().zip(lines);
        entries
            .map(|(name, line)| {
                let file = line.map(|line| origins.file(line));
                json!({"name": name, "file": file, "line": line.map(|it| it.line)})
            })
            .collect()
    };
    let routes = plan.routes.iter().map(|it| &*it.name).collect();
    let upstreams = plan.clusters.iter().map(|it| &*it.name).collect();
    let providers = plan.providers.iter().map(|it| &*it.name).collect();
    let lists = plan.api_keys.iter().map(|it| &*it.name).collect();
    now(json!({
        "file": origins.main(),
        "files": &origins.files,
        "reloads": observed.reloads.history(),
        "routes": section(routes, &origins.routes),
        "upstreams": section(upstreams, &origins.upstreams),
        "jwt_providers": section(providers, &origins.jwt_providers),
        "api_keys": section(lists, &origins.api_keys),
    }))
}

pub(super) async fn keys(State(observed): State<Arc<Observed>>) -> Response {
    let live = observed.live.load();
    let stats = live.watched.keys.iter().map(|stats| Some(&**stats));
    let stats = stats.chain(std::iter::repeat(None));
    let providers = (0..live.plan.providers.len()).zip(stats);
    let providers: Vec<_> = providers
        .map(|(index, stats)| provider(&live, index, stats))
        .collect();
    let lists = live.plan.api_keys.iter().zip(&live.api_keys);
    let lists = lists.map(|(list, keys)| {
        json!({"name": list.name, "header": list.header.as_str(), "keys": keys.load().len()})
    });
    now(json!({"jwt_providers": providers, "api_keys": lists.collect::<Vec<_>>()}))
}

fn provider(live: &Live, index: usize, stats: Option<&KeyStats>) -> Value {
    let provider = &live.plan.providers[index];
    let trust = live.trusts[index].load();
    let keys = trust.keys().keys().iter().take(KEYS_MAX).map(|key| {
        let algorithms = key.algorithms().map(|it| format!("{it:?}"));
        json!({"kid": key.id, "algorithms": algorithms.collect::<Vec<_>>()})
    });
    let age_and_rest = stats.and_then(KeyStats::age_and_rest_seconds);
    let algorithms = provider.algorithms.iter().map(|it| format!("{it:?}"));
    json!({
        "name": provider.name,
        "issuer": provider.issuer,
        "audiences": provider.audiences,
        "algorithms": algorithms.collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
        "ignored_keys": trust.keys().ignored.len(),
        "age_seconds": age_and_rest.map(|(age, _)| age),
        "seconds_until_stale": age_and_rest.map(|(_, rest)| rest),
        "revocations": trust.has_revocations().then(|| trust.revocations()),
    })
}

pub(super) async fn limits(State(observed): State<Arc<Observed>>) -> Response {
    let live = observed.live.load();
    let upstreams = live
        .plan
        .clusters
        .iter()
        .enumerate()
        .map(|(index, cluster)| {
            let held = |pick: fn(&Usage) -> u32| -> u64 {
                live.usages(index).map(|usage| u64::from(pick(usage))).sum()
            };
            let beside = |now: u64, max: u32| json!({"now": now, "max": max});
            let adaptive = live.adaptive[index].as_deref().map(|limit| {
                json!({
                    "limit": limit.limit(),
                    "base_ms": limit.base().map(|base| base.as_secs_f64() * 1_000.0),
                })
            });
            let shed = Priority::ALL.map(|priority| {
                let count: u64 = live.usages(index).map(|usage| usage.shed(priority)).sum();
                (priority.as_str().to_owned(), Value::from(count))
            });
            json!({
                "upstream": cluster.name,
                "requests": beside(held(Usage::requests), cluster.limits.requests_max),
                "connections": beside(held(Usage::connections), cluster.limits.connections_max),
                "pending": beside(held(Usage::pending), cluster.limits.pending_max),
                "adaptive": adaptive,
                "shed": Value::Object(shed.into_iter().collect()),
            })
        });
    let documents = live.watched.documents.iter().map(|stats| {
        json!({
            "kind": stats.kind,
            "name": stats.name,
            "entries": stats.entries.load(Ordering::Relaxed),
            "failed": stats.failed.load(Ordering::Relaxed),
        })
    });
    let documents: Vec<_> = documents.collect();
    now(json!({"upstreams": upstreams.collect::<Vec<_>>(), "documents": documents}))
}

pub(super) async fn refusals(State(observed): State<Arc<Observed>>) -> Response {
    let mut all: Vec<_> = observed
        .workers
        .iter()
        .flat_map(|cells| cells.refusals.list())
        .collect();
    all.sort_by_key(|refused| std::cmp::Reverse(refused.unix_micros));
    let shown = all.iter().take(REFUSALS_MAX).map(|refused| {
        json!({
            "time_ms": refused.unix_micros / 1_000,
            "reason": refused.reason.code(),
            "status": refused.reason.status().as_u16(),
            "title": refused.reason.title(),
            "detail": refused.detail,
            "route": refused.route,
            "method": refused.method,
            "path": refused.path,
            "client": refused.client,
        })
    });
    now(json!({"refusals": shown.collect::<Vec<_>>()}))
}
