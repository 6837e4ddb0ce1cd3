//! What runs beside the workers: discovery, health, keys of others and our own, the clock's
//! correction, reloads.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;

use super::log_output::reopen_on_signal;
use super::reload::Reloader;
use super::running::{HealthWatches, Running};
use crate::clock::Clock;
use crate::proxy::Live;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::log_level::LogLevel;

/// Between two looks at the limits that find themselves.
const ADAPT_PAUSE: Duration = Duration::from_millis(50);
/// The same where there is none: a reload may bring one.
const ADAPT_IDLE_PAUSE: Duration = Duration::from_secs(1);

/// Discovery, health, keys of others and our own, documents, the clock's correction and reloads,
/// on one thread beside the workers.
pub(super) struct Background {
    pub(super) running: Option<Running>,
    /// There where the configuration comes from a place that can be read again.
    pub(super) reloader: Option<Reloader>,
    pub(super) clock: Clock,
    pub(super) log_level: Option<Arc<LogLevel>>,
    /// There where the process's SIGUSR1 is ours.
    pub(super) reopens: Option<Arc<AccessLog>>,
}

#[async_trait]
impl Service for Background {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        running.start();
        let ticking = tick(running.health(), self.log_level.take(), self.clock.clone());
        let adapting = adapt(Arc::clone(running.live()), self.clock.clone());
        let reloading = async {
            if let Some(reloader) = self.reloader.take() {
                // Large, and made once.
                Box::pin(reloader.run(&mut running)).await;
            }
        };
        let reopening = async {
            if let Some(log) = self.reopens.take() {
                reopen_on_signal(log).await;
            }
        };
        // What runs goes on for as long as the process, also when nothing is reloaded any more.
        tokio::join!(ticking, adapting, reloading, reopening);
    }

    fn name(&self) -> &'static str {
        "background"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// Lets the limits that find themselves move, without end.
async fn adapt(live: Arc<ArcSwap<Live>>, clock: Clock) {
    loop {
        let now = Instant::now();
        let is_any = live
            .load()
            .adapt(clock.to_ms(now), clock.to_unix_seconds(now));
        let pause = if is_any {
            ADAPT_PAUSE
        } else {
            ADAPT_IDLE_PAUSE
        };
        tokio::time::sleep(pause).await;
    }
}

/// Housekeeping, once a second and without end.
async fn tick(health: HealthWatches, log_level: Option<Arc<LogLevel>>, clock: Clock) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        clock.resync();
        if let Some(level) = &log_level {
            level.tick(Instant::now());
        }
        let now = clock.now_ms();
        for health in health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter_mut()
        {
            health.tick(now);
        }
    }
}
