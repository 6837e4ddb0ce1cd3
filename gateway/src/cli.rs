//! The command line.

mod api_key;
mod bearer;
mod check;
mod dev;
mod diff;
mod explain;
mod top;
mod upgrade;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use clap::{Args, Parser, Subcommand};
use gateway_core::file::Compiled;
use mesh::client::Client;
use tracing_subscriber::EnvFilter;

use crate::app::{ConfigSource, Gateway, LoadError, Program, Stop};
use crate::dev::{DevOptions, TokenOptions};
use crate::files;
use crate::telemetry::log_level::LogLevel;
use crate::upgrade::Launch;

/// API gateway and service mesh for Amazon ECS.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged besides requests: `error`, `warn`, `info`, `debug`, or a filter such as
    /// `info,gateway::upstream=debug`. Goes to standard error as JSON.
    #[arg(long, global = true, env = "GATEWAY_LOG", default_value = "info")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Run(RunArgs),
    /// Have the running gateway start its program anew and hand over to it: exit 0 once the new
    /// process serves, 1 if it does not and the old one goes on. SIGUSR2 does the same.
    Upgrade(upgrade::UpgradeArgs),
    /// Check routes files: all that is wrong and all that is odd, at once. Exit 0 if they are
    /// good, 1 if not, 2 if the command line is not understood, 3 for warnings that
    /// `--deny-warnings` refuses.
    Check(check::CheckArgs),
    /// Say what another routes file changes in meaning, and which logged requests notice. Exit 0
    /// if nothing changes, 1 if something does, 2 if a file is bad. Routes files and what they
    /// include are compared, not the files of keys, secrets and endpoints that they name: of
    /// those the path counts, whatever they hold.
    Diff(diff::DiffArgs),
    /// Print the JSON Schema of the routes file, for editors: it makes them complete and explain.
    Schema,
    /// Run the whole system on this machine: gateway, services, registry and issuer.
    ///
    /// Standard output carries the gateway's access log and nothing else: one JSON object a
    /// request, as in production, to be filtered with jq or sent to /dev/null. Standard error
    /// carries everything for people: what the gateway logs, what the services say (each line
    /// after the name of its instance), and, once all is ready, a line to try.
    Dev(DevOptions),
    /// Print a token that the gateway of `dev` accepts.
    Token(TokenOptions),
    /// Say why a request gets the answer that it gets: the route that wins and those that lost,
    /// each check of its credential, limits, upstreams, and what would be sent there.
    Explain(Box<explain::ExplainArgs>),
    /// Show what a running gateway does now, in the terminal: routes and upstreams with rates,
    /// errors and latency, endpoints, limits, refusals, the last reload.
    Top(top::TopArgs),
    /// Make, list and remove API keys.
    #[command(subcommand)]
    ApiKey(api_key::Command),
    /// Ask a running gateway whether it is ready: exit 0 if it is, 1 if not. For container
    /// health checks; needs no curl.
    Healthcheck(HealthcheckArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The routes file.
    #[arg(long, short, env = "GATEWAY_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Remember the last good routes file here, and serve by it if the process starts while the
    /// one of `--config` is bad. Without this such a start fails.
    #[arg(long, env = "GATEWAY_LAST_GOOD", value_name = "FILE")]
    last_good: Option<PathBuf>,
    /// Take over the listening sockets of the gateway that runs at `upgrade.socket` of the
    /// routes file, once this one is ready; exit 1 without having served if that fails.
    #[arg(long)]
    upgrade: bool,
}

#[derive(Debug, Args)]
struct HealthcheckArgs {
    /// What to ask; answers other than 2xx count as unhealthy.
    #[arg(
        long,
        env = "GATEWAY_HEALTHCHECK_URL",
        default_value = "http://127.0.0.1:9090/healthz"
    )]
    url: String,
    /// How long to wait.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(args) => run(&args, &cli.log),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Check(args) => return check::run(&args),
        Command::Diff(args) => return diff::run(&args),
        Command::Schema => {
            tell(&format!("{:#}", gateway_core::file::schema()));
            Ok(())
        }
        Command::Dev(options) => start_log(&cli.log).and_then(|_level| dev::run(options)),
        Command::Token(options) => token(&options),
        Command::Explain(args) => explain::run(&args),
        Command::Top(args) => top::run(&args),
        Command::ApiKey(command) => api_key::run(&command),
        Command::Healthcheck(args) => healthcheck(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell_error(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells an error. There is nobody to tell if that fails.
fn tell_error(text: &str) {
    // With its end in one write: a process that this one was to replace logs to the same stream.
    let line = format!("{text}\n");
    let _untold = io::stderr().write_all(line.as_bytes());
}

/// Tells a result. A reader that leaves before its end, as `head` does, has what it wanted.
fn tell(text: &str) {
    let mut output = io::stdout().lock();
    let told = writeln!(output, "{text}").and_then(|()| output.flush());
    if let Err(error) = told
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tell_error(&format!("error: the result cannot be written: {error}"));
        // Half of a result must not pass for all of it.
        std::process::exit(1);
    }
}

fn start_log(text: &str) -> anyhow::Result<Arc<LogLevel>> {
    let filter = EnvFilter::try_new(text)
        .with_context(|| format!("`--log {text}` is not a log filter; write for example `info`"))?;
    let builder = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    builder.init();
    let apply = move |filter| handle.reload(filter).map_err(|error| error.to_string());
    Ok(Arc::new(LogLevel::new(text, apply)))
}

/// The file's text; what is not text is said with its place.
fn read_text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
    Ok(files::text(&shown, bytes)?)
}

fn load(path: &Path) -> Result<Compiled, LoadError> {
    ConfigSource::file(path).load_first().compiled
}

fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

fn run(args: &RunArgs, log: &str) -> anyhow::Result<()> {
    let log_level = start_log(log)?;
    let source = ConfigSource::file(&args.config).remembered_at(args.last_good.clone());
    let program = Program {
        launch: Launch::of_this_process()?,
        takes_over: args.upgrade,
        log_level,
    };
    Ok(Gateway::build_program(source, program)?.run(Stop::on_signals())?)
}

fn token(options: &TokenOptions) -> anyhow::Result<()> {
    tell(&options.mint(SystemTime::now())?);
    Ok(())
}

fn healthcheck(args: &HealthcheckArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(Client::new(args.timeout).get(&args.url))?;
    if !answer.status().is_success() {
        let body = String::from_utf8_lossy(answer.body());
        return Err(anyhow!(
            "{} answered {}: {}",
            args.url,
            answer.status(),
            body.trim()
        ));
    }
    Ok(())
}
