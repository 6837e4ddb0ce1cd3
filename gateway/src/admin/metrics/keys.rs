//! What is measured of the keys of token providers.

use std::fmt;
use std::sync::Arc;

use gateway_core::auth::refresh::Trigger;
use gateway_core::auth::stale::Stale;
use prometheus_client::encoding::DescriptorEncoder;

use super::Family;
use crate::jwks::{Asked, KeyStats, Outcome};
use crate::proxy::Live;

/// All metrics of keys.
pub(super) fn encode(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let stats = &live.watched.keys;
    encode_ages(live, stats, encoder)?;
    encode_fetches(live, stats, encoder)?;
    encode_unknown(live, encoder)
}

fn names(live: &Live) -> impl Iterator<Item = &str> {
    live.plan.providers.iter().map(|provider| &*provider.name)
}

fn encode_ages(
    live: &Live,
    stats: &[Arc<KeyStats>],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut family = Family::gauge(encoder, "gateway_jwks_keys", "Keys held, by provider")?;
    for (name, trust) in names(live).zip(&live.trusts) {
        let keys = trust.load().keys().keys().len();
        family.set(&[("provider", name)], keys as u64)?;
    }
    let ages: Vec<_> = names(live)
        .zip(stats)
        .filter_map(|(name, stats)| Some((name, stats.age_and_rest_seconds()?)))
        .collect();
    let mut family = Family::gauge(
        encoder,
        "gateway_jwks_age_seconds",
        "Seconds since the provider's keys were last read",
    )?;
    for (name, (age, _)) in &ages {
        family.set(&[("provider", name)], *age)?;
    }
    let mut family = Family::gauge(
        encoder,
        "gateway_jwks_seconds_until_stale",
        "Seconds for which the provider's keys serve if they cannot be read again",
    )?;
    for (name, (_, rest)) in &ages {
        family.set(&[("provider", name)], *rest)?;
    }
    let mut family = Family::counter(
        encoder,
        "gateway_jwks_stale_alarms",
        "Times that keys could not be read for half or all of max_stale, by provider",
    )?;
    for (name, stats) in names(live).zip(stats) {
        for stale in Stale::ALL {
            let labels = [("provider", name), ("level", stale.as_str())];
            family.count(&labels, stats.alarms(stale))?;
        }
    }
    Ok(())
}

fn encode_fetches(
    live: &Live,
    stats: &[Arc<KeyStats>],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut family = Family::counter(
        encoder,
        "gateway_jwks_fetches",
        "Readings of the provider's keys, by what caused them and how they ended",
    )?;
    for (name, stats) in names(live).zip(stats) {
        for trigger in Trigger::ALL {
            for outcome in Outcome::ALL {
                let count = stats.fetches(trigger, outcome);
                // Most combinations never happen.
                if count > 0 || outcome == Outcome::Success {
                    let labels = [
                        ("provider", name),
                        ("trigger", trigger.as_str()),
                        ("outcome", outcome.as_str()),
                    ];
                    family.count(&labels, count)?;
                }
            }
        }
    }
    let mut family = Family::counter(
        encoder,
        "gateway_jwks_discoveries",
        "Readings of the issuer's document that says where its keys are, by how they ended",
    )?;
    for (name, stats) in names(live).zip(stats) {
        for outcome in Outcome::ALL {
            let count = stats.discoveries(outcome);
            if count > 0 {
                let labels = [("provider", name), ("outcome", outcome.as_str())];
                family.count(&labels, count)?;
            }
        }
    }
    Ok(())
}

fn encode_unknown(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = Family::counter(
        encoder,
        "gateway_jwks_unknown_key_requests",
        "Requests whose token needed a key that was not there, by what became of the search",
    )?;
    for (name, wanted) in names(live).zip(&live.wanted) {
        for asked in Asked::ALL {
            let labels = [("provider", name), ("outcome", asked.as_str())];
            family.count(&labels, wanted.counted(asked))?;
        }
    }
    let mut family = Family::gauge(
        encoder,
        "gateway_jwks_waiting_requests",
        "Requests that wait for the provider's keys to be read again",
    )?;
    for (name, wanted) in names(live).zip(&live.wanted) {
        family.set(&[("provider", name)], wanted.waiting() as u64)?;
    }
    Ok(())
}
