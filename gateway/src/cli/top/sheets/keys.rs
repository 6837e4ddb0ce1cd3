//! What the gateway checks credentials by: the keys of token providers, and lists of API keys.

use super::{Cell, Column, Moments, Sheet, Tone, number, text, time_span};
use crate::cli::top::snapshot::{KeyList, Provider};

const COLUMNS: &[Column] = &[
    text("Keys of", 0),
    text("Kind", 2),
    number("Count", 0),
    number("Age", 0),
    number("Good for", 0),
    number("Revoked", 3),
    text("Ids", 1),
];

impl Moments<'_> {
    pub(in crate::cli::top) fn keys(&self) -> Sheet {
        let providers = self.now.keys.jwt_providers.iter().map(provider_row);
        let lists = self.now.keys.api_keys.iter().map(list_row);
        Sheet {
            columns: COLUMNS,
            rows: providers.chain(lists).collect(),
        }
    }
}

fn provider_row(provider: &Provider) -> Vec<Cell> {
    let ids = provider.keys.iter();
    let ids: Vec<_> = ids.map(|key| key.kid.as_deref().unwrap_or("–")).collect();
    let of = |seconds: Option<u64>| seconds.map_or_else(Cell::none, time_span);
    let count = Cell::count(provider.keys.len() as u64);
    vec![
        Cell::text(&*provider.name),
        Cell::text("jwt"),
        if provider.keys.is_empty() {
            count.toned(Tone::Bad)
        } else {
            count
        },
        of(provider.age_seconds),
        of(provider.seconds_until_stale).toned(staleness(provider)),
        provider.revocations.map_or_else(Cell::none, Cell::count),
        Cell::text(ids.join(", ")),
    ]
}

/// From half of `max_stale` on the gateway warns, and at its end it refuses tokens.
fn staleness(provider: &Provider) -> Tone {
    match (provider.age_seconds, provider.seconds_until_stale) {
        (_, Some(0)) => Tone::Bad,
        (Some(age), Some(rest)) if age >= rest => Tone::Odd,
        _ => Tone::Plain,
    }
}

fn list_row(list: &KeyList) -> Vec<Cell> {
    vec![
        Cell::text(&*list.name),
        Cell::text("api_key"),
        Cell::count(list.keys),
        Cell::none(),
        Cell::none(),
        Cell::none(),
        Cell::text(""),
    ]
}
