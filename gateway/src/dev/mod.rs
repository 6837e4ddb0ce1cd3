//! Everything `gateway dev` needs beside the gateway itself.
//!
//! A [`registry`] that speaks Cloud Map's protocol, an [`issuer`] with its keys,
//! both services under a [`supervisor`], and the routes file that ties them
//! together. The gateway reads that file as it reads any other, and finds the
//! services and the keys as it does in production.

pub mod issuer;
mod loopback;
mod options;
mod output;
pub mod registry;
pub mod supervisor;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::options::{DevOptions, TokenError, TokenOptions};

use self::issuer::{ISSUER, Issuer, IssuerServer, KeysError};
use self::output::Output;
use self::registry::{Directory, Registry};
use self::supervisor::{ChildSpec, Policy, SuperviseError, Supervisor};
use crate::lifecycle::Readiness;

/// Namespace that the services register in.
pub const NAMESPACE: &str = "test.local";
/// The routes file of `gateway dev` but for its upstreams.
const ROUTES: &str = include_str!("routes.yaml");
/// The upstreams, as they are and as they get the gateway's own tokens.
const UPSTREAMS: &str = include_str!("upstreams.yaml");
const IDENTIFIED_UPSTREAMS: &str = include_str!("identified_upstreams.yaml");
/// Where the admin listener has the public keys of the gateway's own tokens.
const KEYS_PATH: &str = "/internal/jwks.json";
/// Time for every instance to register (a database is created and filled in it), and again
/// for the gateway to find them and to fetch the keys.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

struct Service {
    name: &'static str,
    id: &'static str,
    binary: &'static str,
    flag: &'static str,
}

const SERVICES: [Service; 2] = [
    Service {
        name: "users",
        id: "srv-users",
        binary: "users-svc",
        flag: "--users-svc",
    },
    Service {
        name: "products",
        id: "srv-products",
        binary: "products-svc",
        flag: "--products-svc",
    },
];

/// Why the system did not come up, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// Another program listens there.
    #[error(
        "{address} is in use already; stop the program that listens there, \
         or choose another address with `{flag}` (`./copilotw.sh local {script_flag}`)"
    )]
    PortInUse {
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// The same of the wrapper script.
        script_flag: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; choose another address with `{flag}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The registry or the issuer found no port.
    #[error("cannot open a port of 127.0.0.1 for the {what}")]
    Internal {
        /// Which of them.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The data directory cannot be made.
    #[error("cannot create `{}`; choose another directory with `--data-dir`", path.display())]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// This program's own path is not known, so what lies beside it is not either.
    #[error(
        "cannot tell where this program is; name the services with `--users-svc` and `--products-svc`"
    )]
    Executable(#[source] io::Error),
    /// A service has not been built.
    #[error(
        "`{path}` is not there; build it with `cargo build --release -p {binary}`, or name it with `{flag}`",
        path = path.display()
    )]
    ServiceMissing {
        /// Where it was looked for.
        path: PathBuf,
        /// Its package.
        binary: &'static str,
        /// The flag that names it.
        flag: &'static str,
    },
    /// The development keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A service does not run.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// Instances that did not register in time.
    #[error(
        "{} did not register within {}; the lines above say why",
        missing.join(", "),
        humantime::format_duration(READY_TIMEOUT)
    )]
    NotReady {
        /// Their names.
        missing: Vec<String>,
    },
    /// The gateway did not find what it needs in time.
    #[error(
        "the gateway did not become ready within {}: it waits for {}; the lines above say why",
        humantime::format_duration(READY_TIMEOUT),
        waiting_for.join(", ")
    )]
    GatewayNotReady {
        /// What it lacks.
        waiting_for: Vec<String>,
    },
}

/// The running system without the gateway; dropping it kills the services.
#[derive(Debug)]
pub struct DevSystem {
    options: DevOptions,
    registry: Registry,
    issuer: IssuerServer,
    directory: Directory,
    instances: Vec<(String, String)>,
    supervisor: Supervisor,
    output: Output,
}

/// Brings up the registry, the issuer and the services.
///
/// Must be called on a Tokio runtime that lives as long as the system.
///
/// # Errors
/// Before anything is started: a port in use, a service that was not built,
/// keys that others can read.
pub async fn start(options: DevOptions) -> Result<DevSystem, DevError> {
    check_addresses(&options)?;
    let programs = options.programs()?;
    let data_directory = make_directory(&options.data_dir)?;
    let issuer = Issuer::open(&options.keys_directory())?;
    let internal = |what| move |source| DevError::Internal { what, source };
    let issuer = issuer.serve().await.map_err(internal("issuer"))?;
    let services = SERVICES.map(|service| (service.id, service.name));
    let directory = Directory::new(NAMESPACE, &services, fastrand::Rng::new());
    let registry = Registry::start(directory.clone())
        .await
        .map_err(internal("registry"))?;

    let surroundings = Surroundings {
        registry: registry.url(),
        gateway_keys: options
            .internal_identity
            .then(|| format!("http://{}{KEYS_PATH}", reachable(options.admin))),
        log: options.services_log.clone(),
    };
    let children: Vec<_> = SERVICES
        .iter()
        .zip(programs)
        .flat_map(|(service, program)| {
            let surroundings = &surroundings;
            let database = data_directory.join(format!("{}.db", service.name));
            (1..=options.replicas)
                .map(move |replica| child(service, replica, &program, &database, surroundings))
        })
        .collect();
    let instances = children
        .iter()
        .map(|child| (child.service_id.clone(), child.name.clone()))
        .collect();
    let output = Output::to(io::stderr());
    let supervisor = Supervisor::start(children, Policy::default(), &directory, output.lines());
    Ok(DevSystem {
        options,
        registry,
        issuer,
        directory,
        instances,
        supervisor,
        output,
    })
}

impl DevSystem {
    /// The routes file, with `${…}` variables; see [`DevSystem::variables`].
    #[must_use]
    pub fn routes(&self) -> String {
        let upstreams = if self.options.internal_identity {
            IDENTIFIED_UPSTREAMS
        } else {
            UPSTREAMS
        };
        [ROUTES, upstreams].concat()
    }

    /// Values of the variables in [`DevSystem::routes`].
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        [
            ("GATEWAY_LISTEN", self.options.listen.to_string()),
            ("GATEWAY_ADMIN", self.options.admin.to_string()),
            ("GATEWAY_DEV_ISSUER", ISSUER.to_owned()),
            ("GATEWAY_DEV_JWKS_URI", self.issuer.jwks_uri()),
            ("CLOUD_MAP_ENDPOINT", self.registry.url()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Where the registry listens.
    #[must_use]
    pub fn registry_address(&self) -> SocketAddr {
        self.registry.address()
    }

    /// Where the issuer listens.
    #[must_use]
    pub fn issuer_address(&self) -> SocketAddr {
        self.issuer.address()
    }

    /// Waits until every replica of every service has registered.
    ///
    /// # Errors
    /// `Supervise` when a service does not run, `NotReady` after 30 s.
    pub async fn ready(&mut self) -> Result<(), DevError> {
        tokio::select! {
            () = self.directory.registered(&self.instances) => Ok(()),
            error = self.supervisor.failed() => Err(error.into()),
            () = tokio::time::sleep(READY_TIMEOUT) => {
                let missing = self.directory.missing(&self.instances);
                let missing = missing.into_iter().map(str::to_owned).collect();
                Err(DevError::NotReady { missing })
            }
        }
    }

    /// Waits until the gateway in front of it is ready, too.
    ///
    /// # Errors
    /// `Supervise` when a service does not run, `GatewayNotReady` after 30 s.
    pub async fn gateway_ready(&mut self, readiness: &Readiness) -> Result<(), DevError> {
        tokio::select! {
            () = readiness.reached() => Ok(()),
            error = self.supervisor.failed() => Err(error.into()),
            () = tokio::time::sleep(READY_TIMEOUT) => {
                let waiting_for = readiness.waiting_for();
                Err(DevError::GatewayNotReady { waiting_for })
            }
        }
    }

    /// Waits until a service cannot be kept running; forever, when all is well.
    pub async fn failed(&mut self) -> DevError {
        self.supervisor.failed().await.into()
    }

    /// What to tell the user once the gateway listens on `listen`.
    #[must_use]
    pub fn banner(&self, listen: SocketAddr) -> String {
        let address = reachable(listen);
        let admin = reachable(self.options.admin);
        let replicas = self.options.replicas;
        let token = self.options.token_command();
        format!(
            "\nThe gateway is ready on http://{address} (admin: http://{admin}), \
             in front of {replicas} x users, {replicas} x products.\n\
             Try it in another terminal:\n\n  \
             curl -H \"authorization: Bearer $({token})\" http://{address}/users\n\n\
             Ctrl-C stops everything."
        )
    }

    /// Shows the banner, after what the services have said so far.
    pub async fn announce(&self, listen: SocketAddr) {
        // A terminal that is gone is no reason to stop.
        let _ = self.output.lines().send(self.banner(listen)).await;
    }

    /// Stops the services, within 2.5 s; the gateway must have drained before.
    pub async fn shutdown(self) {
        self.supervisor.shutdown().await;
        self.output.finish().await;
    }
}

/// What all services are told of the others.
struct Surroundings {
    /// The registry's URL.
    registry: String,
    /// Where the gateway has its keys, if requests must come through it.
    gateway_keys: Option<String>,
    log: String,
}

fn child(
    service: &Service,
    replica: u16,
    program: &Path,
    database: &Path,
    surroundings: &Surroundings,
) -> ChildSpec {
    let name = format!("{}-{replica}", service.name);
    let mut env: Vec<(&str, OsString)> = vec![
        ("CLOUD_MAP_ENDPOINT", surroundings.registry.clone().into()),
        ("CLOUD_MAP_SERVICE_ID", service.id.into()),
        ("CLOUD_MAP_INSTANCE_ID", name.clone().into()),
        ("DATABASE", database.into()),
        // What this shell may say of a database is not about these.
        ("DATABASE_URL", "".into()),
        ("DATABASE_SECRET", "".into()),
        ("DATABASE_CA", "".into()),
        ("LOG", surroundings.log.clone().into()),
        // Nobody has to notice a stop here, and a person at a terminal waits for it.
        ("LAME_DUCK", "0s".into()),
        ("DRAIN_LIMIT", "1s".into()),
    ];
    if let Some(url) = &surroundings.gateway_keys {
        env.push(("REQUIRE_GATEWAY", url.into()));
    }
    ChildSpec {
        service_id: service.id.to_owned(),
        program: program.to_owned(),
        args: ["--listen", "127.0.0.1:0"].map(OsString::from).into(),
        env,
        name,
    }
}

fn make_directory(path: &Path) -> Result<PathBuf, DevError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| std::path::absolute(path))
        .map_err(|source| DevError::DataDirectory {
            path: path.to_owned(),
            source,
        })
}

/// Finds a port in use before anything is started.
///
/// The gateway binds for itself later; the moment between is the price of a
/// clear error in almost every case.
fn check_addresses(options: &DevOptions) -> Result<(), DevError> {
    let check = |address, flag, script_flag| {
        TcpListener::bind(address).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => DevError::PortInUse {
                address,
                flag,
                script_flag,
            },
            _ => DevError::Listen {
                address,
                flag,
                source,
            },
        })
    };
    // Held while the second is tried: they must not be the same.
    let _listener = check(options.listen, "--listen", "--port")?;
    check(options.admin, "--admin", "--admin-port")?;
    Ok(())
}

/// An address that a client on this machine can use: "all interfaces" is none.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests;
