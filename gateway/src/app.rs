//! From a compiled routes file to a running process, and out again.
//!
//! pingora's server hosts: it gives each of our services its own runtime and threads, keeps
//! the table of listening sockets, and waits for the end.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use gateway_core::cluster::EndpointSet;
use gateway_core::file::{AccessLogOutput, Compiled, EndpointSource, Settings, ShutdownTimes};
use mesh::shutdown::{Signal, signal};
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{
    ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
};
use pingora_core::services::Service;
use tokio::sync::watch;

use crate::admin::{Admin, Observed};
use crate::clock::Clock;
use crate::discovery::Source;
use crate::discovery::cloud_map::{ClientError, CloudMapClient, CloudMapService};
use crate::discovery::dns::{DnsError, DnsResolver};
use crate::discovery::watch::{Discovery, WatchOptions, Watcher};
use crate::jwks::{self, KeyError, KeyWatch};
use crate::lifecycle::{Lifecycle, Readiness};
use crate::proxy::{Live, Worker};
use crate::server::{Acceptor, BindError, bind, seats};
use crate::telemetry::access_log::{AccessLog, Buffer, Output, WriterThread};

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("jwt provider `{provider}`: {source}")]
    Keys { provider: String, source: KeyError },
    #[error("the HTTP client for keys cannot be made: {0}")]
    HttpClient(#[from] reqwest::Error),
    #[error("upstream `{upstream}`: {source}")]
    CloudMap {
        upstream: String,
        source: ClientError,
    },
    #[error("upstream `{upstream}`: {source}")]
    Dns { upstream: String, source: DnsError },
    #[error("the access log `{path}` cannot be opened: {source}")]
    AccessLog {
        path: String,
        source: std::io::Error,
    },
    #[error("a thread or runtime cannot be started: {0}")]
    Io(#[from] std::io::Error),
}

/// A gateway whose sockets are bound and whose services wait to run.
pub struct Gateway {
    server: Server,
    addresses: Vec<SocketAddr>,
    admin: SocketAddr,
    lifecycle: Arc<Lifecycle>,
    shutdown: ShutdownTimes,
    workers: Vec<Arc<Worker>>,
    writer: Option<WriterThread>,
}

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

impl Gateway {
    /// Binds the sockets, reads key files, prepares discovery.
    ///
    /// # Errors
    /// An address in use, a key file that cannot be read, a missing AWS region: whatever would
    /// keep the gateway from serving, named with its remedy.
    pub fn build(compiled: Compiled) -> Result<Self, StartError> {
        Ok(Self::try_build(compiled)?)
    }

    fn try_build(compiled: Compiled) -> Result<Self, Cause> {
        let Compiled { plan, settings } = compiled;
        let clock = Clock::new();
        let lifecycle = Arc::new(Lifecycle::default());
        let listeners = settings
            .listeners
            .iter()
            .map(|address| bind(*address, "listeners"))
            .collect::<Result<Vec<_>, _>>()?;
        let admin_listener = bind(settings.admin, "admin")?;
        let addresses = listeners
            .iter()
            .map(std::net::TcpListener::local_addr)
            .collect::<Result<Vec<_>, _>>()?;
        let admin = admin_listener.local_addr()?;

        let count = worker_count(&settings);
        let live = Arc::new(ArcSwap::from_pointee(Live::new(plan, count)));
        let keys = key_watches(&live.load(), &settings, &clock)?;
        let watchers = watchers(&live.load(), &settings)?;
        lifecycle.wait_for(waiting(&live.load(), &watchers));

        let (access_log, writer) = open_log(settings.access_log.as_ref())?.unzip();
        let workers: Vec<_> = (0..count)
            .map(|index| {
                Arc::new(Worker::new(
                    index,
                    Arc::clone(&live),
                    clock.clone(),
                    Buffer::new(access_log.clone()),
                    Arc::default(),
                    Arc::clone(&lifecycle),
                ))
            })
            .collect();
        let observed = Arc::new(Observed {
            live: Arc::clone(&live),
            workers: workers.iter().map(|worker| Arc::clone(&worker.cells)).collect(),
            discovery: watchers
                .iter()
                .map(|watched| watched.as_ref().map(|(_, discovery)| discovery.clone()))
                .collect(),
            keys: keys.iter().map(KeyWatch::stats).collect(),
            access_log,
            lifecycle: Arc::clone(&lifecycle),
            clock: clock.clone(),
        });

        let mut server = Server::new_with_opt_and_conf(None, pingora_settings());
        server.bootstrap();
        let (seats, services) = seats(&workers, &settings.limits);
        for service in services {
            server.add_service(service);
        }
        server.add_service(Background {
            live,
            keys,
            watchers,
            clock,
            lifecycle: Arc::clone(&lifecycle),
        });
        server.add_service(Admin {
            listener: Some(admin_listener),
            observed,
        });
        server.add_service(Acceptor {
            listeners,
            seats,
            connections_max: settings.limits.connections_max,
            lifecycle: Arc::clone(&lifecycle),
        });
        Ok(Self {
            server,
            addresses,
            admin,
            lifecycle,
            shutdown: settings.shutdown,
            workers,
            writer,
        })
    }

    /// Where clients connect; the real ports, where the file says 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where health, readiness and metrics are.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Tells when it is ready, once it runs.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness::of(&self.lifecycle)
    }

    /// Runs until it is told to stop and has drained.
    pub fn run(self, stop: Stop) {
        for address in &self.addresses {
            tracing::info!(%address, admin = %self.admin, workers = self.workers.len(), "listening");
        }
        self.server.run(RunArgs {
            shutdown_signal: Box::new(Leave {
                stop,
                lifecycle: self.lifecycle,
                times: self.shutdown,
            }),
        });
        for worker in &self.workers {
            worker.log.flush();
        }
        drop(self.workers);
        if let Some(writer) = self.writer {
            writer.join();
        }
        tracing::info!("gone");
    }

    /// Runs on a thread of its own, and ignores the process's signals.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn(self) -> std::io::Result<Handle> {
        let (sender, requested) = watch::channel(None);
        let stop = Stop {
            on_signals: false,
            requested,
        };
        let (addresses, admin) = (self.addresses.clone(), self.admin);
        let thread = std::thread::Builder::new()
            .name("gateway".into())
            .spawn(move || self.run(stop))?;
        Ok(Handle {
            addresses,
            admin,
            stop: sender,
            thread: Some(thread),
        })
    }
}

fn worker_count(settings: &Settings) -> usize {
    settings
        .workers
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
}

fn pingora_settings() -> ServerConf {
    ServerConf {
        threads: 1,
        // A connection stays on its worker, so that nothing of it is shared.
        work_stealing: false,
        // We drain by ourselves, and then ask for the fast way out.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

fn open_log(
    output: Option<&AccessLogOutput>,
) -> Result<Option<(Arc<AccessLog>, WriterThread)>, Cause> {
    let output = match output {
        None => return Ok(None),
        Some(AccessLogOutput::Stdout) => Output::Stdout,
        Some(AccessLogOutput::File(path)) => {
            Output::file(path.as_ref()).map_err(|source| Cause::AccessLog {
                path: path.clone(),
                source,
            })?
        }
    };
    Ok(Some(AccessLog::start(output)?))
}

fn key_watches(live: &Live, settings: &Settings, clock: &Clock) -> Result<Vec<KeyWatch>, Cause> {
    let http = jwks::http_client()?;
    let sources = settings.key_sources.iter().cloned();
    live.plan
        .providers
        .iter()
        .zip(&live.rings)
        .zip(sources)
        .map(|((provider, ring), source)| {
            let ring = Arc::clone(ring);
            let watch = KeyWatch::new(&provider.name, source, ring, clock.clone(), http.clone());
            watch.read_file_now().map_err(|source| Cause::Keys {
                provider: provider.name.to_string(),
                source,
            })?;
            Ok(watch)
        })
        .collect()
}

type Watched = (Watcher<Source>, Discovery);

/// Prepares discovery; static upstreams get their endpoints here and now.
fn watchers(live: &Live, settings: &Settings) -> Result<Vec<Option<Watched>>, Cause> {
    let mut sources = Sources::default();
    live.plan
        .clusters
        .iter()
        .zip(&live.endpoints)
        .zip(&settings.endpoint_sources)
        .map(|((cluster, endpoints), source)| {
            let (source, interval) = match source {
                EndpointSource::Static(addresses) => {
                    let found = addresses.iter().map(|address| (*address, None));
                    let set = EndpointSet::succeeding(&EndpointSet::default(), found);
                    endpoints.store(Arc::new(set));
                    return Ok(None);
                }
                EndpointSource::CloudMap { spec, interval } => {
                    let client =
                        sources
                            .cloud_map(spec.endpoint.as_deref())
                            .map_err(|source| Cause::CloudMap {
                                upstream: cluster.name.to_string(),
                                source,
                            })?;
                    let service = client.service(CloudMapService {
                        namespace: spec.namespace.clone(),
                        service: spec.service.clone(),
                        port: spec.port.and_then(NonZeroU16::new),
                        attributes: std::collections::BTreeMap::new(),
                    });
                    (Source::CloudMap(service), *interval)
                }
                EndpointSource::Dns { spec, interval } => {
                    let port = NonZeroU16::new(spec.port).unwrap_or(NonZeroU16::MIN);
                    let name = sources
                        .dns()
                        .and_then(|resolver| resolver.name(&spec.name, port))
                        .map_err(|source| Cause::Dns {
                            upstream: cluster.name.to_string(),
                            source,
                        })?;
                    (Source::Dns(name), *interval)
                }
            };
            let options = WatchOptions {
                interval,
                ..WatchOptions::default()
            };
            let name: Arc<str> = Arc::from(&*cluster.name);
            Ok(Some(Watcher::new(name, source, options, fastrand::Rng::new())))
        })
        .collect()
}

/// Clients that several upstreams share; each is made when the first upstream wants it.
#[derive(Default)]
struct Sources {
    cloud_map: Vec<(Option<String>, CloudMapClient)>,
    dns: Option<DnsResolver>,
}

impl Sources {
    fn cloud_map(&mut self, endpoint: Option<&str>) -> Result<&CloudMapClient, ClientError> {
        let known = self
            .cloud_map
            .iter()
            .position(|(known, _)| known.as_deref() == endpoint);
        let index = known.unwrap_or(self.cloud_map.len());
        if known.is_none() {
            // Region and credentials are looked up once, before anything is served.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made at the start");
            let client = runtime.block_on(CloudMapClient::connect(endpoint))?;
            self.cloud_map.push((endpoint.map(str::to_owned), client));
        }
        Ok(&self.cloud_map[index].1)
    }

    fn dns(&mut self) -> Result<&DnsResolver, DnsError> {
        if self.dns.is_none() {
            self.dns = Some(DnsResolver::from_system()?);
        }
        Ok(self.dns.as_ref().expect("made above"))
    }
}

/// What readiness waits for: the first answer about each upstream, and each provider's keys.
fn waiting(live: &Live, watchers: &[Option<Watched>]) -> Vec<String> {
    let upstreams = watchers
        .iter()
        .flatten()
        .map(|(_, discovery)| upstream_waiting_name(discovery.upstream()));
    let providers = live
        .plan
        .providers
        .iter()
        .zip(&live.rings)
        .filter(|(_, ring)| ring.load().is_empty())
        .map(|(provider, _)| jwks::waiting_name(&provider.name));
    upstreams.chain(providers).collect()
}

fn upstream_waiting_name(upstream: &str) -> String {
    format!("endpoints of upstream `{upstream}`")
}

/// Discovery, keys and the clock's correction, on one thread beside the workers.
struct Background {
    live: Arc<ArcSwap<Live>>,
    keys: Vec<KeyWatch>,
    watchers: Vec<Option<Watched>>,
    clock: Clock,
    lifecycle: Arc<Lifecycle>,
}

#[async_trait]
impl Service for Background {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        for watch in self.keys.drain(..) {
            tokio::spawn(watch.run(Arc::clone(&self.lifecycle)));
        }
        for (index, watched) in self.watchers.drain(..).enumerate() {
            let Some((watcher, discovery)) = watched else {
                continue;
            };
            tokio::spawn(watcher.run(std::future::pending()));
            let endpoints = Arc::clone(&self.live.load().endpoints[index]);
            tokio::spawn(publish(discovery, endpoints, Arc::clone(&self.lifecycle)));
        }
        let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            seconds.tick().await;
            self.clock.resync();
        }
    }

    fn name(&self) -> &'static str {
        "background"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// Swaps in each new set of endpoints; those that stay keep their load and health.
async fn publish(
    discovery: Discovery,
    endpoints: Arc<ArcSwap<EndpointSet>>,
    lifecycle: Arc<Lifecycle>,
) {
    let mut states = discovery.subscribe();
    loop {
        let state = states.borrow_and_update().clone();
        if state.answered() {
            let found = state.found.endpoints().iter();
            let found = found.map(|endpoint| (endpoint.address, endpoint.zone.clone()));
            let set = EndpointSet::succeeding(&endpoints.load(), found);
            endpoints.store(Arc::new(set));
            lifecycle.arrived(&upstream_waiting_name(discovery.upstream()));
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Leaves in our own way (see `lifecycle.rs`) and only then lets pingora end the process:
/// its graceful way closes the listeners at once and sleeps its whole grace period.
struct Leave {
    stop: Stop,
    lifecycle: Arc<Lifecycle>,
    times: ShutdownTimes,
}

#[async_trait]
impl ShutdownSignalWatch for Leave {
    async fn recv(&self) -> ShutdownSignal {
        let signal = self.stop.requested().await;
        let leaving = self
            .lifecycle
            .leave(signal, self.times.lame_duck, self.times.drain);
        // Whoever asks twice does not want to wait.
        let again = async {
            if self.stop.on_signals {
                let _either = mesh::shutdown::signal().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = leaving => {}
            () = again => tracing::warn!("asked twice: leaving at once"),
        }
        ShutdownSignal::FastShutdown
    }
}
