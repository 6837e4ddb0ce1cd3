//! The checks of one upstream: each endpoint on its own schedule, a bounded number at a time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use gateway_core::cluster::{Endpoint, EndpointSet};
use gateway_core::file::HealthCheck;
use tokio::time::{Instant, sleep_until};

use super::check::{CheckError, check};

/// Checks of one upstream that are under way at a time.
const AT_ONCE_MAX: usize = 32;
/// Time after which a change of the set is seen at the latest.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The checks of one upstream.
pub(crate) struct Checks {
    check: Arc<HealthCheck>,
    endpoints: Arc<ArcSwap<EndpointSet>>,
    /// The set that `schedule` was made for.
    known: Option<Arc<EndpointSet>>,
    schedule: HashMap<SocketAddr, Scheduled>,
    random: fastrand::Rng,
}

type Running = FuturesUnordered<BoxFuture<'static, Ended>>;

struct Scheduled {
    endpoint: Arc<Endpoint>,
    due: Instant,
    is_running: bool,
}

struct Ended {
    endpoint: Arc<Endpoint>,
    result: Result<(), CheckError>,
}

impl Checks {
    pub(crate) fn new(
        check: HealthCheck,
        endpoints: &Arc<ArcSwap<EndpointSet>>,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            check: Arc::new(check),
            endpoints: Arc::clone(endpoints),
            known: None,
            schedule: HashMap::new(),
            random,
        }
    }

    /// Checks until dropped.
    pub(crate) async fn run(mut self) {
        let mut running = Running::new();
        loop {
            let now = Instant::now();
            self.follow_set(now);
            let next = self.start_due(&mut running, now);
            tokio::select! {
                Some(ended) = running.next() => self.take(&ended),
                () = sleep_until(next) => {}
            }
        }
    }

    /// New endpoints are checked at once; those that left are not checked any more.
    fn follow_set(&mut self, now: Instant) {
        let set = self.endpoints.load_full();
        if self.known.as_ref().is_some_and(|it| Arc::ptr_eq(it, &set)) {
            return;
        }
        let mut before = std::mem::take(&mut self.schedule);
        for endpoint in set.endpoints() {
            let kept = before
                .remove(&endpoint.address())
                .filter(|kept| kept.endpoint.is(endpoint));
            let scheduled = kept.unwrap_or_else(|| Scheduled {
                endpoint: Arc::clone(endpoint),
                due: now,
                is_running: false,
            });
            self.schedule.insert(endpoint.address(), scheduled);
        }
        self.known = Some(set);
    }

    /// Starts as many as may run; returns when to look again.
    fn start_due(&mut self, running: &mut Running, now: Instant) -> Instant {
        let mut next = now + LOOK_INTERVAL;
        for scheduled in self.schedule.values_mut().filter(|it| !it.is_running) {
            if scheduled.due > now {
                next = next.min(scheduled.due);
            } else if running.len() < AT_ONCE_MAX {
                scheduled.is_running = true;
                scheduled.due = now + wait(&self.check, &mut self.random);
                let (options, endpoint) = (Arc::clone(&self.check), scheduled.endpoint.clone());
                running.push(Box::pin(async move {
                    let result = check(&options, endpoint.address()).await;
                    Ended { endpoint, result }
                }));
            }
            // Otherwise the end of a running one makes room, and wakes us.
        }
        next
    }

    fn take(&mut self, ended: &Ended) {
        let scheduled = self.schedule.get_mut(&ended.endpoint.address());
        let Some(scheduled) = scheduled.filter(|it| it.endpoint.is(&ended.endpoint)) else {
            return;
        };
        scheduled.is_running = false;
        if let Err(error) = &ended.result {
            tracing::debug!(endpoint = %ended.endpoint.label, %error, "health check failed");
        }
        let has_passed = ended.result.is_ok();
        ended
            .endpoint
            .health
            .checked(has_passed, self.check.thresholds);
    }
}

/// From one check's start to the next one's: the interval, more or less.
fn wait(check: &HealthCheck, random: &mut fastrand::Rng) -> Duration {
    let share = f64::from(check.jitter_percent) / 100.0;
    check
        .interval
        .mul_f64(1.0 + share * (2.0 * random.f64() - 1.0))
}

#[cfg(test)]
mod tests {
    use gateway_core::cluster::Instance;
    use gateway_core::cluster::health::CheckThresholds;

    use gateway_core::cluster::balance::Balancer;

    use super::*;

    fn a_check(jitter_percent: u32) -> HealthCheck {
        HealthCheck {
            path: "/".parse().unwrap(),
            host: None,
            interval: Duration::from_secs(1),
            jitter_percent,
            timeout: Duration::from_secs(1),
            thresholds: CheckThresholds {
                healthy: 1,
                unhealthy: 1,
            },
            expected_statuses: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_schedule_follows_the_set() {
        let set = |before: &EndpointSet, ports: &[u16]| {
            let at = |port: &u16| Instance::at(SocketAddr::from(([127, 0, 0, 1], *port)));
            Arc::new(EndpointSet::succeeding(
                before,
                ports.iter().map(at),
                &Balancer::default(),
                None,
                0,
            ))
        };
        let first = set(&EndpointSet::default(), &[1, 2]);
        let endpoints = Arc::new(ArcSwap::new(Arc::clone(&first)));
        let mut checks = Checks::new(a_check(0), &endpoints, fastrand::Rng::with_seed(1));
        let began = Instant::now();
        checks.follow_set(began);
        let mut running = Running::new();
        checks.start_due(&mut running, began);
        assert_eq!(running.len(), 2, "new endpoints are checked at once");
        endpoints.store(set(&first, &[2, 3]));
        let later = began + Duration::from_millis(10);
        checks.follow_set(later);
        let mut scheduled: Vec<_> = checks
            .schedule
            .iter()
            .map(|(address, it)| (address.port(), it.is_running, it.due - began))
            .collect();
        scheduled.sort_unstable();
        let (kept, new) = (Duration::from_secs(1), Duration::from_millis(10));
        assert_eq!(scheduled, [(2, true, kept), (3, false, new)]);
        // The end of a check of one that left changes nothing.
        let gone = Arc::clone(&first.endpoints()[0]);
        checks.take(&Ended {
            endpoint: gone,
            result: Err(CheckError::Closed),
        });
        assert_eq!(endpoints.load().health().checks(), (0, 0));
    }

    #[test]
    fn waits_differ_from_the_interval_by_the_jitter_at_most() {
        let mut random = fastrand::Rng::with_seed(5);
        for (jitter_percent, least, most) in [(0, 1000, 1000), (10, 900, 1100), (50, 500, 1500)] {
            let check = a_check(jitter_percent);
            let waits: Vec<_> = (0..1000).map(|_| wait(&check, &mut random)).collect();
            let bounds = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(waits.iter().all(|wait| bounds.contains(wait)), "{waits:?}");
            let is_spread = waits.iter().any(|wait| *wait != waits[0]);
            assert_eq!(is_spread, jitter_percent > 0);
        }
    }
}
