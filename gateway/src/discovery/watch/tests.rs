//! The loop against a scripted source, on a paused clock.

use std::{
    collections::VecDeque,
    future,
    io::{self, Write},
    sync::Mutex,
};

use super::*;

/// What a question meets.
#[derive(Clone, Copy, Debug)]
enum Step {
    Answer(&'static [&'static str]),
    Fail(FailureReason),
    Hang,
}
use Step::{Answer, Fail, Hang};

const ONE: Step = Answer(&["10.0.0.1:80"]);
const TWO: Step = Answer(&["10.0.0.1:80", "10.0.0.2:80"]);
const NONE: Step = Answer(&[]);
const OUTAGE: Step = Fail(FailureReason::Outage);
const THROTTLED: Step = Fail(FailureReason::Throttled);

/// How long a source takes over an answer, so that a test can look at what
/// stands between a question and its outcome.
const ANSWER_TIME: Duration = Duration::from_millis(20);

/// Plays its steps, then hangs for ever.
#[derive(Debug)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    asked_at: Arc<Mutex<Vec<Instant>>>,
}

impl Discover for Script {
    async fn discover(&self) -> Result<Found, DiscoverError> {
        self.asked_at.lock().unwrap().push(Instant::now());
        let step = self.steps.lock().unwrap().pop_front().unwrap_or(Hang);
        tokio::time::sleep(ANSWER_TIME).await;
        match step {
            Answer(addresses) => {
                Ok(Found::new(addresses.iter().map(|address| {
                    FoundEndpoint::new(address.parse().unwrap())
                })))
            }
            Fail(reason) => Err(error(reason)),
            Hang => future::pending().await,
        }
    }
}

fn error(reason: FailureReason) -> DiscoverError {
    let source_name = "script";
    let cause = String::from("as scripted");
    match reason {
        FailureReason::Throttled => DiscoverError::Throttled { source_name, cause },
        FailureReason::Outage => DiscoverError::Outage { source_name, cause },
        FailureReason::NotFound => DiscoverError::NotFound { what: cause },
        other => panic!("no step fails with {other}"),
    }
}

/// A loop running on a task of the test's own runtime.
struct Running {
    discovery: Discovery,
    asked_at: Arc<Mutex<Vec<Instant>>>,
    shutdown: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn start(steps: &[Step], seed: u64) -> Running {
    let asked_at = Arc::new(Mutex::new(Vec::new()));
    let script = Script {
        steps: Mutex::new(steps.iter().copied().collect()),
        asked_at: Arc::clone(&asked_at),
    };
    let rng = fastrand::Rng::with_seed(seed);
    let (watcher, discovery) = Watcher::new("users".into(), script, WatchOptions::default(), rng);
    let (shutdown, stopped) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(watcher.run(async {
        // A dropped sender is no order to stop.
        if stopped.await.is_err() {
            future::pending::<()>().await;
        }
    }));
    Running {
        discovery,
        asked_at,
        shutdown,
        task,
    }
}

impl Running {
    /// Lets the paused clock run until so many questions have been asked, of
    /// which the last one has no answer yet.
    async fn asked(&self, questions: usize) -> Vec<Instant> {
        let limit = Duration::from_hours(1);
        tokio::time::timeout(limit, async {
            while self.asked_at.lock().unwrap().len() < questions {
                tokio::time::sleep(ANSWER_TIME / 2).await;
            }
        })
        .await
        .expect("the loop asks again within an hour");
        self.asked_at.lock().unwrap().clone()
    }

    fn addresses(&self) -> Vec<String> {
        self.discovery
            .state()
            .found
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.address.to_string())
            .collect()
    }
}

/// Plays all steps and says in a line what stands after each of them.
async fn history(steps: &[Step]) -> Vec<String> {
    let running = start(steps, 7);
    let mut lines = Vec::new();
    for question in 1..=steps.len() {
        // The next question is asked when this one's outcome is settled.
        running.asked(question + 1).await;
        let state = running.discovery.state();
        let failing = state.failing.as_ref().map_or(String::from("ok"), |it| {
            format!("{} x{}", it.error.reason(), it.consecutive)
        });
        lines.push(format!(
            "{} endpoints, generation {}, {failing}",
            state.found.endpoints().len(),
            state.generation
        ));
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn nothing_empties_a_set_that_worked() {
    let steps = [TWO, OUTAGE, NONE, Hang, THROTTLED, ONE, NONE, ONE];
    let expected = [
        "2 endpoints, generation 1, ok",
        "2 endpoints, generation 1, outage x1",
        "2 endpoints, generation 1, empty x2",
        "2 endpoints, generation 1, timeout x3",
        "2 endpoints, generation 1, throttled x4",
        "1 endpoints, generation 2, ok",
        "1 endpoints, generation 2, empty x1",
        "1 endpoints, generation 2, ok",
    ];
    assert_eq!(history(&steps).await, expected);
}

/// A source with a lifetime or a reason of its own to be asked again.
#[derive(Debug)]
struct Timely {
    lifetime: Option<Duration>,
    changes_after: Option<Duration>,
    turn: Duration,
    asked_at: Arc<Mutex<Vec<Instant>>>,
}

impl Discover for Timely {
    async fn discover(&self) -> Result<Found, DiscoverError> {
        self.asked_at.lock().unwrap().push(Instant::now());
        let found = Found::new([FoundEndpoint::new("10.0.0.1:80".parse().unwrap())]);
        Ok(match self.lifetime {
            Some(lifetime) => found.with_lifetime(lifetime),
            None => found,
        })
    }

    async fn turn(&self) {
        tokio::time::sleep(self.turn).await;
    }

    async fn changed(&self) {
        match self.changes_after {
            Some(time) => tokio::time::sleep(time).await,
            None => future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_may_say_when_to_ask_it_again() {
    let second = Duration::from_secs;
    // Lifetime, time to a change, time to its turn, and the expected gap in seconds ±10 %.
    let cases = [
        (None, None, second(0), 5.0),
        (Some(second(60)), None, second(0), 60.0),
        (None, Some(second(2)), second(0), 2.0),
        (Some(second(60)), Some(second(2)), second(0), 2.0),
        (None, Some(second(9)), second(0), 5.0),
        // Longer than a question may take.
        (None, None, second(10), 15.0),
    ];
    for (lifetime, changes_after, turn, expected) in cases {
        let asked_at = Arc::new(Mutex::new(Vec::new()));
        let source = Timely {
            lifetime,
            changes_after,
            turn,
            asked_at: Arc::clone(&asked_at),
        };
        let rng = fastrand::Rng::with_seed(3);
        let (watcher, discovery) =
            Watcher::new("users".into(), source, WatchOptions::default(), rng);
        let shutdown = tokio::time::sleep(second(200));
        watcher.run(shutdown).await;
        assert!(discovery.state().failing.is_none());
        let asked_at = asked_at.lock().unwrap();
        for gap in asked_at.windows(2).map(|pair| pair[1] - pair[0]) {
            let gap = gap.as_secs_f64();
            let slack = 0.1 * expected + 0.01;
            assert!((gap - expected).abs() <= slack, "{gap}, not {expected}");
        }
        assert!(asked_at.len() > 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_first_answer_is_an_answer() {
    let expected = [
        "0 endpoints, generation 0, outage x1",
        "0 endpoints, generation 1, ok",
        "0 endpoints, generation 1, ok",
        "1 endpoints, generation 2, ok",
    ];
    assert_eq!(history(&[OUTAGE, NONE, NONE, ONE]).await, expected);
}

#[tokio::test(start_paused = true)]
async fn readiness_comes_with_the_first_answer() {
    let running = start(&[OUTAGE, Fail(FailureReason::NotFound), TWO], 3);
    assert!(!running.discovery.state().answered());
    assert!(running.discovery.answered().await);
    assert_eq!(running.addresses(), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(running.asked_at.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn readers_wake_for_changes_and_not_for_confirmations() {
    let running = start(&[ONE, ONE, ONE, TWO, OUTAGE, OUTAGE, Hang, TWO], 5);
    let mut states = running.discovery.subscribe();
    let collector = tokio::spawn(async move {
        let mut seen = Vec::new();
        while states.changed().await.is_ok() {
            let state = states.borrow_and_update();
            let failing = state.failing.as_ref().map(|it| it.error.reason());
            seen.push((state.generation, failing));
        }
        seen
    });
    running.asked(9).await;
    running.shutdown.send(()).unwrap();
    let expected = [
        (1, None),
        (2, None),
        (2, Some(FailureReason::Outage)),
        (2, Some(FailureReason::Timeout)),
        (2, None),
    ];
    assert_eq!(collector.await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn every_outcome_is_counted_under_its_reason() {
    let running = start(&[OUTAGE, ONE, THROTTLED, Hang, NONE, THROTTLED, TWO], 11);
    running.asked(8).await;
    let stats = running.discovery.stats();
    let counts = FailureReason::ALL.map(|reason| (reason.as_str(), stats.failures(reason)));
    let expected = [
        ("not_found", 0),
        ("throttled", 2),
        ("timeout", 1),
        ("denied", 0),
        ("outage", 1),
        ("invalid", 0),
        ("empty", 1),
    ];
    assert_eq!((stats.successes(), counts), (2, expected));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_a_question_under_way_and_a_wait_at_once() {
    for question_under_way in [true, false] {
        let running = start(&[ONE], 1);
        running.asked(1).await;
        if !question_under_way {
            assert!(running.discovery.answered().await);
        }
        let before = Instant::now();
        running.shutdown.send(()).unwrap();
        running.task.await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(running.discovery.state().answered(), !question_under_way);
    }
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_when_nobody_reads_any_more() {
    let running = start(&[ONE], 1);
    running.asked(1).await;
    drop(running.discovery);
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn readiness_is_refused_when_the_loop_ends_without_an_answer() {
    let running = start(&[Hang], 1);
    running.shutdown.send(()).unwrap();
    assert!(!running.discovery.answered().await);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_source_is_given_up_after_the_call_timeout() {
    let running = start(&[ONE, Hang, ONE], 2);
    let asked_at = running.asked(3).await;
    let gap = asked_at[2].duration_since(asked_at[1]);
    assert!(gap >= DEFAULT_CALL_TIMEOUT + MIN_DELAY, "{gap:?}");
    assert!(
        gap <= DEFAULT_CALL_TIMEOUT + DEFAULT_INTERVAL + MILLISECOND,
        "{gap:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn regular_questions_keep_the_interval_within_a_tenth() {
    let running = start(&[ONE; 200], 13);
    let asked_at = running.asked(200).await;
    let gaps: Vec<_> = asked_at
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]))
        .collect();
    let (least, greatest) = (*gaps.iter().min().unwrap(), *gaps.iter().max().unwrap());
    assert!(least >= DEFAULT_INTERVAL.mul_f64(0.9), "{least:?}");
    // The timer rounds up to a millisecond.
    let answer_time = ANSWER_TIME + MILLISECOND * 2;
    assert!(
        greatest <= DEFAULT_INTERVAL.mul_f64(1.1) + answer_time,
        "{greatest:?}"
    );
    // Of 199 draws some fall into the outer tenths on either side.
    assert!(
        least < DEFAULT_INTERVAL.mul_f64(0.92),
        "no jitter: {least:?}"
    );
    assert!(
        greatest > DEFAULT_INTERVAL.mul_f64(1.08),
        "no jitter: {greatest:?}"
    );
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// The least and greatest of many waits, over many seeds.
fn range(reason: FailureReason, answered: bool, consecutive: u32) -> (Duration, Duration) {
    let delays = (0..2000).map(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        failure_delay(reason, DEFAULT_INTERVAL, answered, consecutive, &mut rng)
    });
    let delays: Vec<_> = delays.collect();
    (*delays.iter().min().unwrap(), *delays.iter().max().unwrap())
}

#[test]
fn backoff_grows_within_its_cap_and_is_bounded() {
    let seconds = Duration::from_secs_f64;
    // reason, answered before, how many in a row, floor, cap
    let cases = [
        (FailureReason::Outage, true, 1, 0.1, 5.0),
        (FailureReason::Outage, true, 2, 0.1, 10.0),
        (FailureReason::Timeout, true, 3, 0.1, 20.0),
        (FailureReason::NotFound, true, 4, 0.1, 30.0),
        (FailureReason::Outage, true, u32::MAX, 0.1, 30.0),
        (FailureReason::Outage, false, 1, 0.1, 0.5),
        (FailureReason::Outage, false, 3, 0.1, 2.0),
        (FailureReason::Outage, false, u32::MAX, 0.1, 30.0),
        (FailureReason::Throttled, true, 1, 10.0, 20.0),
        (FailureReason::Throttled, false, 1, 10.0, 20.0),
        (FailureReason::Throttled, true, 2, 15.0, 30.0),
        (FailureReason::Throttled, true, u32::MAX, 15.0, 30.0),
        (FailureReason::Empty, true, 1, 4.5, 5.5),
        (FailureReason::Empty, true, u32::MAX, 4.5, 5.5),
    ];
    for (reason, answered, consecutive, floor, cap) in cases {
        let (least, greatest) = range(reason, answered, consecutive);
        let case = format!("{reason} {answered} {consecutive}: {least:?} to {greatest:?}");
        assert!(
            least >= seconds(floor) && greatest <= seconds(cap),
            "{case}"
        );
        assert!(greatest >= seconds(cap).mul_f64(0.95), "unused cap: {case}");
        assert!(
            least <= seconds(floor) + seconds(cap).mul_f64(0.05),
            "{case}"
        );
    }
}

#[test]
fn an_interval_above_the_bound_is_the_bound() {
    let mut rng = fastrand::Rng::with_seed(1);
    let interval = MAX_BACKOFF * 4;
    for consecutive in 1..100 {
        let delay = failure_delay(
            FailureReason::Throttled,
            interval,
            true,
            consecutive,
            &mut rng,
        );
        assert!((interval / 2..=interval).contains(&delay), "{delay:?}");
    }
}

#[test]
fn a_change_is_counted_by_address() {
    let found = |addresses: &[&str]| -> Vec<FoundEndpoint> {
        let endpoints = addresses
            .iter()
            .map(|it| FoundEndpoint::new(it.parse().unwrap()));
        Found::new(endpoints).endpoints().to_vec()
    };
    let old = found(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    let mut new = found(&["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80", "10.0.0.5:80"]);
    new[0].healthy = false;
    let expected = Change {
        added: 2,
        removed: 1,
        updated: 1,
    };
    assert_eq!(Change::between(&old, &new), expected);
}

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_failures_is_said_when_it_begins_and_when_it_ends() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // While there is one subscriber only, tracing asks the thread that first
    // reaches a log line whether anybody listens, which may be another test's.
    // With a second one it asks all of them.
    let second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let guard = tracing::subscriber::set_default(subscriber);
    let running = start(&[ONE, OUTAGE, OUTAGE, NONE, TWO, TWO, THROTTLED, TWO], 17);
    running.asked(9).await;
    drop((guard, second));

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let said: Vec<_> = text
        .lines()
        .map(|line| line.split(" upstream=").next().unwrap().trim())
        .collect();
    let expected = [
        "INFO endpoints changed",
        "WARN discovery failing, last good endpoints kept",
        "INFO discovery recovered",
        "INFO endpoints changed",
        "WARN discovery failing, last good endpoints kept",
        "INFO discovery recovered",
    ];
    assert_eq!(said, expected, "{text}");
}
