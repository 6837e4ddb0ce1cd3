//! The last requests of a worker that were refused, for people who ask why.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;

use gateway_core::words::reason::Reason;

/// Refusals that a worker remembers.
const KEPT_MAX: usize = 64;
/// Of a flood one refusal a millisecond is remembered: the others cost one comparison.
const INTERVAL_MICROS: u64 = 1_000;
/// Bytes of a text that a client chose.
const TEXT_BYTES_MAX: usize = 160;

/// One request that was refused. Without the query, which may hold secrets.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) unix_micros: u64,
    pub(crate) reason: Reason,
    /// As in the access log.
    pub(crate) detail: Option<Box<str>>,
    pub(crate) route: Option<Box<str>>,
    /// `None` where the head could not be read.
    pub(crate) method: Option<Box<str>>,
    pub(crate) path: Option<Box<str>>,
    pub(crate) client: IpAddr,
}

/// Written by one worker, read when somebody looks; the worker never waits for a reader.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<VecDeque<Refused>>);

impl Refusals {
    /// Remembers one, unless there was one within the same millisecond or somebody is looking.
    pub(crate) fn note(&self, unix_micros: u64, make: impl FnOnce() -> Refused) {
        let Ok(mut kept) = self.0.try_lock() else {
            return;
        };
        let last = kept.back().map_or(0, |last| last.unix_micros);
        if unix_micros.saturating_sub(last) < INTERVAL_MICROS {
            return;
        }
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(make());
    }

    /// Those that are remembered, the oldest first.
    pub(crate) fn list(&self) -> Vec<Refused> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }
}

/// The beginning of a text.
pub(crate) fn shortened(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(unix_micros: u64) -> Refused {
        Refused {
            unix_micros,
            reason: Reason::NoRoute,
            detail: None,
            route: None,
            method: None,
            path: Some(shortened(&"é".repeat(TEXT_BYTES_MAX))),
            client: IpAddr::from([127, 0, 0, 1]),
        }
    }

    #[test]
    fn the_last_ones_are_kept_and_of_a_flood_one_a_millisecond() {
        let refusals = Refusals::default();
        for micros in (1..=200_000).step_by(100) {
            refusals.note(micros, || refused(micros));
        }
        let kept = refusals.list();
        assert_eq!(kept.len(), KEPT_MAX);
        let apart = kept
            .windows(2)
            .map(|pair| pair[1].unix_micros - pair[0].unix_micros);
        assert!(apart.min() >= Some(INTERVAL_MICROS));
        assert!(kept[0].unix_micros > 100_000);
        assert_eq!(
            kept[0].path.as_ref().map(|path| path.len()),
            Some(TEXT_BYTES_MAX)
        );
    }

    #[test]
    fn a_worker_does_not_wait_for_whoever_looks() {
        let refusals = Refusals::default();
        let held = refusals.0.lock().unwrap();
        refusals.note(5_000, || refused(5_000));
        drop(held);
        assert!(refusals.list().is_empty());
    }
}
