//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use http::{HeaderName, HeaderValue, Method};

use crate::peers;
use crate::scenario::{Asked, MAX_RATE};
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
    /// Judge whether two results of load or peers differ by more than their noise
    Compare(CompareArgs),
    /// Compare the gateway with other proxies on this machine
    #[command(after_long_help = PEERS_NOTES)]
    Peers(PeersArgs),
    /// Measure the memory that idle client connections cost a running server
    Idle(IdleArgs),
    /// Serve fixed bodies until Ctrl-C, as the upstream of measurements by hand
    #[command(hide = true)]
    Upstream(UpstreamArgs),
    /// Pin this process to its cores and become another program
    #[command(hide = true)]
    Child(ChildArgs),
    /// Carry bytes between a client and an upstream: the floor under every proxy
    #[command(hide = true)]
    Relay(RelayArgs),
}

const LOAD_NOTES: &str = "\
Without --rate the load is closed-loop: each connection sends its next request only when the last one has been \
answered. A server that stalls is therefore asked less, and the requests that would have arrived \
during the stall are never sent and never measured (coordinated omission). So the percentiles say \
how long the requests that were sent took at this many connections; they do not say what users who \
arrive at a fixed rate would see, which is worse. With --rate requests are sent when they are \
due, and latency counts from that time, whether or not the connection was free by then.

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

Scenarios:
  SIZE               answers of so many bytes, such as 1k, 100k, 1m
  upload-SIZE        POST of so many bytes, answered with 1 KB
  chunked[-SIZE]     an answer without a length, in chunks of 8 KB; 100k if no size is given
  headers-COUNT      so many more request headers, at most 60
  connections-COUNT  so many connections, at most 10000
  rate-PER_SECOND    open loop: requests are sent when they are due, whatever comes back, and \
latency counts from that time (no coordinated omission)
  open-loop          rate-… at each of --rate
  half-load          half of what the gateway answers in a trial, asked of every peer
  scaling            one worker and two, at rates that both keep up with: what the second brings
  reload             half of what the gateway answers in a trial, while 10,000 routes are replaced
  idle[-COUNT]       so many connections that ask for nothing, 10000 if no count is given: what \
each weighs
  two-workers        the proxy with two workers on two cores

A proxy that is not installed is named with the command that brings it, and left out.

Exit code: 0 when every row is valid, 1 when a proxy failed or gave a wrong answer, or with --goals \
when one that was measured is missed.";

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

    #[command(flatten)]
    pub(crate) mint: MintArgs,

    /// Requests a second, 1 to 1000000, whatever comes back; latency then counts from when each
    /// was due [default: as fast as answers come]
    #[arg(long, value_name = "PER_SECOND",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
    pub(crate) rate: Option<u32>,

    /// A path to ask for in place of the URL's, and how often beside the others, 1 to 1000; may
    /// repeat, up to 100 times
    #[arg(long = "path", value_name = "WEIGHT:PATH", value_parser = parse_path)]
    pub(crate) paths: Vec<(u16, String)>,

    /// Write the result, with the whole latency histogram, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `bench load` about tokens that it makes itself.
#[derive(Debug, Args)]
pub(crate) struct MintArgs {
    /// Sign tokens with this private key, PEM in PKCS#8, and send them in turn
    #[arg(id = "mint_key", long = "mint-key", value_name = "FILE", conflicts_with_all = ["token", "token_file"])]
    pub(crate) key: Option<PathBuf>,

    /// How the tokens are signed
    #[arg(
        id = "mint_algorithm",
        long = "mint-algorithm",
        value_enum,
        default_value = "es256",
        requires = "mint_key"
    )]
    pub(crate) algorithm: MintAlgorithm,

    /// Their claims as JSON; iat, exp (in 24 h) and jti are added where they are missing
    #[arg(
        id = "mint_claims",
        long = "mint-claims",
        value_name = "JSON",
        default_value = "{}",
        requires = "mint_key"
    )]
    pub(crate) claims: String,

    /// The name of the key in their header
    #[arg(
        id = "mint_kid",
        long = "mint-kid",
        value_name = "NAME",
        requires = "mint_key"
    )]
    pub(crate) kid: Option<String>,

    /// How many different ones, 1 to 10000; made before the load
    #[arg(id = "mint_count", long = "mint-count", default_value_t = 1, requires = "mint_key",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
}

/// How minted tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MintAlgorithm {
    Rs256,
    Es256,
}

/// Options of `bench compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The earlier result, as `--json` or `--out` wrote it
    pub(crate) old: PathBuf,

    /// The later one
    pub(crate) new: PathBuf,
}

/// Options of `bench peers`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags, each on its own")]
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

    /// Connections kept open, 1 to 10000, where the scenario is not about them
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) connections: u16,

    /// What to ask of every peer: answer sizes such as 1k, and the names below
    #[arg(
        long = "scenario",
        alias = "bodies",
        value_name = "SCENARIO",
        value_delimiter = ',',
        default_value = "1k,100k"
    )]
    pub(crate) scenarios: Vec<Asked>,

    /// Requests a second in the scenario open-loop, 1 to 1000000 each [default: 25, 50 and 75 %
    /// of what the slowest peer answers]
    #[arg(long, value_delimiter = ',', value_name = "PER_SECOND",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
    pub(crate) rate: Vec<u32>,

    /// Only these, in this order [default: all but those about ES256, uncached tokens and size]
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

    /// Count system calls with strace, once for each row
    #[arg(long)]
    pub(crate) syscalls: bool,

    /// Time before each reading in the scenario idle, 100ms to 1h: memory may be given back late
    #[arg(long, default_value = "20s", value_parser = parse_window)]
    pub(crate) settle: Duration,

    /// Different tokens that the peer gateway-many-tokens is asked with, 20000 to 1000000; all of
    /// them are sent once before each of its measurements
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(20_000..=1_000_000))]
    pub(crate) tokens: u32,

    /// Exit with 1 when a goal that was measured is missed
    #[arg(long)]
    pub(crate) goals: bool,

    /// Write samples as they are taken, and JSON, Markdown and plots at the end, into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Go on with the run in the folder of --out, which must have had the same settings
    #[arg(long, requires = "out")]
    pub(crate) resume: bool,

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

/// Options of the hidden `bench relay`.
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// The file with its addresses
    pub(crate) config: PathBuf,
}

/// Options of the hidden `bench child`.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// The cores that the program stays on
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) cores: Vec<usize>,

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

fn parse_path(text: &str) -> Result<(u16, String), String> {
    let (weight, path) = text
        .split_once(':')
        .ok_or("write it as WEIGHT:PATH, such as 3:/users")?;
    let weight = weight.parse().ok().filter(|it| (1..=1_000).contains(it));
    let weight = weight.ok_or("the weight must be 1 to 1000, such as 3:/users")?;
    if !path.starts_with('/') {
        return Err("the path must begin with /, such as 3:/users".to_owned());
    }
    Ok((weight, path.to_owned()))
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
        let sizes = ["1k", "100k"].map(|size| size.parse().unwrap());
        assert_eq!(peers.scenarios, sizes);
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
            ("bench load --url http://a/ --path /b", "WEIGHT:PATH"),
            ("bench load --url http://a/ --path 0:/b", "1 to 1000"),
            ("bench load --url http://a/ --path 1:b", "begin with /"),
            ("bench load", "--url"),
            ("bench peers --only ngin", "a similar value exists: 'nginx'"),
            ("bench peers --bodies 1g", "is not a size"),
            ("bench peers --scenario fast", "is not a scenario"),
            ("bench peers --rate 0", "1..=1000000"),
            ("bench peers --resume", "--out"),
            ("bench peers --tokens 10000", "20000..=1000000"),
            ("bench peers --settle 2h", "between 100ms and 1h"),
            ("bench peers --rounds 0", "1..=100"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
