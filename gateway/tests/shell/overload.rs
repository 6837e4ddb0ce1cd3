//! More than an upstream can take: it gets what it can do, the important first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use tokio::sync::Semaphore;

use crate::support::backend::{Backend, Gate, full};
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, client, fetch};
use crate::support::{eventually, runtime};

/// What the upstream does at a time, and how long it takes for one.
const SERVERS: usize = 8;
const SERVICE: Duration = Duration::from_millis(20);

fn of_limited_capacity() -> Backend {
    let servers = Arc::new(Semaphore::new(SERVERS));
    Backend::answering(move |_request| {
        let servers = Arc::clone(&servers);
        async move {
            let _one = servers.acquire().await.expect("it is never closed");
            tokio::time::sleep(SERVICE).await;
            Response::new(full("done"))
        }
    })
}

/// Clients that ask again as soon as they are answered, and a moment later where they are refused.
struct Crowd {
    is_over: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Duration>>>,
}

impl Crowd {
    fn start(gateway: &TestGateway, path: &str, clients: usize) -> Self {
        let url = format!("http://{}{path}", gateway.address());
        let mut crowd = Self {
            is_over: Arc::default(),
            good: Arc::default(),
            refused: Arc::default(),
            tasks: Vec::new(),
        };
        for _ in 0..clients {
            let (url, is_over) = (url.clone(), Arc::clone(&crowd.is_over));
            let (good, refused) = (Arc::clone(&crowd.good), Arc::clone(&crowd.refused));
            crowd.tasks.push(runtime().spawn(async move {
                let mut times = Vec::new();
                while !is_over.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    let reply = fetch(client().get(&url)).await.expect("an answer");
                    if reply.status() == 200 {
                        good.fetch_add(1, Ordering::SeqCst);
                        times.push(began.elapsed());
                    } else {
                        assert_eq!(reply.verdict(), "503 request_shed");
                        assert_eq!(reply.header("retry-after").as_deref(), Some("1"));
                        refused.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(SERVICE / 2).await;
                    }
                }
                times
            }));
        }
        crowd
    }

    /// Good and refused ones, and the median of the good.
    fn end(self) -> (usize, usize, Duration) {
        self.is_over.store(true, Ordering::SeqCst);
        let tasks = self.tasks.into_iter();
        let times = tasks.map(|task| runtime().block_on(task).expect("no panic"));
        let mut times: Vec<_> = times.flatten().collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let count = |it: &AtomicUsize| it.load(Ordering::SeqCst);
        (count(&self.good), count(&self.refused), median)
    }
}

#[test]
fn in_overload_the_important_are_served_in_time_and_the_rest_is_shed() {
    const ENOUGH: usize = 300;
    let backend = of_limited_capacity();
    let yaml = r#"
workers: 1
upstreams: {backend: {static: ["${BACKEND}"], limits: {adaptive: {initial: 40}}}}
routes:
  - {name: pay, match: {path: /pay}, auth: none, priority: critical, backends: [{upstream: backend}]}
  - {name: report, match: {path: /report}, auth: none, priority: low, backends: [{upstream: backend}]}
"#;
    let gateway = TestGateway::start(yaml, &[("BACKEND", &backend.address())]);
    let low = Crowd::start(&gateway, "/report", 60);
    let limit = "gateway_upstream_concurrency_limit{upstream=\"backend\"}";
    eventually("the limit falls", || {
        (gateway.metrics().value(limit) < 25).then_some(())
    });
    let critical = Crowd::start(&gateway, "/pay", 2);
    let good = Arc::clone(&critical.good);
    eventually("the important are served", || {
        (good.load(Ordering::SeqCst) >= ENOUGH).then_some(())
    });
    let (served, refused, median) = critical.end();
    let (served_low, refused_low, _) = low.end();
    println!(
        "critical: {served} served, {refused} shed, median {median:?}; \
         low: {served_low} served, {refused_low} shed"
    );
    assert!(
        refused * 5 <= served,
        "{refused} of {served} critical ones shed"
    );
    assert!(
        refused_low > served_low,
        "{refused_low} shed, {served_low} served"
    );
    // Without a limit each would wait behind 60 others, and far longer on a busy machine.
    assert!(median < SERVICE * 8, "{median:?}");
    let metrics = gateway.metrics();
    let shed = |priority: &str| {
        let labels = format!("upstream=\"backend\",priority=\"{priority}\"");
        metrics.value(&format!("gateway_upstream_requests_shed_total{{{labels}}}"))
    };
    assert_eq!(shed("critical"), refused as u64);
    assert_eq!(shed("low"), refused_low as u64);
    assert!(metrics.seconds("gateway_upstream_base_latency_seconds") > 0.0);
}

#[test]
fn of_a_fixed_limit_a_part_is_kept_for_the_important() {
    let gate = Gate::closed();
    let waiting = gate.clone();
    let backend = Backend::answering(move |_request| {
        let gate = waiting.clone();
        async move {
            gate.pass().await;
            Response::new(full("done"))
        }
    });
    let yaml = r#"
upstreams: {backend: {static: ["${BACKEND}"], limits: {requests: 5}}}
routes:
  - {name: pay, match: {path: /pay}, auth: none, priority: critical, backends: [{upstream: backend}]}
  - {name: report, match: {path: /report}, auth: none, priority: low, backends: [{upstream: backend}]}
"#;
    let gateway = TestGateway::start(yaml, &[("BACKEND", &backend.address())]);
    let mut under_way = Vec::new();
    let mut begin = |path: &str, count: usize| {
        for _ in 0..count {
            under_way.push(runtime().spawn(fetch(gateway.get(path))));
        }
        let so_far = under_way.len();
        eventually("they are under way", || {
            (backend.in_flight() == so_far).then_some(())
        });
    };
    begin("/report", 3);
    assert_eq!(gateway.get("/report").fetch().verdict(), "503 request_shed");
    begin("/pay", 2);
    let reply = gateway.get("/pay").fetch();
    assert_eq!(reply.verdict(), "503 upstream_overloaded");
    gate.open();
    for task in under_way {
        let reply = runtime().block_on(task).expect("no panic");
        assert_eq!(reply.expect("an answer").status(), 200);
    }
    let lines = gateway.access_lines(7);
    let details: Vec<_> = lines
        .iter()
        .filter_map(|line| line["detail"].as_str())
        .collect();
    assert_eq!(details, ["low", "requests"]);
    assert_eq!(backend.requests(), 5, "none of the refused was sent");
}
