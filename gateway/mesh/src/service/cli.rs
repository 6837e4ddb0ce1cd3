//! What the user said, on the command line and in the environment.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use fastrand::Rng;
use http::HeaderName;
use tracing_subscriber::EnvFilter;

use super::database_args::DatabaseArgs;
use super::store::{Bounds, Database};
use super::traces::{TraceArgs, Tracing};
use super::{Limits, Resource};
use crate::identity::{self, KeysUrl};
use crate::registration::Registration;
use crate::request_id::RequestId;

/// A command, ready to run.
#[derive(Debug)]
pub enum Command {
    /// Serve until told to stop.
    Serve(Box<Settings>),
    /// Ask a running service for its health.
    HealthCheck(HealthCheck),
}

/// What `serve` runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the rows are.
    pub database: Database,
    /// Bounds on its use, where it is not in this process.
    pub database_bounds: Bounds,
    /// Directives of the log, as in `RUST_LOG`.
    pub log: String,
    /// Time from the signal to the exit, at most.
    pub drain_limit: Duration,
    /// Time to go on accepting after SIGTERM; shorter than `drain_limit`.
    pub lame_duck: Duration,
    /// Bounds on requests.
    pub limits: Limits,
    /// Connections open at a time; more wait in the listener's backlog.
    pub max_connections: usize,
    /// Which tokens of the gateway are demanded, if they are.
    pub require_gateway: Option<identity::Options>,
    /// The local registry, if there is one.
    pub registration: Option<Registration>,
    /// Where spans go, if anywhere.
    pub tracing: Option<Tracing>,
    /// Who may ask the process to stop.
    pub supervision: Supervision,
}

/// Who may ask the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervision {
    /// SIGTERM and SIGINT only.
    Signals,
    /// The end of standard input, too: its other end is held by a supervisor, and closes
    /// even when the supervisor is killed.
    SignalsAndStdin,
}

/// What `healthcheck` asks.
#[derive(Debug)]
pub struct HealthCheck {
    /// The URL that must answer 200.
    pub url: String,
}

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Serve until SIGTERM or SIGINT (what happens without a command)
    Serve(Box<ServeArgs>),
    /// Exit with 0 if the service on this machine answers /healthz with 200 within 2 s, else with 1
    #[command(name = "healthcheck")]
    HealthCheck(HealthCheckArgs),
}

#[derive(Args)]
struct HealthCheckArgs {
    /// URL to ask, instead of /healthz on the port of --listen
    #[arg(long)]
    url: Option<String>,
    /// Address that the service listens on
    #[arg(long, env = "LISTEN", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
}

const DEFAULT_LISTEN: &str = "0.0.0.0:8080";

#[derive(Args)]
struct ServeArgs {
    /// IP address and port to listen on; port 0 takes a free one, which the log names
    #[arg(long, env = "LISTEN", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// Log level (error, warn, info, debug, trace), or directives such as `info,access=warn`
    #[arg(long, env = "LOG", value_name = "LEVEL", default_value = "info", value_parser = parse_log)]
    log: String,
    /// Time from SIGTERM or SIGINT to the exit, at most; keep it below ECS's stopTimeout (30 s)
    #[arg(long, env = "DRAIN_LIMIT", value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    drain_limit: Duration,
    /// Time to go on accepting after SIGTERM while /readyz answers 503, so that gateways can
    /// notice; part of the drain limit, not used on SIGINT. 0s where nothing has to notice
    #[arg(long, env = "LAME_DUCK", value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    lame_duck: Duration,
    /// Time for one request, after which it is answered with 503
    #[arg(long, env = "REQUEST_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    request_timeout: Duration,
    /// Requests in work at a time; one more is answered with 503. Probes do not count
    #[arg(long, env = "MAX_CONCURRENT_REQUESTS", value_name = "COUNT", default_value = "256", value_parser = parse_count)]
    max_concurrent_requests: usize,
    /// Connections open at a time; more wait to be accepted
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "COUNT", default_value = "1024", value_parser = parse_count)]
    max_connections: usize,
    /// Length of a request's body in bytes; a longer one is answered with 413
    #[arg(
        long,
        env = "MAX_BODY_BYTES",
        value_name = "BYTES",
        default_value = "65536"
    )]
    max_body_bytes: usize,
    /// Stop as on SIGINT when standard input ends; for a supervisor that holds its other end
    #[arg(long, env = "EXIT_ON_STDIN_EOF", value_parser = BoolishValueParser::new())]
    exit_on_stdin_eof: bool,
    #[command(flatten, next_help_heading = "Database")]
    database: DatabaseArgs,
    #[command(flatten, next_help_heading = "Traces")]
    traces: TraceArgs,
    #[command(flatten, next_help_heading = "Requests through the gateway only")]
    gateway: GatewayArgs,
    #[command(
        flatten,
        next_help_heading = "Registration with a local registry (not on AWS, where ECS registers tasks)"
    )]
    registration: RegistrationArgs,
}

#[derive(Args)]
struct GatewayArgs {
    /// Refuse what has no token of the gateway. The URL is where the gateway publishes its keys,
    /// as http://HOST:PORT/PATH; all addresses of the host are asked. Probes stay open
    #[arg(long, env = "REQUIRE_GATEWAY", value_name = "URL")]
    require_gateway: Option<KeysUrl>,
    /// Audience of the tokens, as `identity` in the gateway's upstream has it [default: the
    /// service's name]
    #[arg(
        long,
        env = "GATEWAY_AUDIENCE",
        value_name = "NAME",
        requires = "require_gateway"
    )]
    gateway_audience: Option<String>,
    /// Issuer of the tokens
    #[arg(long, env = "GATEWAY_ISSUER", value_name = "NAME", default_value = identity::ISSUER)]
    gateway_issuer: String,
    /// Header with the token
    #[arg(long, env = "GATEWAY_HEADER", value_name = "NAME", default_value = identity::HEADER)]
    gateway_header: HeaderName,
}

#[derive(Args)]
#[expect(
    clippy::struct_field_names,
    reason = "the names are those of the options"
)]
struct RegistrationArgs {
    /// Registry that speaks Cloud Map's protocol, as http://HOST:PORT; requests are not signed
    #[arg(
        long,
        env = "CLOUD_MAP_ENDPOINT",
        value_name = "URL",
        requires = "cloud_map_service_id"
    )]
    cloud_map_endpoint: Option<String>,
    /// Id of the service in the registry
    #[arg(
        long,
        env = "CLOUD_MAP_SERVICE_ID",
        value_name = "ID",
        requires = "cloud_map_endpoint"
    )]
    cloud_map_service_id: Option<String>,
    /// Id of this instance [default: random]
    #[arg(long, env = "CLOUD_MAP_INSTANCE_ID", value_name = "ID")]
    cloud_map_instance_id: Option<String>,
    /// Availability zone of this instance [default: none]
    #[arg(long, env = "CLOUD_MAP_AVAILABILITY_ZONE", value_name = "ZONE")]
    cloud_map_availability_zone: Option<String>,
}

/// Reads a command line; the environment fills in what it does not say.
///
/// # Errors
/// What clap wants to print, `--help` included.
pub fn parse<R: Resource>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Command, clap::Error> {
    let mut command = Cli::command()
        .name(R::SERVICE)
        .about(R::ABOUT)
        .version(R::VERSION);
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let serve = match cli.command {
        Some(CliCommand::HealthCheck(args)) => {
            let url = health_url(args)
                .map_err(|problem| command.error(ErrorKind::InvalidValue, problem))?;
            return Ok(Command::HealthCheck(HealthCheck { url }));
        }
        Some(CliCommand::Serve(args)) => *args,
        None => cli.serve,
    };
    let settings = serve
        .settings::<R>()
        .map_err(|problem| command.error(ErrorKind::ValueValidation, problem))?;
    Ok(Command::Serve(Box::new(settings)))
}

impl ServeArgs {
    fn settings<R: Resource>(self) -> Result<Settings, String> {
        let Self {
            drain_limit,
            lame_duck,
            ..
        } = self;
        if lame_duck >= drain_limit {
            return Err(format!(
                "--lame-duck {lame_duck:?} leaves nothing of --drain-limit {drain_limit:?}; shorten the one or extend the other"
            ));
        }
        let registration = self.registration.registration();
        if registration.is_some() && self.listen.is_ipv6() && !self.listen.ip().is_unspecified() {
            return Err(format!(
                "--listen {} cannot be registered, which takes an IPv4 address; listen on one",
                self.listen
            ));
        }
        Ok(Settings {
            listen: self.listen,
            database: self
                .database
                .database()
                .map_err(|error| error.to_string())?,
            database_bounds: self.database.bounds(),
            log: self.log,
            drain_limit,
            lame_duck,
            limits: Limits {
                request_timeout: self.request_timeout,
                max_concurrent_requests: self.max_concurrent_requests,
                max_body_bytes: self.max_body_bytes,
            },
            max_connections: self.max_connections,
            require_gateway: self.gateway.options::<R>(),
            registration,
            tracing: self.traces.tracing(R::SERVICE, R::VERSION)?,
            supervision: if self.exit_on_stdin_eof {
                Supervision::SignalsAndStdin
            } else {
                Supervision::Signals
            },
        })
    }
}

impl GatewayArgs {
    fn options<R: Resource>(self) -> Option<identity::Options> {
        Some(identity::Options {
            keys: self.require_gateway?,
            issuer: self.gateway_issuer,
            audience: self
                .gateway_audience
                .unwrap_or_else(|| R::SERVICE.to_owned()),
            header: self.gateway_header,
        })
    }
}

impl RegistrationArgs {
    fn registration(self) -> Option<Registration> {
        // clap has seen to it that the two come together.
        let (endpoint, service_id) = self.cloud_map_endpoint.zip(self.cloud_map_service_id)?;
        Some(Registration {
            endpoint,
            service_id,
            instance_id: self
                .cloud_map_instance_id
                .unwrap_or_else(|| RequestId::random(&mut Rng::new()).to_string()),
            availability_zone: self.cloud_map_availability_zone,
        })
    }
}

/// `/healthz` on the address that `serve` would listen on; from the machine itself
/// "every address" is the loopback one.
fn health_url(args: HealthCheckArgs) -> Result<String, String> {
    if let Some(url) = args.url {
        return Ok(url);
    }
    let mut address = args.listen;
    if address.port() == 0 {
        return Err("port 0 names no running service; say which one with --url".into());
    }
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(format!("http://{address}/healthz"))
}

fn parse_log(directives: &str) -> Result<String, String> {
    match EnvFilter::try_new(directives) {
        Ok(_) => Ok(directives.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_count(count: &str) -> Result<usize, String> {
    match count.parse() {
        Ok(0) => Err("0 would serve nobody".into()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}
