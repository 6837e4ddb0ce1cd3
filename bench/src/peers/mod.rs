//! `bench peers`: our gateway beside other proxies, each alone on one core.
//!
//! A peer is a [`Peer`] in a file here, one template in `bench/peers/`, and one
//! line in [`ALL`].

mod admin;
mod caddy;
mod callgrind;
mod direct;
mod envoy;
mod folder;
mod gateway;
mod gateway_open;
mod goals;
mod haproxy;
mod haproxy_jwt;
mod identity;
mod instructions;
mod machine;
mod measure;
mod nginx;
mod pingap;
mod pingora;
mod plot;
pub(crate) mod process;
pub(crate) mod procfs;
mod proxy;
mod relay;
mod reload;
mod report;
mod rounds;
mod scaling;
mod statistics;
mod system_calls;
mod tables;
mod template;
mod traefik;
mod trials;
mod unseen;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

use self::folder::Folder;
use self::identity::Algorithm;
use crate::cli::PeersArgs;
use crate::output;
use crate::scenario::{Measure, Scenario};

/// Every peer, in the order of the report.
const ALL: [&Peer; 25] = [
    &direct::PEER,
    &nginx::PEER,
    &haproxy::PEER,
    &haproxy_jwt::PEER,
    &gateway::PEER,
    &gateway_open::PEER,
    &relay::PEER,
    &envoy::PEER,
    &envoy::JWT,
    &traefik::PEER,
    &caddy::PEER,
    &pingora::PEER,
    &pingap::PEER,
    &haproxy_jwt::ES256,
    &gateway::ES256,
    &gateway::RS256_UNCACHED,
    &gateway::ES256_UNCACHED,
    &gateway::MANY_TOKENS,
    &gateway::ENDPOINTS_100,
    &gateway::ENDPOINTS_1000,
    &nginx::ENDPOINTS_1000,
    &haproxy::ENDPOINTS_1000,
    &gateway::ROUTES_10,
    &gateway::ROUTES_1000,
    &gateway::ROUTES_10000,
];

/// Those that run unless others are asked for: the first ones. The others answer questions
/// about tokens and about size, and would take twice as long.
const BY_DEFAULT: usize = 13;

/// Where peers that come as Python wheels are, seen from the directory that `bench` starts in.
const VIRTUAL_ENVIRONMENT: &str = ".venv/bench";

/// What brings them; their versions are pinned in that file alone.
const BRING_WHEELS: &str = "python3 -m venv .venv/bench && .venv/bench/bin/pip install \
                            --only-binary :all: -r bench/peers/requirements.txt";

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

impl Peer {
    /// Whether the scenario can be asked of it.
    fn takes(&self, scenario: &Scenario) -> bool {
        match scenario.measure {
            Measure::Load => true,
            Measure::Idle => self.proxy.is_some(),
            Measure::Reload => self
                .proxy
                .as_ref()
                .is_some_and(Proxy::has_routes_to_replace),
        }
    }

    /// Whether requests bring more tokens than a cache of them holds, and it tells how many it has.
    fn fills_a_token_cache(&self) -> bool {
        let tells = |proxy: &Proxy| matches!(proxy.ready, Ready::Admin);
        !matches!(self.tokens, Tokens::Same(_)) && self.proxy.as_ref().is_some_and(tells)
    }
}

impl Proxy {
    /// Whether it reads its routes again when its admin listener is asked to.
    fn has_routes_to_replace(&self) -> bool {
        matches!(self.ready, Ready::Admin) && self.template.contains("@OTHER_ROUTE@")
    }
}

/// What the requests of a peer carry, whether or not it looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tokens {
    /// The same token in every request.
    Same(Algorithm),
    /// In every request one that was not sent before.
    Unseen(Algorithm),
    /// In every request another of as many as `--tokens` says, each of which was sent once before
    /// the measurement.
    Many(Algorithm),
}

impl Tokens {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Same(algorithm) | Self::Unseen(algorithm) | Self::Many(algorithm) => algorithm,
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
    /// Names and templates of files that it reads beside its configuration.
    more_files: &'static [(&'static str, &'static str)],
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
    /// A file in the virtual environment that `bench/peers/requirements.txt` is installed in; a
    /// folder named `python3*` stands for whichever version of Python made it.
    FromWheel { file: &'static str },
    /// A program that cargo installs, on the search path or in the environment of the wheels, and
    /// the command that brings it there.
    FromCargo {
        name: &'static str,
        install: &'static str,
    },
    /// A program beside this one, and the command that builds it.
    BesideUs {
        name: &'static str,
        build: &'static str,
    },
    /// This program.
    Ourselves,
    /// The gateway of this workspace.
    Gateway,
}

/// When a proxy takes requests.
enum Ready {
    /// When its listener takes connections.
    Connects,
    /// When its admin listener answers `/readyz` with 200.
    Admin,
    /// When a good request is answered with 200: for one that listens before it has routes.
    Answers,
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
    if let Some(path) = &arguments.out {
        Folder::check(path, arguments.resume)?;
    }
    let present = find_present(&arguments)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    // Dropping the rounds ends whatever process they have running.
    let report = tokio::select! {
        report = rounds::run(&arguments, &present) => report?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; {}", what_is_left(&arguments)),
        _ = terminate.recv() => bail!("terminated; {}", what_is_left(&arguments)),
    };
    output::report(&report.to_text())?;
    if let Some(path) = &arguments.json {
        output::write_json(path, &report)?;
    }
    if let Some(path) = &arguments.markdown {
        output::write_text(path, &report.to_markdown())?;
    }
    if let Some(path) = &arguments.out {
        let [json, markdown] = folder::result_files(path);
        output::write_json(&json, &report)?;
        output::write_text(&markdown, &report.to_markdown())?;
        for (name, svg) in report.plots() {
            output::write_text(&path.join(name), &svg)?;
        }
    }
    let misses_goals = arguments.goals && report.misses_goals();
    Ok(if report.is_valid() && !misses_goals {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn what_is_left(arguments: &PeersArgs) -> &'static str {
    match arguments.out {
        Some(_) => "what was measured is kept; go on with --resume",
        None => "nothing was reported",
    }
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
        Some(Program::FromWheel { file }) => find_in_wheels(Path::new(VIRTUAL_ENVIRONMENT), file)
            .ok_or_else(|| format!("no `{VIRTUAL_ENVIRONMENT}/{file}`; to add it: {BRING_WHEELS}")),
        Some(Program::FromCargo { name, install }) => find_on_path(name)
            .or_else(|| find_in_wheels(Path::new(VIRTUAL_ENVIRONMENT), &format!("bin/{name}")))
            .ok_or_else(|| {
                format!("no `{name}` on PATH or in {VIRTUAL_ENVIRONMENT}/bin; to add it: {install}")
            }),
        Some(Program::BesideUs { name, build }) => find_beside_us(name)?
            .ok_or_else(|| format!("`{name}` is not built; to build it: {build}")),
        Some(Program::Ourselves) => Ok(own_path()?),
        Some(Program::Gateway) => match gateway {
            // Peers are started in folders of their own.
            Some(path) if path.is_file() => Ok(path.canonicalize()?),
            Some(path) => bail!("`{}` is not a file; check --gateway", path.display()),
            None => find_beside_us("gateway")?.ok_or_else(|| {
                "the gateway is not built; to build it: cargo build --release -p gateway".to_owned()
            }),
        },
    })
}

fn find_beside_us(name: &str) -> anyhow::Result<Option<PathBuf>> {
    Ok(Some(own_path()?.with_file_name(name)).filter(|path| path.is_file()))
}

fn own_path() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot tell where this program is")
}

/// `file` in the virtual environment, whatever version of Python made it.
fn find_in_wheels(environment: &Path, file: &str) -> Option<PathBuf> {
    let found = match file.split_once("/python3*/") {
        None => environment.join(file),
        Some((folder, inside)) => {
            let folders = std::fs::read_dir(environment.join(folder)).ok()?;
            let paths = folders.flatten().map(|entry| entry.path().join(inside));
            paths.filter(|path| path.is_file()).min()?
        }
    };
    // Its process starts in a directory of its own.
    found.canonicalize().ok().filter(|path| path.is_file())
}

/// Debian keeps daemons in `/usr/sbin`, which a user's search path often lacks.
fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheel_is_found_whatever_version_of_python_made_the_environment() {
        let environment = tempfile::tempdir().unwrap();
        let root = environment.path();
        let file = "lib/python3*/site-packages/a/_bin/a";
        assert_eq!(find_in_wheels(root, file), None);
        let folder = root.join("lib/python3.11/site-packages/a/_bin");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a"), "").unwrap();
        let expected = folder.join("a").canonicalize().unwrap();
        assert_eq!(find_in_wheels(root, file), Some(expected));
        assert_eq!(find_in_wheels(root, "bin/b"), None);
    }

    #[test]
    fn every_wheel_of_a_peer_is_pinned() {
        let pins = include_str!("../../peers/requirements.txt");
        for peer in ALL {
            let Some(Program::FromWheel { file }) = peer.proxy.as_ref().map(|it| &it.program)
            else {
                continue;
            };
            let name = file.rsplit('/').next().unwrap_or_default();
            let pinned = |line: &str| line.starts_with(name) && line.contains("==");
            assert!(pins.lines().any(pinned), "{}", peer.name);
        }
    }
}
