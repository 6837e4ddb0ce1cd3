//! A worker's thread, as a service of pingora's with one thread of its own.

use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use gateway_core::file::Limits;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{TICK, connection};
use crate::proxy::Worker;

/// Accepted connections that may wait for one worker.
const WAITING_MAX: usize = 1024;

/// The acceptor's end of a worker.
#[derive(Clone)]
pub(crate) struct Seat {
    sender: Sender<Accepted>,
    connections: Arc<AtomicUsize>,
}

/// A connection on its way to its worker.
struct Accepted {
    socket: StdStream,
    peer: SocketAddr,
}

impl Seat {
    /// A seat that nobody takes connections from.
    #[cfg(test)]
    pub(super) fn unattended(waiting_max: usize) -> (Self, impl Sized) {
        let (sender, incoming) = channel(waiting_max);
        let connections = Arc::default();
        (
            Self {
                sender,
                connections,
            },
            incoming,
        )
    }

    /// Hands a connection over; gives it back when too many are waiting.
    pub(super) fn seat(&self, socket: StdStream, peer: SocketAddr) -> Result<(), StdStream> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.sender
            .try_send(Accepted { socket, peer })
            .map_err(|refused| {
                self.connections.fetch_sub(1, Ordering::Relaxed);
                refused.into_inner().socket
            })
    }

    /// Connections handed over and not closed yet.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// One worker.
pub(crate) struct WorkerService {
    name: String,
    worker: Arc<Worker>,
    limits: Arc<Limits>,
    incoming: Option<Receiver<Accepted>>,
    connections: Arc<AtomicUsize>,
}

/// The services of these workers, and the acceptor's ends of them.
pub(crate) fn seats(workers: &[Arc<Worker>], limits: &Limits) -> (Vec<Seat>, Vec<WorkerService>) {
    let limits = Arc::new(limits.clone());
    workers
        .iter()
        .enumerate()
        .map(|(index, worker)| {
            let (sender, incoming) = channel(WAITING_MAX);
            let connections = Arc::new(AtomicUsize::new(0));
            let seat = Seat {
                sender,
                connections: Arc::clone(&connections),
            };
            let service = WorkerService {
                name: format!("worker-{index}"),
                worker: Arc::clone(worker),
                limits: Arc::clone(&limits),
                incoming: Some(incoming),
                connections,
            };
            (seat, service)
        })
        .unzip()
}

#[async_trait]
impl Service for WorkerService {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let Some(mut incoming) = self.incoming.take() else {
            return;
        };
        // This task never leaves its thread, which is the worker's only one.
        #[cfg(target_os = "linux")]
        {
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            self.worker.cells.thread.set(thread.unsigned_abs().into());
        }
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                accepted = incoming.recv() => match accepted {
                    Some(accepted) => self.open(accepted),
                    None => break,
                },
                _ = ticks.tick() => self.worker.tick(),
            }
        }
        // The acceptor is gone; connections go on until the drain ends.
        loop {
            ticks.tick().await;
            self.worker.tick();
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

impl WorkerService {
    fn open(&self, accepted: Accepted) {
        let closing = Closing {
            worker: Arc::clone(&self.worker),
            connections: Arc::clone(&self.connections),
        };
        let Ok(socket) = TcpStream::from_std(accepted.socket) else {
            return;
        };
        self.worker.cells.connections.add(1);
        let worker = Arc::clone(&self.worker);
        let limits = Arc::clone(&self.limits);
        // This runtime has one thread: the connection stays on it for life.
        tokio::spawn(async move {
            let _closing = closing;
            connection::serve(worker, socket, accepted.peer, limits).await;
        });
    }
}

/// Counts a connection out, whichever way it ends.
struct Closing {
    worker: Arc<Worker>,
    connections: Arc<AtomicUsize>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.worker.cells.connections_closed.add(1);
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.worker.lifecycle.close_connection();
    }
}
