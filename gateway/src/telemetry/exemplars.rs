//! Examples of what a histogram counts: of each bucket the last sampled request.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::cells::{BUCKETS, bucket_of};

/// A sampled request that was counted in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: u128,
    /// What was counted.
    pub(crate) micros: u64,
    /// When.
    pub(crate) unix_micros: u64,
}

/// One of each bucket.
pub(crate) type ByBucket = [Option<Exemplar>; BUCKETS];

/// Written by one worker, for sampled requests alone, read when somebody looks; the worker never
/// waits for a reader. Of a histogram that never counted a sampled request it holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(OnceLock<Box<Mutex<ByBucket>>>);

impl Exemplars {
    /// Remembers one in place of the last of its bucket, unless somebody is looking.
    pub(crate) fn note(&self, exemplar: Exemplar) {
        let kept = self.0.get_or_init(Box::default);
        if let Ok(mut kept) = kept.try_lock() {
            kept[bucket_of(exemplar.micros)] = Some(exemplar);
        }
    }

    /// Adds those that are later than those at hand.
    pub(crate) fn merge_into(&self, all: &mut ByBucket) {
        let Some(kept) = self.0.get() else {
            return;
        };
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (last, own) in all.iter_mut().zip(&*kept) {
            let is_later = |own: &Exemplar| {
                last.is_none_or(|last: Exemplar| last.unix_micros < own.unix_micros)
            };
            if own.as_ref().is_some_and(is_later) {
                *last = *own;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_of_each_bucket_counts_over_all_workers() {
        let exemplar = |trace_id, micros, unix_micros| Exemplar {
            trace_id,
            micros,
            unix_micros,
        };
        let (one, two) = (Exemplars::default(), Exemplars::default());
        one.note(exemplar(1, 400, 10));
        one.note(exemplar(2, 500, 30));
        two.note(exemplar(3, 300, 20));
        two.note(exemplar(4, u64::MAX, 20));
        let mut all = ByBucket::default();
        for exemplars in [&one, &two, &Exemplars::default()] {
            exemplars.merge_into(&mut all);
        }
        let ids = all.map(|it| it.map(|it| it.trace_id));
        assert_eq!((ids[0], ids[1]), (Some(2), None));
        assert_eq!(ids[BUCKETS - 1], Some(4));
    }
}
