//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use http::{HeaderName, HeaderValue, Method};

use crate::peers;
use crate::upstream::BodySize;

/// Load tests and comparisons with other proxies.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load one URL and report throughput, latencies and errors
    #[command(after_long_help = LOAD_NOTES)]
    Load(LoadArgs),
    /// Compare the gateway with other proxies on this machine
    #[command(after_long_help = PEERS_NOTES)]
    Peers(PeersArgs),
    /// Measure the memory that idle client connections cost a running server
    Idle(IdleArgs),
    /// Serve fixed bodies until Ctrl-C, as the upstream of measurements by hand
    #[command(hide = true)]
    Upstream(UpstreamArgs),
    /// Pin this process to a core and become another program
    #[command(hide = true)]
    Child(ChildArgs),
}

const LOAD_NOTES: &str = "\
The load is closed-loop: each connection sends its next request only when the last one has been \
answered. A server that stalls is therefore asked less, and the requests that would have arrived \
during the stall are never sent and never measured (coordinated omission). So the percentiles say \
how long the requests that were sent took at this many connections; they do not say what users who \
arrive at a fixed rate would see, which is worse.

Plain HTTP/1.1 only. Ctrl-C ends the run early and reports what was measured.

Exit code: 0 when at least one request was answered with a status below 400, 1 otherwise.

Examples:
  bench load --url http://127.0.0.1:8080/status
  bench load --url http://127.0.0.1:8080/users --token-file token.txt --connections 256 --duration 30s
  bench load --url http://127.0.0.1:8080/users --header 'accept: application/json' --json result.json";

const PEERS_NOTES: &str = "\
Every proxy runs alone on one core, with one worker, the same requests and the same two upstream \
addresses. Rounds alternate: each runs every proxy once, in an order that rotates. What counts is \
the proxy's CPU time per request, and of that the ratio within one run: absolute times on a shared \
or virtual machine mean little.

A proxy that is not installed is named with the command that brings it, and left out.

Exit code: 0 when every row is valid, 1 when a proxy failed or gave a wrong answer.";

/// Options of `bench load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// What to load, such as <http://127.0.0.1:8080/users>
    #[arg(long)]
    pub(crate) url: String,

    /// Bearer token to send; other users of this machine can see it, unlike --token-file
    #[arg(long, conflicts_with = "token_file")]
    pub(crate) token: Option<String>,

    /// File that holds the bearer token to send
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Header to send, `name: value`; may be given several times
    #[arg(long = "header", value_name = "HEADER", value_parser = parse_header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,

    /// Request method; no body is sent
    #[arg(long, default_value = "GET")]
    pub(crate) method: Method,

    /// Connections kept open, 1 to 10000
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) connections: u16,

    /// How long to count answers, 100ms to 1h
    #[arg(long, default_value = "5s", value_parser = parse_window)]
    pub(crate) duration: Duration,

    /// Load before counting begins, at most 1h
    #[arg(long, default_value = "1s", value_parser = parse_warmup)]
    pub(crate) warmup: Duration,

    /// Threads that send, 1 to 64
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,

    /// Bound on connecting, and on each request, 1ms to 10m
    #[arg(long, default_value = "10s", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,

    /// Write the result, with the whole latency histogram, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `bench peers`.
#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// The gateway's binary [default: `gateway` beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) gateway: Option<PathBuf>,

    /// Rounds, each of which runs every proxy once, 1 to 100
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,

    /// How long to count in each measurement, 100ms to 1h
    #[arg(long, default_value = "3s", value_parser = parse_window)]
    pub(crate) duration: Duration,

    /// Load before counting begins in each measurement, at most 1h
    #[arg(long, default_value = "1s", value_parser = parse_warmup)]
    pub(crate) warmup: Duration,

    /// Connections kept open, 1 to 10000
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) connections: u16,

    /// Body sizes to fetch, at most 16m each
    #[arg(long, value_delimiter = ',', default_value = "1k,100k")]
    pub(crate) bodies: Vec<BodySize>,

    /// Only these, in this order [default: all but those with ES256 or uncached tokens]
    #[arg(long, value_delimiter = ',', value_name = "PEER",
          value_parser = PossibleValuesParser::new(peers::names()))]
    pub(crate) only: Vec<String>,

    /// Show the ratio of CPU time to these [default: haproxy]
    #[arg(long, value_delimiter = ',', value_name = "PEER",
          value_parser = PossibleValuesParser::new(peers::names()))]
    pub(crate) baseline: Vec<String>,

    /// Count instructions with valgrind instead of perf, once for each row: works everywhere, slow
    #[arg(long)]
    pub(crate) callgrind: bool,

    /// Write every reading as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the tables as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// Options of `bench idle`.
#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    /// What each connection asks for once, such as <http://127.0.0.1:8080/status>
    #[arg(long)]
    pub(crate) url: String,

    /// The server's process; its descendants are counted with it
    #[arg(long)]
    pub(crate) pid: i32,

    /// Connections to open, 1 to 60000; the server must allow as many
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    pub(crate) connections: u16,

    /// Time before each reading, 100ms to 1h: a server may give memory back late
    #[arg(long, default_value = "20s", value_parser = parse_window)]
    pub(crate) settle: Duration,

    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Options of the hidden `bench upstream`.
#[derive(Debug, Args)]
pub(crate) struct UpstreamArgs {
    /// Body sizes to offer, each at the path of its name
    #[arg(long, value_delimiter = ',', default_value = "1k,100k")]
    pub(crate) bodies: Vec<BodySize>,

    /// The core to stay on
    #[arg(long)]
    pub(crate) core: Option<usize>,
}

/// Options of the hidden `bench child`.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// The core that the program stays on
    #[arg(long)]
    pub(crate) core: usize,

    /// The process that must still be the parent
    #[arg(long)]
    pub(crate) parent: i32,

    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub(crate) program: Vec<OsString>,
}

const MAX_WINDOW: Duration = Duration::from_hours(1);

fn parse_window(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::from_millis(100), MAX_WINDOW)
}

fn parse_warmup(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::ZERO, MAX_WINDOW)
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::from_millis(1), Duration::from_mins(10))
}

fn parse_duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it such as 5s or 200ms"))?;
    if (least..=most).contains(&duration) {
        return Ok(duration);
    }
    Err(format!(
        "it must be between {} and {}",
        humantime::format_duration(least),
        humantime::format_duration(most),
    ))
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write it as `name: value`, with a colon")?;
    let name = name
        .parse()
        .map_err(|_| format!("`{name}` is not a header name"))?;
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| "the value has characters that no header may carry")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Cli::try_parse_from(line.split(' '))
            .map(|cli| cli.command)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn declarations_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn load_has_the_documented_defaults() {
        let Ok(Command::Load(load)) = parse("bench load --url http://a/") else {
            panic!("not taken");
        };
        assert_eq!((load.connections, load.threads), (64, 1));
        assert_eq!(load.duration, Duration::from_secs(5));
        assert_eq!(load.warmup, Duration::from_secs(1));
        assert_eq!(load.timeout, Duration::from_secs(10));
        assert_eq!(load.method, Method::GET);
    }

    #[test]
    fn peers_have_the_documented_defaults() {
        let Ok(Command::Peers(peers)) = parse("bench peers --only gateway,haproxy") else {
            panic!("not taken");
        };
        assert_eq!((peers.rounds, peers.connections), (5, 64));
        assert_eq!(peers.duration, Duration::from_secs(3));
        assert_eq!(peers.only, ["gateway", "haproxy"]);
        let sizes: Vec<_> = peers.bodies.iter().map(|body| body.bytes).collect();
        assert_eq!(sizes, [1 << 10, 100 << 10]);
    }

    #[test]
    fn idle_has_the_documented_defaults() {
        let Ok(Command::Idle(idle)) = parse("bench idle --url http://a/ --pid 1") else {
            panic!("not taken");
        };
        assert_eq!(idle.connections, 10_000);
        assert_eq!(idle.settle, Duration::from_secs(20));
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_the_bound() {
        for (line, expected) in [
            ("bench load --url http://a/ --connections 0", "1..=10000"),
            (
                "bench load --url http://a/ --connections 10001",
                "1..=10000",
            ),
            (
                "bench load --url http://a/ --duration 2h",
                "between 100ms and 1h",
            ),
            ("bench load --url http://a/ --duration 5", "such as 5s"),
            (
                "bench load --url http://a/ --timeout 0s",
                "between 1ms and 10m",
            ),
            (
                "bench load --url http://a/ --header novalue",
                "`name: value`",
            ),
            (
                "bench load --url http://a/ --token a --token-file b",
                "cannot be used with",
            ),
            ("bench load", "--url"),
            ("bench peers --only ngin", "a similar value exists: 'nginx'"),
            ("bench peers --bodies 1g", "is not a size"),
            ("bench peers --rounds 0", "1..=100"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
