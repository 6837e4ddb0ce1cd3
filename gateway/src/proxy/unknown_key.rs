//! A token whose key is not there: one reading more of the provider's keys, and another look.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::auth::WantedKey;
use gateway_core::pipeline::Refusal;
use gateway_core::words::reason::Reason;
use gateway_core::words::rejection::Rejection;
use tokio::time::{Instant, timeout_at};

use super::record::Record;
use super::worker::Worker;
use super::{Decided, decide};
use crate::jwks::{Asked, Found, WantedKeys};

type Verdict = Result<Decided, Box<Refusal>>;

/// Decides about a request; waits for keys where it is refused for want of one.
pub(super) async fn decide_with_keys(
    worker: &Worker,
    record: &mut Record,
    body_bytes: Option<u64>,
) -> Verdict {
    let refusal = match decide(worker, record, body_bytes) {
        Err(refusal) if refusal.wanted_key.is_some() => refusal,
        verdict => return verdict,
    };
    // Rare, and large: the futures of all other requests stay small.
    Box::pin(look_for_key(worker, record, body_bytes, refusal)).await
}

async fn look_for_key(
    worker: &Worker,
    record: &mut Record,
    body_bytes: Option<u64>,
    refusal: Box<Refusal>,
) -> Verdict {
    let key = refusal.wanted_key.clone().expect("checked by the caller");
    let wanted = Arc::clone(&record.pinned.live.wanted[key.provider]);
    let Some(wait) = wanted.wait() else {
        wanted.count(Asked::NotFound);
        return Err(refusal);
    };
    if worker.with_unknown_keys(|unknown| unknown.contains(&key, wanted.now())) {
        wanted.count(Asked::Remembered);
        return Err(refusal);
    }
    let deadline = deadline(record, &refusal, wait);
    let (asked, verdict) = wait_for_key(&wanted, record, deadline, refusal, |record| {
        decide(worker, record, body_bytes)
    })
    .await;
    wanted.count(asked);
    if asked == Asked::NotFound {
        worker.with_unknown_keys(|unknown| unknown.remember(key, wanted.now()));
    }
    verdict
}

/// Not longer than a request may wait for keys, and not beyond its route's time.
fn deadline(record: &Record, refusal: &Refusal, wait: Duration) -> Instant {
    let plan = &record.pinned.live.plan;
    let latest = Instant::now() + wait;
    refusal.route_index.map_or(latest, |index| {
        let end = record.started + plan.routes[index].timeout;
        latest.min(end.into())
    })
}

async fn wait_for_key(
    wanted: &WantedKeys,
    record: &mut Record,
    deadline: Instant,
    mut refusal: Box<Refusal>,
    mut decide: impl FnMut(&mut Record) -> Verdict,
) -> (Asked, Verdict) {
    let Some(mut waiting) = wanted.ask(record.started) else {
        let detail = "too many requests wait for keys";
        return (Asked::Overflow, Err(unavailable(refusal, detail)));
    };
    loop {
        match timeout_at(deadline, waiting.next()).await {
            Ok(Found::OtherKeys) => match decide(record) {
                Err(again) if is_same(again.wanted_key.as_ref(), &refusal) => refusal = again,
                verdict => return (Asked::Found, verdict),
            },
            Ok(Found::Nothing) => return (Asked::NotFound, Err(refusal)),
            Ok(Found::Failure) => {
                let detail = "the keys could not be read again to look for the token's key";
                return (Asked::Unavailable, Err(unavailable(refusal, detail)));
            }
            Err(_elapsed) => {
                let detail = "the keys were not read again in time to look for the token's key";
                return (Asked::Unavailable, Err(unavailable(refusal, detail)));
            }
        }
    }
}

fn is_same(wanted: Option<&WantedKey>, refusal: &Refusal) -> bool {
    wanted.is_some() && wanted == refusal.wanted_key.as_ref()
}

fn unavailable(mut refusal: Box<Refusal>, detail: &'static str) -> Box<Refusal> {
    refusal.rejection = Rejection::with_detail(Reason::JwtKeysUnavailable, detail);
    refusal
}
