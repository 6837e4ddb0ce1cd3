//! Listening, accepting, and the way out.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use fastrand::Rng;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tower::ServiceExt;

use super::store::Store;
use super::traces::Traces;
use super::{Error, Resource, Settings, router};
use crate::identity::Verifier;
use crate::registration::RegistrationError;
use crate::shutdown::{Phase, Shutdown, Signal};

/// Time for a whole head to arrive, and with it the time that a connection may be
/// idle. Longer than the gateway keeps idle connections, so that it is not ours to
/// close one while a request is on its way.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// Bytes of a request's head, and of the buffer that reads it. (Headers: hyper's own
/// bound of 100, which costs no allocation as long as it is not set.)
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Wait after a failed accept: descriptors that ran out do not come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A service that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    shutdown: Shutdown,
    settings: Settings,
    /// One for each connection that may be open.
    slots: Arc<Semaphore>,
    /// Keeps the gateway's keys current; ends with the server.
    _refreshing: JoinSet<()>,
    /// Sends spans away; ends by itself when nobody records any more.
    exporting: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens; [`Server::run`] accepts.
    ///
    /// # Errors
    /// [`Error::AddressInUse`], [`Error::Listen`].
    pub async fn bind<R: Resource, S: Store<R>>(
        settings: Settings,
        store: S,
    ) -> Result<Self, Error> {
        let address = settings.listen;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::AddressInUse { address },
            _ => Error::Listen { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shutdown = Shutdown::new();
        let mut refreshing = JoinSet::new();
        let verifier = settings.require_gateway.clone().map(|options| {
            let (verifier, refresher) = Verifier::new(options);
            refreshing.spawn(refresher.run());
            Arc::new(verifier)
        });
        let (traces, exporting) = match settings.tracing.clone() {
            Some(tracing) => {
                let (traces, exporter, collector) = Traces::start(tracing);
                (Some(traces), Some(tokio::spawn(exporter.run(collector))))
            }
            None => (None, None),
        };
        let router = router(
            &store,
            &settings.database,
            settings.limits,
            verifier,
            traces,
            &shutdown,
        );
        tracing::info!(
            service = R::SERVICE,
            version = R::VERSION,
            %address,
            database = %settings.database,
            "listening"
        );
        Ok(Self {
            listener,
            address,
            router,
            shutdown,
            slots: Arc::new(Semaphore::new(settings.max_connections)),
            _refreshing: refreshing,
            exporting,
            settings,
        })
    }

    /// The address, with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `next_stop`, then leaves as soon as it is idle and at the latest after
    /// the drain limit:
    ///
    /// 1. `/readyz` answers 503, the registry forgets us; on [`Signal::Terminate`]
    ///    connections are accepted for the lame-duck time;
    /// 2. the listener closes, idle connections close, others after their request;
    /// 3. what is left when the limit is reached is cut off.
    ///
    /// `next_stop` is called again at once: whoever asks twice does not want to wait, and
    /// goes straight to 3.
    ///
    /// # Errors
    /// [`Error::Registration`].
    pub async fn run(mut self, mut next_stop: impl AsyncFnMut() -> Signal) -> Result<(), Error> {
        let exporting = self.exporting.take();
        let mut connections = JoinSet::new();
        let signal = tokio::select! {
            never = self.accept(&mut connections) => match never {},
            error = self.stay_registered() => return Err(error.into()),
            signal = next_stop() => signal,
        };
        tokio::select! {
            () = self.leave(signal, &mut connections) => {}
            signal = next_stop() => tracing::warn!(?signal, "asked twice, leaving at once"),
        }
        while connections.try_join_next().is_some() {}
        if !connections.is_empty() {
            tracing::warn!(connections = connections.len(), "connections cut off");
        }
        connections.shutdown().await;
        if let Some(exporting) = exporting
            && exporting.await.is_err()
        {
            tracing::error!("the exporter of spans broke down");
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Runs through the phases, within the drain limit; `connections` holds what is left.
    async fn leave(self, signal: Signal, connections: &mut JoinSet<()>) {
        let Settings {
            drain_limit,
            lame_duck,
            ..
        } = self.settings;
        let deadline = Instant::now() + drain_limit;
        let lame_duck = match signal {
            Signal::Terminate => lame_duck,
            Signal::Interrupt => Duration::ZERO,
        };
        tracing::info!(?signal, ?lame_duck, ?drain_limit, "stopping");
        self.shutdown.advance(Phase::LameDuck);
        tokio::select! {
            never = self.accept(connections) => match never {},
            _ = async { tokio::join!(self.deregister(), tokio::time::sleep(lame_duck)) } => {}
        }
        self.shutdown.advance(Phase::Stopping);
        drop(self.listener);
        let idle = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, idle).await.is_err() {
            tracing::warn!("drain limit reached");
        }
    }

    /// Registers, and then waits for ever.
    async fn stay_registered(&self) -> RegistrationError {
        if let Some(registration) = &self.settings.registration {
            let address = reachable(self.address);
            if let Err(error) = registration.register(address, &mut Rng::new()).await {
                return error;
            }
            let (service_id, instance_id) = (&registration.service_id, &registration.instance_id);
            tracing::info!(service_id, instance_id, %address, "registered");
        }
        std::future::pending().await
    }

    async fn deregister(&self) {
        if let Some(registration) = &self.settings.registration
            && let Err(error) = registration.deregister().await
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "not deregistered; the registry lists an instance that is gone"
            );
        }
    }

    /// Accepts for ever; each connection is a task in `connections`.
    async fn accept(&self, connections: &mut JoinSet<()>) -> Infallible {
        loop {
            let slot = Arc::clone(&self.slots).acquire_owned().await;
            let slot = slot.expect("the semaphore is never closed");
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Those that have ended leave the set here, so that it holds no more than
            // the open ones and those ended since the last accept.
            while connections.try_join_next().is_some() {}
            let connection = serve(stream, self.router.clone(), self.shutdown.clone());
            connections.spawn(async move {
                connection.await;
                drop(slot);
            });
        }
    }
}

/// Serves one connection until it or the process ends.
async fn serve(stream: TcpStream, router: Router, shutdown: Shutdown) {
    // Answers are written whole, so there is nothing to wait for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service = TowerToHyperService::new(
        router.map_request(|request: http::Request<_>| request.map(Body::new)),
    );
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.reached(Phase::Stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The address to register: that of the listener, or the loopback one if it listens
/// on all, since the registry is on this machine.
fn reachable(address: SocketAddr) -> SocketAddrV4 {
    let ip = match address.ip() {
        IpAddr::V4(ip) if !ip.is_unspecified() => ip,
        _ => Ipv4Addr::LOCALHOST,
    };
    SocketAddrV4::new(ip, address.port())
}
