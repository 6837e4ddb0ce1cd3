//! What a second worker brings, told from CPU time: throughput cannot tell it where client and
//! upstream need one of the two cores themselves.
//!
//! A proxy answers as many requests as its cores have time for, and no more than its busiest
//! worker has time for. So two workers answer
//! `(CPU of a request with one worker) / (CPU of a request with two × the busiest worker's share)`
//! times what one does. Locks, shared cache lines and an uneven spread of the connections are all
//! in it; what the load itself costs is not.

use serde::Serialize;

use super::measure::ProcessSample;
use super::report::Row;
use super::statistics::Summary;
use crate::client::Pace;
use crate::scenario::Scenario;

/// One worker beside two.
#[derive(Debug, Serialize)]
pub(super) struct SpeedUp {
    pub(super) peer: &'static str,
    /// Requests a second that one worker was asked for.
    pub(super) rate_of_one: u32,
    /// And two.
    pub(super) rate_of_two: u32,
    pub(super) cpu_us_of_one: Summary,
    pub(super) cpu_us_of_two: Summary,
    /// The busiest thread's part of the CPU time with two workers.
    pub(super) busiest_thread_share: Summary,
    /// How many times as much two workers answer; taken round by round.
    pub(super) times: Summary,
}

impl SpeedUp {
    /// Whether each worker had the same to do: as at saturation, where both have all they can.
    pub(super) fn is_at_the_same_load_per_worker(&self) -> bool {
        self.rate_of_two == 2 * self.rate_of_one
    }

    fn of(one: &Row, two: &Row) -> Option<Self> {
        let rates = [one, two].map(|row| rate(&row.scenario));
        let [Some(rate_of_one), Some(rate_of_two)] = rates else {
            return None;
        };
        let summary = two.summary.as_ref()?;
        Some(Self {
            peer: two.peer,
            rate_of_one,
            rate_of_two,
            cpu_us_of_one: one.summary.as_ref()?.cpu_us_per_request?,
            cpu_us_of_two: summary.cpu_us_per_request?,
            busiest_thread_share: summary.busiest_thread_share?,
            times: Summary::of(two.samples.iter().filter_map(|sample| {
                let of_one = one.samples.iter().find(|it| it.round == sample.round)?;
                Some(speed_up(of_one.process?, sample.process?))
            }))?,
        })
    }
}

/// Every pair of valid rows of the scenario `scaling`.
pub(super) fn speed_ups(rows: &[Row]) -> Vec<SpeedUp> {
    let of_kind = |kind: &'static str| {
        let is_kind = move |row: &&Row| {
            let name = row.scenario.name.rsplit_once('-');
            row.is_valid() && name.is_some_and(|(found, _)| found == kind)
        };
        rows.iter().filter(is_kind)
    };
    let pairs = of_kind("two-workers").filter_map(|two| {
        let one = of_kind("one-worker").find(|one| one.peer == two.peer)?;
        SpeedUp::of(one, two)
    });
    pairs.collect()
}

fn speed_up(one: ProcessSample, two: ProcessSample) -> f64 {
    // Below a half only when other threads than the workers do something: the cores have no more
    // time than they have.
    let share = two.busiest_thread_share.max(0.5);
    one.cpu_us_per_request / (two.cpu_us_per_request * share)
}

fn rate(scenario: &Scenario) -> Option<u32> {
    match scenario.pace {
        Pace::Open { per_second } => Some(per_second),
        Pace::Closed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::measure::Sample;
    use crate::peers::report::fixtures::{row, sample};

    fn shared(cpu_us_per_request: f64, busiest_thread_share: f64) -> Sample {
        let mut sample = sample(0, cpu_us_per_request, &[]);
        if let Some(process) = &mut sample.process {
            process.busiest_thread_share = busiest_thread_share;
        }
        sample
    }

    #[test]
    fn speed_up_falls_with_what_sharing_costs_and_with_an_uneven_spread() {
        for (cpu_of_two, share, expected) in [
            (20.0, 0.5, 2.0),
            (25.0, 0.5, 1.6),
            (20.0, 0.8, 1.25),
            // All on one worker: nothing gained.
            (20.0, 1.0, 1.0),
            // A thread beside the workers makes nobody faster than two cores.
            (20.0, 0.45, 2.0),
        ] {
            let rows = [
                row("one-worker-50", "a", vec![shared(20.0, 0.9)]),
                row("two-workers-50", "a", vec![shared(cpu_of_two, share)]),
            ];
            let found = speed_ups(&rows);
            assert_eq!(found.len(), 1);
            let speed_up = found[0].times.median;
            assert!(
                (speed_up - expected).abs() < 1e-9,
                "{cpu_of_two} {share}: {speed_up}"
            );
        }
    }

    #[test]
    fn only_valid_rows_of_the_same_peer_are_paired() {
        let good = || vec![sample(0, 20.0, &[])];
        let rows = [
            row("two-workers", "a", good()),
            row("one-worker-50", "a", good()),
            row("two-workers-50", "a", good()),
            row("two-workers-100", "a", good()),
            row("two-workers-50", "b", good()),
            row("one-worker-50", "c", good()),
            row(
                "two-workers-50",
                "c",
                vec![sample(0, 20.0, &["1 × timeout"])],
            ),
        ];
        let found = speed_ups(&rows);
        let pairs: Vec<_> = found
            .iter()
            .map(|it| (it.peer, it.rate_of_two, it.is_at_the_same_load_per_worker()))
            .collect();
        assert_eq!(pairs, [("a", 50, false), ("a", 100, true)]);
    }
}
