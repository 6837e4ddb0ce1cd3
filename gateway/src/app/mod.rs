//! From a compiled routes file to a running process, and out again.
//!
//! pingora's server hosts: it gives each of our services its own runtime and threads, keeps
//! the table of listening sockets, and waits for the end.

mod background;
mod endpoints;
mod sockets;
mod stop;

pub(crate) use sockets::Program;
pub use stop::{Handle, Stop};

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;
use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::auth::revocation::Revocations;
use gateway_core::file::{
    AccessLogOutput, Compiled, DocumentSource, EndpointFile, EndpointSource, Settings,
    ShutdownTimes,
};
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};

use crate::admin::{Admin, Observed};
use crate::clock::Clock;
use crate::discovery::cloud_map::ClientError;
use crate::discovery::dns::DnsError;
use crate::documents::{DocumentError, DocumentWatch};
use crate::fetch::Fetcher;
use crate::identity::{NoKey, Rotator};
use crate::jwks::{
    KeyClock, KeyError, KeyWatch, Shared, StateDirectory, StateDirectoryError, WantedKeys,
};
use crate::lifecycle::{Lifecycle, Readiness};
use crate::proxy::{Live, Worker};
use crate::server::{Acceptor, BindError, seats};
use crate::telemetry::access_log::{AccessLog, Buffer, Output, WriterThread};
use crate::upgrade::{PlaceError, TakeOverError};
use background::{Background, health, waiting};
use endpoints::{watches, zone};
use sockets::{Failure, Sockets};
use stop::Leave;

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(
        "`--upgrade` needs the section `upgrade` in the routes file, as in `upgrade: {{socket: /run/gateway/upgrade.sock}}`"
    )]
    NoUpgrade,
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    #[error(transparent)]
    UpgradeSocket(#[from] PlaceError),
    #[error("jwt provider `{provider}`: {source}")]
    Keys { provider: String, source: KeyError },
    #[error("{kind} `{name}`: {source}")]
    Document {
        kind: &'static str,
        name: String,
        source: DocumentError,
    },
    #[error(transparent)]
    Identity(#[from] NoKey),
    #[error("the HTTP client for keys cannot be made: {0}")]
    HttpClient(#[from] reqwest::Error),
    #[error(transparent)]
    StateDirectory(#[from] StateDirectoryError),
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
    /// Set when taking over from a running process has failed.
    failure: Failure,
}

/// What the routes file does not say: knobs for tests.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// By how much the intervals, pauses and ages of the key engine pass faster than real time;
    /// default 1. Limits on fetches and on requests that wait stay as they are.
    pub key_time_factor: u32,
}

impl Options {
    /// As in production, but with a key engine whose hours pass this much faster.
    #[must_use]
    pub fn accelerated(key_time_factor: u32) -> Self {
        Self { key_time_factor }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { key_time_factor: 1 }
    }
}

impl Gateway {
    /// Binds the sockets, reads files of keys, prepares discovery.
    ///
    /// # Errors
    /// An address in use, a key file that cannot be read, a missing AWS region: whatever would
    /// keep the gateway from serving, named with its remedy.
    pub fn build(compiled: Compiled) -> Result<Self, StartError> {
        Self::build_with(compiled, Options::default())
    }

    /// The same, with knobs for tests.
    ///
    /// # Errors
    /// As [`Gateway::build`].
    #[doc(hidden)]
    pub fn build_with(compiled: Compiled, options: Options) -> Result<Self, StartError> {
        Ok(Self::try_build(compiled, options, None)?)
    }

    /// The same for a process that is nothing but this gateway: it can replace another one, and
    /// be replaced.
    pub(crate) fn build_program(compiled: Compiled, program: Program) -> Result<Self, StartError> {
        Ok(Self::try_build(
            compiled,
            Options::default(),
            Some(program),
        )?)
    }

    fn try_build(
        compiled: Compiled,
        options: Options,
        program: Option<Program>,
    ) -> Result<Self, Cause> {
        let Compiled { plan, settings } = compiled;
        let clock = Clock::new();
        let lifecycle = Arc::new(Lifecycle::default());
        let mut sockets = Sockets::open(&settings, program.as_ref(), &lifecycle)?;
        let addresses = sockets
            .listeners
            .iter()
            .map(std::net::TcpListener::local_addr)
            .collect::<Result<Vec<_>, _>>()?;
        let admin = sockets.admin.local_addr()?;

        let count = worker_count(&settings);
        let fetcher = Fetcher::new()?;
        let key_clock = KeyClock::new(clock.clone(), options.key_time_factor);
        let sources = settings.key_sources.iter();
        let wanted = sources.map(|source| Arc::new(WantedKeys::new(source, key_clock.clone())));
        let rotator = settings
            .internal_identity
            .as_ref()
            .map(|identity| Rotator::new(identity, clock.clone()))
            .transpose()?;
        let live = Live {
            signer: rotator.as_ref().map(Rotator::signer),
            zone: zone(&settings, &fetcher),
            ..Live::new(plan, count, wanted.collect())
        };
        let live = Arc::new(ArcSwap::from_pointee(live));
        let keys = key_watches(&live.load(), &settings, &fetcher, &key_clock)?;
        let documents = document_watches(&live.load_full(), &settings, &fetcher, &clock)?;
        let watches = watches(&live.load(), &settings, clock.now_ms())?;
        let (checks, health) = health(&live.load(), &settings);
        lifecycle.wait_for(waiting(&live.load(), &watches, &documents));

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
            workers: workers
                .iter()
                .map(|worker| Arc::clone(&worker.cells))
                .collect(),
            discovery: watches.discoveries.clone(),
            keys: keys.iter().map(KeyWatch::stats).collect(),
            documents: documents.iter().map(DocumentWatch::stats).collect(),
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
            documents,
            rotator,
            watches,
            checks,
            health,
            clock,
            lifecycle: Arc::clone(&lifecycle),
        });
        let failure = Failure::default();
        let host = sockets.host(program, &failure, &lifecycle);
        server.add_service(Admin {
            listener: Some(sockets.admin),
            observed,
        });
        server.add_service(Acceptor {
            listeners: sockets.listeners,
            seats,
            connections_max: settings.limits.connections_max,
            lifecycle: Arc::clone(&lifecycle),
        });
        server.add_service(host);
        Ok(Self {
            server,
            addresses,
            admin,
            lifecycle,
            shutdown: settings.shutdown,
            workers,
            writer,
            failure,
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
    ///
    /// # Errors
    /// When it was to take over from a running process and could not; that one goes on.
    pub fn run(self, stop: Stop) -> Result<(), StartError> {
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
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = failure.take() {
            return Err(Cause::from(failure).into());
        }
        tracing::info!("gone");
        Ok(())
    }

    /// Runs on a thread of its own, and ignores the process's signals.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn(self) -> std::io::Result<Handle> {
        let (addresses, admin) = (self.addresses.clone(), self.admin);
        Handle::start(addresses, admin, |stop| {
            // Only a program of its own takes over from another, and so can fail to.
            let _never_fails = self.run(stop);
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

fn key_watches(
    live: &Live,
    settings: &Settings,
    fetcher: &Fetcher,
    clock: &KeyClock,
) -> Result<Vec<KeyWatch>, Cause> {
    let state = settings.state_directory.as_deref();
    let state = state.map(StateDirectory::open).transpose()?;
    live.plan
        .providers
        .iter()
        .zip(&settings.key_sources)
        .enumerate()
        .map(|(index, (provider, source))| {
            let shared = Shared {
                trust: Arc::clone(&live.trusts[index]),
                wanted: Arc::clone(&live.wanted[index]),
            };
            let clock = clock.clone();
            KeyWatch::start(
                &provider.name,
                source,
                shared,
                clock,
                fetcher,
                state.as_ref(),
            )
            .map_err(|source| Cause::Keys {
                provider: provider.name.to_string(),
                source,
            })
        })
        .collect()
}

/// Prepares the files of API keys and of endpoints, and the deny lists; files are read here and now.
fn document_watches(
    live: &Arc<Live>,
    settings: &Settings,
    fetcher: &Fetcher,
    clock: &Clock,
) -> Result<Vec<DocumentWatch>, Cause> {
    let lists = live.plan.api_keys.iter().zip(&live.api_keys);
    let api_keys = lists
        .zip(&settings.api_key_files)
        .map(|((list, current), path)| {
            let (source, current) = (DocumentSource::File(path.clone()), Arc::clone(current));
            let install = move |keys: ApiKeys| current.store(Arc::new(keys));
            DocumentWatch::new(&list.name, &source, install, fetcher, clock.clone())
        });
    let providers = live.plan.providers.iter().zip(&live.trusts);
    let revocations =
        providers
            .zip(&settings.revocations)
            .filter_map(|((provider, trust), source)| {
                let (source, trust) = (source.as_ref()?, Arc::clone(trust));
                // Keys are swapped in on the same thread, so that neither undoes the other.
                let install = move |revoked: Revocations| {
                    let next = trust.load().with_revocations(revoked);
                    trust.store(Arc::new(next));
                };
                let watch =
                    DocumentWatch::new(&provider.name, source, install, fetcher, clock.clone());
                Some(watch)
            });
    let clusters = live.plan.clusters.iter().enumerate();
    let sources = clusters.zip(&settings.endpoint_sources);
    let endpoints = sources.filter_map(|((index, cluster), source)| {
        let EndpointSource::File(path) = source else {
            return None;
        };
        let (live, now) = (Arc::clone(live), clock.clone());
        let install = move |file: EndpointFile| live.publish(index, file.instances, now.now_ms());
        let source = DocumentSource::File(path.clone());
        let watch = DocumentWatch::new(&cluster.name, &source, install, fetcher, clock.clone());
        Some(watch)
    });
    api_keys
        .chain(revocations)
        .chain(endpoints)
        .map(|mut watch| match watch.read_file_now() {
            Ok(()) => Ok(watch),
            Err(source) => {
                let stats = watch.stats();
                Err(Cause::Document {
                    kind: stats.kind,
                    name: stats.name.to_string(),
                    source,
                })
            }
        })
        .collect()
}
