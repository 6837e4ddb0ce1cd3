//! The load generator: a fixed number of connections, each sending its next
//! request when the last one has been answered (closed loop) or when it is due
//! (open loop).

mod connection;
mod pace;
mod request;
mod tally;

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

pub(crate) use self::connection::{Answer, Connection, Failure};
pub(crate) use self::pace::Pace;
use self::pace::{Schedule, Timer};
pub(crate) use self::request::{Request, Requests};
pub(crate) use self::tally::{CYCLE_SECONDS, Latency, Tally};
use crate::{cores, output};

/// How long a connection rests after a failure, so that a dead server is not
/// hammered: at most 50 attempts a second and connection.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What to send, from how many connections, for how long.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// What is sent, again and again.
    pub(crate) requests: Requests,
    /// Connections kept open, shared out among the threads.
    pub(crate) connections: usize,
    /// When requests are sent.
    pub(crate) pace: Pace,
    /// What runs the connections.
    pub(crate) runs_on: RunsOn,
    /// Load before the window opens; what it answers is not counted.
    pub(crate) warmup: Duration,
    /// Length of the window in which answers are counted.
    pub(crate) duration: Duration,
    /// Bound on opening a connection, and on a request until its answer's last byte.
    pub(crate) timeout: Duration,
    /// What each answer must be; anything else is a failure.
    pub(crate) expected: Option<Expected>,
}

/// What runs the connections of a workload.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RunsOn {
    /// Threads of its own, each with an event loop; on one core if given.
    Threads { count: usize, core: Option<usize> },
    /// The caller's event loop. For an upstream and a client that must share a
    /// core: as two threads they would take turns by the scheduler's time
    /// slices, of milliseconds, and the proxy would get its load in bursts.
    CallersLoop,
}

/// The only answer that a workload accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// The status code.
    pub(crate) status: u16,
    /// The body's length in bytes.
    pub(crate) body_bytes: u64,
}

/// Counts since the start, warm-up included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Requests answered, whatever the status.
    pub(crate) answered: u64,
    /// Requests and connection attempts that failed.
    pub(crate) failed: u64,
}

/// Load that is running. Dropping it ends the load.
pub(crate) struct Load {
    opens_at: Instant,
    closes_at: Instant,
    counters: Vec<Arc<Counters>>,
    tallies: Vec<oneshot::Receiver<Tally>>,
    stop: watch::Sender<()>,
}

impl Load {
    /// Starts a workload.
    ///
    /// # Errors
    /// When the operating system refuses a thread or an event loop.
    pub(crate) fn start(workload: Workload) -> io::Result<Self> {
        let starts_at = Instant::now();
        let opens_at = starts_at + workload.warmup;
        let closes_at = opens_at + workload.duration;
        let (stop, stopped) = watch::channel(());
        let (count, core) = match workload.runs_on {
            RunsOn::Threads { count, core } => (count, core),
            RunsOn::CallersLoop => (1, None),
        };
        let mut load = Self {
            opens_at,
            closes_at,
            counters: Vec::with_capacity(count),
            tallies: Vec::with_capacity(count),
            stop,
        };
        let workload = Arc::new(workload);
        let mut first = 0;
        for index in 0..count {
            let connections = share(workload.connections, count, index);
            let worker = Arc::new(Worker {
                workload: Arc::clone(&workload),
                opens_at,
                closes_at,
                drives: drives(&workload, starts_at, first..first + connections),
                counters: Arc::default(),
                tally: Mutex::new(Tally::new()),
            });
            load.counters.push(Arc::clone(&worker.counters));
            first += connections;
            let (send_tally, tally) = oneshot::channel();
            load.tallies.push(tally);
            let stopped = stopped.clone();
            let work = async move {
                worker.work(stopped).await;
                // The receiver is gone when the load was dropped.
                let _ = send_tally.send(worker.take_tally());
            };
            match workload.runs_on {
                RunsOn::CallersLoop => drop(tokio::spawn(work)),
                RunsOn::Threads { .. } => spawn_thread(index, core, work)?,
            }
        }
        Ok(load)
    }

    /// When answers begin to count.
    pub(crate) fn opens_at(&self) -> Instant {
        self.opens_at
    }

    /// When answers cease to count, and the load ends.
    pub(crate) fn closes_at(&self) -> Instant {
        self.closes_at
    }

    /// The counts so far.
    pub(crate) fn progress(&self) -> Progress {
        let sum = |pick: fn(&Counters) -> &AtomicU64| {
            self.counters
                .iter()
                .map(|counters| pick(counters).load(Ordering::Relaxed))
                .sum()
        };
        Progress {
            answered: sum(|counters| &counters.answered),
            failed: sum(|counters| &counters.failed),
        }
    }

    /// Ends the load now, or waits for the end of the window if `early` is not
    /// asked for, and gives the merged result with the length of the window.
    ///
    /// # Errors
    /// When a thread died, which is a defect of this program.
    pub(crate) async fn finish(self, ending: Ending) -> anyhow::Result<(Tally, Duration)> {
        if ending == Ending::Now {
            let _ = self.stop.send(());
        }
        let mut merged = Tally::new();
        for tally in self.tallies {
            merged.merge(&tally.await?);
        }
        let ended_at = Instant::now().min(self.closes_at);
        Ok((merged, ended_at.saturating_duration_since(self.opens_at)))
    }
}

/// How [`Load::finish`] ends the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// When the window closes.
    Planned,
    /// At once.
    Now,
}

/// Live counts of one thread, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counters {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// What one connection, and those that replace it, go by.
#[derive(Debug)]
struct Drive {
    /// Absent in a closed loop.
    schedule: Option<Schedule>,
    /// Requests answered, and so the number of the next one.
    taken: AtomicU64,
}

fn drives(workload: &Workload, starts_at: Instant, numbers: Range<usize>) -> Box<[Drive]> {
    let drive = |number| Drive {
        schedule: match workload.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => {
                let place = (number, workload.connections);
                Some(Schedule::new(starts_at, place, per_second))
            }
        },
        taken: AtomicU64::new(0),
    };
    numbers.map(drive).collect()
}

/// What the connections of one thread share.
struct Worker {
    workload: Arc<Workload>,
    opens_at: Instant,
    closes_at: Instant,
    /// One for each of its connections.
    drives: Box<[Drive]>,
    counters: Arc<Counters>,
    // Never contended: one thread runs all that lock it.
    tally: Mutex<Tally>,
}

impl Worker {
    async fn work(self: &Arc<Self>, mut stopped: watch::Receiver<()>) {
        // Dropped at the end of this function, and with it every connection.
        let mut driving = JoinSet::new();
        for nth in 0..self.drives.len() {
            driving.spawn(Arc::clone(self).drive(nth));
        }
        tokio::select! {
            () = tokio::time::sleep_until(self.closes_at.into()) => {}
            // An error means that the load was dropped, which ends it too.
            _ = stopped.changed() => {}
        }
        drop(driving);
        self.record_overdue(Instant::now().min(self.closes_at));
    }

    /// Requests of the window that were due and have no answer: leaving them out would flatter
    /// whoever stalls at its end. Each has waited at least until now.
    fn record_overdue(&self, now: Instant) {
        let mut tally = self.lock_tally();
        for drive in &self.drives {
            let Some(schedule) = &drive.schedule else {
                continue;
            };
            let number = drive.taken.load(Ordering::Relaxed);
            for due in schedule.due_before(number, now) {
                if due >= self.opens_at {
                    tally.record_overdue(due - self.opens_at, now - due);
                }
            }
        }
    }

    /// One connection's life: request after request, a new connection whenever
    /// the old one is spent. Ends with the window, or when it is dropped.
    async fn drive(self: Arc<Self>, nth: usize) {
        let drive = &self.drives[nth];
        while Instant::now() < self.closes_at {
            let failure = match self.open().await {
                Ok(connection) => self.repeat(connection, drive).await,
                Err(failure) => Some(failure),
            };
            if let Some(failure) = failure {
                self.record_failure(failure);
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let opening = Connection::open(self.workload.address);
        tokio::time::timeout(self.workload.timeout, opening)
            .await
            .unwrap_or(Err(Failure::ConnectTimeout))
    }

    /// Repeats the request until the connection is spent or fails, or the window closes: what is
    /// due or answered later is not of the window, however late its end is noticed.
    async fn repeat(&self, mut connection: Connection, drive: &Drive) -> Option<Failure> {
        let mut timer = match drive.schedule.map(|_| Timer::new()).transpose() {
            Ok(timer) => timer,
            Err(_no_descriptor) => return Some(Failure::Connect),
        };
        let mut began = Instant::now();
        loop {
            if let Some((schedule, timer)) = drive.schedule.zip(timer.as_mut()) {
                began = schedule.due(drive.taken.load(Ordering::Relaxed));
                if timer.wait_until(began).await.is_err() {
                    return Some(Failure::Io);
                }
                if began >= self.closes_at {
                    return None;
                }
            }
            let exchange = connection.exchange(self.workload.requests.next());
            let answer = match tokio::time::timeout(self.workload.timeout, exchange).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(failure)) => return Some(failure),
                Err(_elapsed) => return Some(Failure::Timeout),
            };
            if !answer.is_expected(self.workload.expected) {
                return Some(Failure::UnexpectedAnswer);
            }
            // One clock read a request: the end of one is the start of the next.
            let ended = Instant::now();
            if ended >= self.closes_at {
                return None;
            }
            self.record_answer(&answer, ended, ended - began);
            drive.taken.fetch_add(1, Ordering::Relaxed);
            began = ended;
            if !answer.keep_alive {
                return None;
            }
        }
    }

    fn record_answer(&self, answer: &Answer, ended: Instant, latency: Duration) {
        self.counters.answered.fetch_add(1, Ordering::Relaxed);
        if ended >= self.opens_at {
            self.lock_tally()
                .record(answer, ended - self.opens_at, latency);
        }
    }

    fn record_failure(&self, failure: Failure) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        if Instant::now() >= self.opens_at {
            self.lock_tally().record_failure(failure);
        }
    }

    fn lock_tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_tally(&self) -> Tally {
        std::mem::replace(&mut *self.lock_tally(), Tally::new())
    }
}

/// Runs `work` on a thread of its own.
fn spawn_thread(
    index: usize,
    core: Option<usize>,
    work: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = move || {
        if let Some(Err(error)) = core.map(cores::pin_current_thread) {
            output::note(&format!("warning: the load runs unpinned: {error}"));
        }
        runtime.block_on(work);
    };
    thread::Builder::new()
        .name(format!("load-{index}"))
        .spawn(run)
        .map(drop)
}

/// The part of `total` that falls to the thread `index` of `threads`.
fn share(total: usize, threads: usize, index: usize) -> usize {
    total / threads + usize::from(index < total % threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        for (total, threads) in [(64, 1), (64, 3), (5, 8), (1, 1)] {
            let shares: Vec<_> = (0..threads)
                .map(|index| share(total, threads, index))
                .collect();
            assert_eq!(shares.iter().sum::<usize>(), total);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }

    #[tokio::test]
    async fn open_loop_counts_every_request_that_a_stalled_server_left_waiting() {
        // Connections stay in its queue, and nothing answers.
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = http::Uri::from_static("http://a/");
        let request = Request::new(&http::Method::GET, &uri, &[]).unwrap();
        let load = Load::start(Workload {
            address: server.local_addr().unwrap(),
            requests: Requests::one(request),
            connections: 2,
            pace: Pace::Open { per_second: 200 },
            runs_on: RunsOn::CallersLoop,
            warmup: Duration::from_millis(100),
            duration: Duration::from_millis(300),
            timeout: Duration::from_secs(10),
            expected: None,
        })
        .unwrap();
        let (tally, _) = load.finish(Ending::Planned).await.unwrap();
        // One every 5 ms of the window; the last but one has waited for 10 ms.
        assert_eq!((tally.answered(), tally.overdue()), (0, 60));
        let latency = tally.latency();
        assert!((299_000..301_000).contains(&latency.max_us), "{latency:?}");
        assert!((145_000..156_000).contains(&latency.p50_us), "{latency:?}");
    }
}
