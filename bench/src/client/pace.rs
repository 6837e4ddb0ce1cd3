//! When requests are sent: as answers come, or at a fixed rate.

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// When the connections of a workload send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pace {
    /// Each connection sends its next request when the last one has been answered.
    Closed,
    /// So many requests a second from all connections together, whatever comes back.
    Open {
        /// At least 1.
        per_second: u32,
    },
}

/// When the requests of one connection are due: evenly spaced, and no two connections at once.
///
/// Latency is counted from that time, not from when the request was sent: a request that waits
/// behind a slow answer on its connection has waited for the server. That leaves no coordinated
/// omission (Gil Tene, "How NOT to Measure Latency"; wrk2 does the same).
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// When the first request of all connections is due.
    starts_at: Instant,
    /// Which of the connections it is, from 0, and how many there are.
    connection: u64,
    connections: u64,
    per_second: u64,
}

impl Schedule {
    pub(super) fn new(
        starts_at: Instant,
        (connection, connections): (usize, usize),
        per_second: u32,
    ) -> Self {
        Self {
            starts_at,
            connection: connection as u64,
            connections: connections as u64,
            per_second: per_second.into(),
        }
    }

    /// When request `number` of this connection is due, from 0.
    pub(super) fn due(&self, number: u64) -> Instant {
        let nth = number * self.connections + self.connection;
        let whole = Duration::from_secs(nth / self.per_second);
        let rest = Duration::from_nanos(nth % self.per_second * 1_000_000_000 / self.per_second);
        self.starts_at + whole + rest
    }

    /// The times of all requests from `number` on that are due before `end`.
    pub(super) fn due_before(self, number: u64, end: Instant) -> impl Iterator<Item = Instant> {
        (number..)
            .map(move |number| self.due(number))
            .take_while(move |due| *due < end)
    }
}

/// A timer of the kernel: tokio's own counts whole milliseconds, several times what a request
/// takes.
///
/// Registered as if it were a pipe, which it is to whoever waits for it and reads it: tokio's way
/// for any descriptor needs unsafe code.
pub(super) struct Timer(Receiver);

impl Timer {
    /// # Errors
    /// When there are no more descriptors.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Receiver::from_owned_fd_unchecked(timer).map(Self)
    }

    /// Waits until `due`; not at all when that has passed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) async fn wait_until(&mut self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let setting = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(left).map_err(io::Error::other)?,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &setting)?;
        // How often it fired, which is once.
        self.0.read_exact(&mut [0; 8]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_and_add_up_to_the_rate() {
        let start = Instant::now();
        let mut dues: Vec<Duration> = (0..3)
            .map(|connection| Schedule::new(start, (connection, 3), 600))
            .flat_map(|schedule| schedule.due_before(0, start + Duration::from_secs(2)))
            .map(|due| due - start)
            .collect();
        dues.sort();
        assert_eq!(dues.len(), 1_200);
        let gap = Duration::from_nanos(1_666_667);
        assert!(
            dues.windows(2).all(|pair| pair[1] <= pair[0] + gap),
            "{dues:?}"
        );
        assert_eq!(dues[600], Duration::from_secs(1));
    }

    #[tokio::test]
    async fn timer_never_fires_early_and_takes_any_number_of_turns() {
        let mut timer = Timer::new().unwrap();
        for _ in 0..3 {
            let due = Instant::now() + Duration::from_micros(300);
            timer.wait_until(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
        timer.wait_until(Instant::now()).await.unwrap();
    }
}
