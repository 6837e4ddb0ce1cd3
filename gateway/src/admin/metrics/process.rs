//! What the process and its workers take from the machine, as `/proc` has it: on Linux alone.
//!
//! The names of the process's own are those that all Prometheus clients use.

use std::fmt;
use std::fs;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::{Family, LabelSet, Labels};
use crate::telemetry::cells::WorkerCells;

pub(super) fn encode(
    workers: &[Arc<WorkerCells>],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut family = Family::counter(
        encoder,
        "gateway_worker_cpu_seconds",
        "CPU time that a worker has had; 1 in a second is a whole core",
    )?;
    for (index, cells) in workers.iter().enumerate() {
        if let Some(seconds) = thread_seconds(cells.thread.get()) {
            let labels: &Labels<'_> = &[("worker", &index.to_string())];
            family
                .0
                .encode_family(&LabelSet(labels))?
                .encode_counter::<NoLabelSet, f64, u64>(&seconds, None)?;
        }
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let taken = Taken::parse(&stat, clock_ticks_per_second(), page_size() as u64);
    let help = "CPU time of the process, user and system";
    let family = Family::counter(encoder, "process_cpu_seconds", help)?;
    if let Some(taken) = &taken {
        let mut encoder = family.0;
        encoder.encode_counter::<NoLabelSet, f64, u64>(&taken.cpu_seconds, None)?;
    }
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM",
            taken.map(|taken| taken.resident_bytes),
        ),
        ("process_open_fds", "Open descriptors", open_descriptors()),
        (
            "process_max_fds",
            "Descriptors that the process may have",
            getrlimit(Resource::Nofile).current,
        ),
    ];
    for (name, help, value) in gauges {
        let mut family = Family::gauge(encoder, name, help)?;
        if let Some(value) = value {
            family.set(&[], value)?;
        }
    }
    Ok(())
}

/// CPU time of a thread of ours: nanoseconds are the first of three numbers.
#[expect(
    clippy::cast_precision_loss,
    reason = "a hundred days of nanoseconds fit 53 bits"
)]
fn thread_seconds(thread: u64) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds as f64 / 1e9)
}

fn open_descriptors() -> Option<u64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?;
    // The listing has one of its own.
    Some((listed.count() as u64).saturating_sub(1))
}

#[derive(Debug, PartialEq)]
struct Taken {
    cpu_seconds: f64,
    resident_bytes: u64,
}

impl Taken {
    /// Reads `/proc/<pid>/stat` (proc(5)). Its second field is the program's name in brackets and
    /// may hold anything, so that fields are counted from the last bracket.
    #[expect(clippy::cast_precision_loss, reason = "ticks of years fit 53 bits")]
    fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        /// `utime`, `stime` and `rss`, counted from the third field.
        const FIELDS: [usize; 3] = [14 - 3, 15 - 3, 24 - 3];
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let [user, system, pages] = FIELDS.map(|at| fields.get(at)?.parse::<u64>().ok());
        Some(Self {
            cpu_seconds: (user? + system?) as f64 / ticks_per_second as f64,
            resident_bytes: pages?.saturating_mul(page_bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_name_does_not_shift_the_fields() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 150 50 16 17 18 19 20 21 22 23 7 25";
        for name in ["(gateway)", "(a) b (c)"] {
            let taken = Taken::parse(&format!("4 {name} {rest}"), 100, 4_096);
            let expected = Taken {
                cpu_seconds: 2.0,
                resident_bytes: 7 * 4_096,
            };
            assert_eq!(taken, Some(expected), "{name}");
        }
        assert_eq!(Taken::parse("", 100, 4_096), None);
        assert_eq!(Taken::parse("4 (gateway) S 1 2", 100, 4_096), None);
    }
}
