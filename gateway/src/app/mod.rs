//! From a compiled routes file to a running process, and out again.
//!
//! pingora's server hosts: it gives each of our services its own runtime and threads, keeps
//! the table of listening sockets, and waits for the end.

mod aside;
mod background;
mod documents;
mod endpoints;
mod log_output;
mod offline;
mod parts;
mod reload;
mod running;
mod sockets;
mod stop;
mod task;
mod upstreams;

pub(crate) use offline::Offline;
pub use reload::ConfigSource;
pub(crate) use reload::{LoadError, needs_restart};
pub(crate) use sockets::Program;
pub use stop::{Handle, Stop};

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use gateway_core::cluster::aperture::Place;
use gateway_core::file::{Compiled, Settings, ShutdownTimes};
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use tokio::sync::mpsc;

use crate::admin::{Access, Admin, Ask, InForce, Observed, Reloads};
use crate::clock::Clock;
use crate::discovery::cloud_map::ClientError;
use crate::discovery::dns::DnsError;
use crate::documents::DocumentError;
use crate::fetch::Fetcher;
use crate::files::FILE_INTERVAL;
use crate::identity::NoKey;
use crate::jwks::{KeyClock, KeyError, StateDirectory, StateDirectoryError};
use crate::lifecycle::{Lifecycle, Readiness};
use crate::proxy::Worker;
use crate::server::{Acceptor, BindError, seats};
use crate::telemetry::access_log::{Buffer, WriterThread};
use crate::telemetry::export::{self, ExportError, ExportThread};
use crate::telemetry::spans;
use crate::upgrade::{PlaceError, TakeOverError};
use background::Background;
use endpoints::zone;
use log_output::LogOutput;
use parts::Context;
use reload::{Origin, Reloader};
use running::Running;
use sockets::{Failure, Sockets};
use stop::Leave;

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Config(#[from] LoadError),
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
    #[error(transparent)]
    TraceExport(#[from] ExportError),
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
    writer: WriterThread,
    exporter: Option<ExportThread>,
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
    /// Time between two looks whether the configuration is another one; default 2 s.
    pub config_interval: Duration,
}

impl Options {
    /// As in production, but with a key engine whose hours pass this much faster.
    #[must_use]
    pub fn accelerated(key_time_factor: u32) -> Self {
        Self {
            key_time_factor,
            ..Self::default()
        }
    }

    /// As in production, but the configuration is read again only when somebody asks for it.
    #[must_use]
    pub fn unwatched() -> Self {
        Self {
            config_interval: Duration::from_hours(24 * 365),
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key_time_factor: 1,
            config_interval: FILE_INTERVAL,
        }
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
        Ok(Self::try_build(compiled, None, options, None)?)
    }

    /// The same by a place of configuration, which is read again while the gateway runs.
    ///
    /// # Errors
    /// As [`Gateway::build`], and everything that is wrong with the configuration.
    pub fn build_from(source: ConfigSource, options: Options) -> Result<Self, StartError> {
        Ok(Self::try_build_from(source, options, None)?)
    }

    /// The same for a process that is nothing but this gateway: it can replace another one, and
    /// be replaced.
    pub(crate) fn build_program(
        source: ConfigSource,
        program: Program,
    ) -> Result<Self, StartError> {
        reload::survive_hangup();
        log_output::survive_reopen_signal();
        let options = Options::default();
        Ok(Self::try_build_from(source, options, Some(program))?)
    }

    fn try_build_from(
        source: ConfigSource,
        options: Options,
        program: Option<Program>,
    ) -> Result<Self, Cause> {
        // A process that is to replace one that serves had better not, if its file is bad.
        let (compiled, origin) = match &program {
            Some(program) if program.takes_over => Origin::read(source)?,
            _ => Origin::read_or_last_good(source)?,
        };
        Self::try_build(compiled, Some(origin), options, program)
    }

    fn try_build(
        compiled: Compiled,
        origin: Option<Origin>,
        options: Options,
        program: Option<Program>,
    ) -> Result<Self, Cause> {
        let Compiled {
            plan,
            settings,
            outline,
        } = compiled;
        let lifecycle = Arc::new(Lifecycle::default());
        let mut sockets = Sockets::open(&settings, program.as_ref(), &lifecycle)?;
        let addresses = sockets.addresses()?;
        let admin = sockets.admin.local_addr()?;

        let count = worker_count(&settings);
        let context = context(&settings, options, &lifecycle)?;
        let clock = context.clock.clone();
        let running = Running::begin(plan, &settings, count, context)?;
        let live = running.live();
        let (access_log, writer) = LogOutput::start(settings.access_log.as_ref())?;
        let exports = settings.tracing.as_ref().map(export::start).transpose()?;
        let (queue, exporter) = exports.unzip();
        let log_level = program.as_ref().map(|it| Arc::clone(&it.log_level));
        let name = own_name(&addresses);
        let workers: Vec<_> = (0..count)
            .map(|index| {
                let place = Place::of(&name, index);
                let log = Buffer::new(Arc::clone(&access_log));
                let spans = spans::Buffer::new(queue.clone());
                let (live, lifecycle) = (Arc::clone(live), Arc::clone(&lifecycle));
                let clock = clock.clone();
                Arc::new(Worker::new(
                    index, place, live, clock, log, spans, lifecycle,
                ))
            })
            .collect();
        let (reloads, asked) = first_load(origin.as_ref(), &clock);
        let observed = Arc::new(Observed {
            live: Arc::clone(live),
            workers: workers
                .iter()
                .map(|worker| Arc::clone(&worker.cells))
                .collect(),
            access_log: Arc::clone(&access_log),
            log_level: log_level.clone(),
            spans: queue.map(|queue| queue.stats()),
            lifecycle: Arc::clone(&lifecycle),
            reloads: Arc::clone(&reloads),
            clock: clock.clone(),
        });
        let access = Arc::new(Access::new(settings.admin_token.clone(), admin));

        let mut server = Server::new_with_opt_and_conf(None, pingora_settings());
        server.bootstrap();
        let (seats, services) = seats(&workers, &settings.limits);
        for service in services {
            server.add_service(service);
        }
        let reloader = origin.map(|origin| Reloader {
            origin,
            asked,
            reloads,
            is_program: program.is_some(),
            look_interval: options.config_interval,
            started: settings.clone(),
            outline: Arc::new(outline),
            log: LogOutput::new(Arc::clone(&access_log), settings.access_log.clone()),
        });
        server.add_service(Background {
            running: Some(running),
            reloader,
            clock,
            log_level,
            reopens: program.is_some().then_some(access_log),
        });
        let failure = Failure::default();
        let host = sockets.host(program, &failure, &lifecycle);
        server.add_service(Admin {
            listener: Some(sockets.admin),
            observed,
            access,
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
            exporter,
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
            worker.spans.flush();
        }
        drop(self.workers);
        self.writer.join();
        if let Some(exporter) = self.exporter {
            exporter.join();
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

fn context(
    settings: &Settings,
    options: Options,
    lifecycle: &Arc<Lifecycle>,
) -> Result<Context, Cause> {
    let (clock, fetcher) = (Clock::new(), Fetcher::new()?);
    let state = settings.state_directory.as_deref();
    Ok(Context {
        zone: zone(settings, &fetcher),
        key_clock: KeyClock::new(clock.clone(), options.key_time_factor),
        state: state.map(StateDirectory::open).transpose()?,
        lifecycle: Arc::clone(lifecycle),
        clock,
        fetcher,
    })
}

fn worker_count(settings: &Settings) -> usize {
    settings
        .workers
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
}

/// What is told of the configuration that the process begins with.
fn first_load(origin: Option<&Origin>, clock: &Clock) -> (Arc<Reloads>, mpsc::Receiver<Ask>) {
    let in_force = InForce::first(origin.map(|origin| &*origin.hash));
    let now = clock.to_unix_seconds(Instant::now());
    let (reloads, asked) = Reloads::new(in_force, now);
    if let Some(outcome) = origin.and_then(|origin| origin.refused(clock)) {
        reloads.note(&outcome, now);
    }
    (reloads, asked)
}

/// What no other gateway calls itself, and this one again after its next start: the name of its
/// host, or of its container, and where it listens.
fn own_name(addresses: &[SocketAddr]) -> Vec<u8> {
    let host = rustix::system::uname();
    let address = addresses.first().map(ToString::to_string);
    [
        host.nodename().to_bytes(),
        address.unwrap_or_default().as_bytes(),
    ]
    .concat()
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
