//! What ends a gateway, and how it leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use gateway_core::file::ShutdownTimes;
use mesh::shutdown::{Signal, signal};
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::watch;

use crate::lifecycle::{Departure, Lifecycle};

/// What makes a gateway leave.
pub struct Stop {
    on_signals: bool,
    requested: watch::Receiver<Option<Signal>>,
}

impl Stop {
    /// SIGTERM and SIGINT of the process.
    #[must_use]
    pub fn on_signals() -> Self {
        Self {
            on_signals: true,
            // The sender is gone: nothing is ever requested.
            requested: watch::channel(None).1,
        }
    }

    /// The signals, and whatever is sent.
    #[must_use]
    pub fn on_signals_or() -> (watch::Sender<Option<Signal>>, Self) {
        let (sender, requested) = watch::channel(None);
        let stop = Self {
            on_signals: true,
            requested,
        };
        (sender, stop)
    }

    async fn requested(&self) -> Signal {
        let mut requested = self.requested.clone();
        let sent = async {
            let signal = match requested.wait_for(Option::is_some).await {
                Ok(signal) => *signal,
                Err(_no_sender) => None,
            };
            match signal {
                Some(signal) => signal,
                None => std::future::pending().await,
            }
        };
        if !self.on_signals {
            return sent.await;
        }
        tokio::select! {
            signal = signal() => signal.unwrap_or_else(|error| {
                tracing::error!(%error, "signals cannot be received; leaving");
                Signal::Terminate
            }),
            signal = sent => signal,
        }
    }
}

/// A gateway that runs on a thread of its own; for tests and for embedding.
pub struct Handle {
    /// Where clients connect.
    pub addresses: Vec<SocketAddr>,
    /// Where health, readiness and metrics are.
    pub admin: SocketAddr,
    stop: watch::Sender<Option<Signal>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Runs `run` on a thread of its own.
    pub(super) fn start(
        addresses: Vec<SocketAddr>,
        admin: SocketAddr,
        run: impl FnOnce(Stop) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, requested) = watch::channel(None);
        let stop = Stop {
            on_signals: false,
            requested,
        };
        let thread = std::thread::Builder::new()
            .name("gateway".into())
            .spawn(move || run(stop))?;
        Ok(Self {
            addresses,
            admin,
            stop: sender,
            thread: Some(thread),
        })
    }

    /// Asks it to leave, as the signal would.
    pub fn stop(&self, signal: Signal) {
        self.stop.send_replace(Some(signal));
    }

    /// Waits until it has left.
    pub fn join(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.stop.send_if_modified(|requested| {
            let is_first = requested.is_none();
            requested.get_or_insert(Signal::Interrupt);
            is_first
        });
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the gateway's thread broke down");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Leaves in our own way (see `lifecycle.rs`) and only then lets pingora end the process:
/// its graceful way closes the listeners at once and sleeps its whole grace period.
pub(super) struct Leave {
    pub(super) stop: Stop,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) times: ShutdownTimes,
}

#[async_trait]
impl ShutdownSignalWatch for Leave {
    async fn recv(&self) -> ShutdownSignal {
        let why = tokio::select! {
            signal = self.stop.requested() => match signal {
                Signal::Terminate => Departure::Terminated,
                Signal::Interrupt => Departure::Interrupted,
            },
            () = self.lifecycle.handed_over() => Departure::HandedOver,
            () = self.lifecycle.given_up() => return ShutdownSignal::FastShutdown,
        };
        let leaving = self
            .lifecycle
            .leave(why, self.times.lame_duck, self.times.drain);
        // Whoever asks twice does not want to wait.
        let again = async {
            if self.stop.on_signals {
                let _either = signal().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = leaving => {}
            () = again => {
                tracing::warn!("asked twice: leaving at once");
                self.lifecycle.cut();
            }
        }
        ShutdownSignal::FastShutdown
    }
}
