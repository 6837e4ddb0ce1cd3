//! `bench peers`: our gateway beside other proxies, each alone on one core.
//!
//! A peer is a [`Peer`] in a file here, one template in `bench/peers/`, and one
//! line in [`ALL`].

mod callgrind;
mod direct;
mod gateway;
mod gateway_open;
mod haproxy;
mod haproxy_jwt;
mod identity;
mod instructions;
mod machine;
mod measure;
mod nginx;
pub(crate) mod process;
pub(crate) mod procfs;
mod proxy;
mod report;
mod rounds;
mod statistics;
mod template;
mod unseen;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

use self::identity::Algorithm;
use crate::cli::PeersArgs;
use crate::output;

/// Every peer, in the order of the report.
const ALL: [&Peer; 17] = [
    &direct::PEER,
    &nginx::PEER,
    &haproxy::PEER,
    &haproxy_jwt::PEER,
    &gateway::PEER,
    &gateway_open::PEER,
    &haproxy_jwt::ES256,
    &gateway::ES256,
    &gateway::RS256_UNCACHED,
    &gateway::ES256_UNCACHED,
    &gateway::ENDPOINTS_100,
    &gateway::ENDPOINTS_1000,
    &nginx::ENDPOINTS_1000,
    &haproxy::ENDPOINTS_1000,
    &gateway::ROUTES_10,
    &gateway::ROUTES_1000,
    &gateway::ROUTES_10000,
];

/// Those that run unless others are asked for: the first ones. The others answer questions
/// about tokens and about size, and would take three times as long.
const BY_DEFAULT: usize = 6;

/// The peer that ratios are taken against, unless others are named.
pub(crate) const BASELINE: &str = haproxy::PEER.name;

/// Something that stands between the client and the upstream.
struct Peer {
    /// What the command line and the report call it.
    name: &'static str,
    /// What it does for each request, in a few words.
    about: &'static str,
    /// What its requests carry.
    tokens: Tokens,
    /// How large its configuration is.
    scale: Scale,
    /// How to start it; `None` connects the client to the upstream.
    proxy: Option<Proxy>,
}

/// How large a configuration is, for peers whose template asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scale {
    /// Addresses of the upstream, all of which the one program serves.
    endpoints: u16,
    /// Routes, the one that requests take among them.
    routes: u16,
}

impl Scale {
    /// What is compared with other proxies.
    const SMALL: Self = Self {
        endpoints: 2,
        routes: 1,
    };
}

/// What the requests of a peer carry, whether or not it looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tokens {
    /// The same token in every request.
    Same(Algorithm),
    /// In every request one that was not sent before.
    Unseen(Algorithm),
}

impl Tokens {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Same(algorithm) | Self::Unseen(algorithm) => algorithm,
        }
    }
}

/// How to start a proxy.
struct Proxy {
    /// The program.
    program: Program,
    /// Its arguments; placeholders are filled as in the template.
    arguments: &'static [&'static str],
    /// The name of its configuration file, and the template in `bench/peers/`.
    config_file: &'static str,
    template: &'static str,
    /// The arguments that make it print its version, on whichever output.
    version_arguments: &'static [&'static str],
    /// When it takes requests.
    ready: Ready,
    /// Whether it must turn away a request without a valid token.
    checks_token: bool,
}

/// Where a program comes from.
enum Program {
    /// A program on the search path, and the command that installs it.
    Installed {
        name: &'static str,
        install: &'static str,
    },
    /// The gateway of this workspace.
    Gateway,
}

/// When a proxy takes requests.
enum Ready {
    /// When its listener takes connections.
    Connects,
    /// When its admin listener answers `/readyz` with 200.
    ReadyEndpoint,
}

/// A peer whose program was found.
struct Present {
    peer: &'static Peer,
    /// Empty for a peer without a process.
    program: PathBuf,
}

/// The names that `--only` and `--baseline` take.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|peer| peer.name).collect()
}

/// Runs the comparison and prints its tables.
///
/// # Errors
/// When no peer is left, or something outside the proxies fails. A proxy's own
/// failure makes its row invalid and the exit code 1.
pub(crate) async fn run(arguments: PeersArgs) -> anyhow::Result<ExitCode> {
    let present = find_present(&arguments)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    // Dropping the rounds ends whatever process they have running.
    let report = tokio::select! {
        report = rounds::run(&arguments, &present) => report?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing was reported"),
        _ = terminate.recv() => bail!("terminated; nothing was reported"),
    };
    output::report(&report.to_text())?;
    if let Some(path) = &arguments.json {
        output::write_json(path, &report)?;
    }
    if let Some(path) = &arguments.markdown {
        output::write_text(path, &report.to_markdown())?;
    }
    Ok(if report.is_valid() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The peers asked for whose programs are there; says which are not.
fn find_present(arguments: &PeersArgs) -> anyhow::Result<Vec<Present>> {
    let asked: Vec<&'static Peer> = if arguments.only.is_empty() {
        ALL[..BY_DEFAULT].to_vec()
    } else {
        let known = |name: &String| ALL.iter().copied().find(|peer| peer.name == name);
        arguments.only.iter().filter_map(known).collect()
    };
    let mut present = Vec::with_capacity(asked.len());
    for peer in asked {
        match find_program(peer, arguments.gateway.as_deref())? {
            Ok(program) => present.push(Present { peer, program }),
            Err(remedy) => output::note(&format!("{} is left out: {remedy}", peer.name)),
        }
    }
    if present.is_empty() {
        bail!("no peer is left to measure");
    }
    Ok(present)
}

/// The peer's program, or the command that brings it.
fn find_program(peer: &Peer, gateway: Option<&Path>) -> anyhow::Result<Result<PathBuf, String>> {
    Ok(match peer.proxy.as_ref().map(|proxy| &proxy.program) {
        None => Ok(PathBuf::new()),
        Some(Program::Installed { name, install }) => find_on_path(name)
            .ok_or_else(|| format!("`{name}` is not installed; to add it: {install}")),
        Some(Program::Gateway) => match gateway {
            Some(path) if path.is_file() => Ok(path.to_owned()),
            Some(path) => bail!("`{}` is not a file; check --gateway", path.display()),
            None => find_beside_us("gateway")?.ok_or_else(|| {
                "the gateway is not built; to build it: cargo build --release -p gateway".to_owned()
            }),
        },
    })
}

fn find_beside_us(name: &str) -> anyhow::Result<Option<PathBuf>> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(Some(own.with_file_name(name)).filter(|path| path.is_file()))
}

/// Debian keeps daemons in `/usr/sbin`, which a user's search path often lacks.
fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
