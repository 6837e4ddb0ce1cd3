//! Starting a proxy, and making sure that it does what its row claims.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::{HeaderName, HeaderValue, Method, Uri, header};
use tempfile::TempDir;

use super::callgrind::Valgrind;
use super::identity::{AUDIENCE, ISSUER, Identity, KeyFiles, SCOPE};
use super::process::Running;
use super::template::Values;
use super::{Proxy, Ready, Scale};
use crate::client::{Answer, Connection, Expected, Failure, Request};
use crate::scenario::Scenario;
use crate::upstream::Upstream;

/// How long a proxy may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// The same for one that runs on valgrind's processor.
const READY_LIMIT_COUNTED: Duration = Duration::from_mins(1);

/// How often a starting proxy is asked.
const READY_POLL: Duration = Duration::from_millis(20);

/// Bound on each request made to check a proxy.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that checks make while the load's are open or closing.
const SPARE_CONNECTIONS: u32 = 64;

/// The placeholders of the upstream's addresses: whole, and in their parts.
const UPSTREAM: &[&str] = &["UPSTREAM", "UPSTREAM_HOST", "UPSTREAM_PORT"];

/// The placeholder of routes that no request takes.
const OTHER_ROUTE: &[&str] = &["OTHER_ROUTE"];

/// What a proxy is put between.
pub(super) struct Surroundings<'a> {
    /// The cores that the proxy stays on, one for each of its workers.
    pub(super) cores: &'a [usize],
    /// How many workers it gets.
    pub(super) workers: u16,
    /// Connections that the load will hold.
    pub(super) connections: u16,
    pub(super) upstream: &'a Upstream,
    /// How large the configuration is.
    pub(super) scale: Scale,
    /// What counts the proxy's instructions from its start to its end.
    pub(super) counted_by: Option<&'a Valgrind>,
    /// Who signs the tokens that this proxy gets.
    pub(super) identity: &'a Identity,
}

impl Surroundings<'_> {
    fn values(&self, directory: &Path, config: &Path, addresses: [SocketAddr; 2]) -> Values {
        let [address, admin_address] = addresses;
        let client_connections = u32::from(self.connections) + SPARE_CONNECTIONS;
        let mut values = Values::default();
        values.set("LISTEN", address.to_string());
        values.set("LISTEN_HOST", address.ip().to_string());
        values.set("LISTEN_PORT", address.port().to_string());
        values.set("WORKERS", self.workers.to_string());
        values.set("ADMIN", admin_address.to_string());
        let upstreams = &self.upstream.addresses[..self.scale.endpoints.into()];
        let row = |address: &SocketAddr| {
            let (host, port) = (address.ip(), address.port());
            vec![address.to_string(), host.to_string(), port.to_string()]
        };
        values.set_list(UPSTREAM, upstreams.iter().map(row).collect());
        let others = (1..self.scale.routes).map(|nth| vec![nth.to_string()]);
        values.set_list(OTHER_ROUTE, others.collect());
        values.set("CLIENT_CONNECTIONS", client_connections.to_string());
        // One for every client and server, as our gateway may keep.
        let idle = client_connections * u32::from(self.scale.endpoints).div_ceil(2);
        values.set("IDLE_UPSTREAM", idle.to_string());
        values.set("ALL_CONNECTIONS", (client_connections + idle).to_string());
        values.set("DIR", directory.display().to_string());
        values.set("CONFIG", config.display().to_string());
        match &self.identity.key_files {
            KeyFiles::Public { jwks, pem } => {
                values.set("JWKS", jwks.display().to_string());
                values.set("PUBLIC_KEY", pem.display().to_string());
            }
            KeyFiles::Secret(file) => values.set("SECRET", file.display().to_string()),
        }
        values.set("ALGORITHM", self.identity.algorithm.as_str());
        values.set("ISSUER", ISSUER);
        values.set("AUDIENCE", AUDIENCE);
        values.set("SCOPE", SCOPE);
        values
    }
}

/// A proxy that takes requests. Dropping it ends the process and then removes
/// its directory: the fields are dropped in this order.
pub(super) struct StartedProxy {
    pub(super) process: Running,
    pub(super) address: SocketAddr,
    /// For those that have an admin listener.
    pub(super) admin_address: SocketAddr,
    /// Its configuration file.
    pub(super) config: PathBuf,
    directory: TempDir,
}

impl StartedProxy {
    /// Writes the configuration, starts the proxy, waits until it is ready and
    /// checks its answers.
    ///
    /// # Errors
    /// When it does not start, is not ready in time, or answers wrongly; with
    /// the end of its output.
    pub(super) async fn start(
        proxy: &Proxy,
        program: &Path,
        surroundings: &Surroundings<'_>,
        scenario: &Scenario,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir()
            .context("cannot make a directory for the proxy")?;
        let config = directory.path().join(proxy.config_file);
        let address = free_address()?;
        let admin_address = free_address()?;

        let values = surroundings.values(directory.path(), &config, [address, admin_address]);
        std::fs::write(&config, values.fill(proxy.template)?)
            .context("cannot write the proxy's configuration")?;
        for (name, template) in proxy.more_files {
            std::fs::write(directory.path().join(name), values.fill(template)?)
                .context("cannot write a file of the proxy")?;
        }
        let arguments: Result<Vec<String>, _> = proxy
            .arguments
            .iter()
            .map(|argument| values.fill(argument))
            .collect();

        let (program, arguments) = match surroundings.counted_by {
            None => (program.to_owned(), arguments?),
            Some(valgrind) => valgrind.wrap(program, arguments?, directory.path()),
        };
        let limit = match surroundings.counted_by {
            None => READY_LIMIT,
            Some(_) => READY_LIMIT_COUNTED,
        };
        let process = Running::start(&program, &arguments, directory.path(), surroundings.cores)?;
        let good = (scenario, surroundings.identity.token.as_str());
        let mut started = Self {
            process,
            address,
            admin_address,
            config,
            directory,
        };
        started
            .wait_until_ready(&proxy.ready, admin_address, good, limit)
            .await?;
        if let Err(error) = check_answers(proxy, address, surroundings.identity, scenario).await {
            bail!("{error:#}{}", started.process.output_tail());
        }
        Ok(started)
    }

    /// Where its files are.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    async fn wait_until_ready(
        &mut self,
        ready: &Ready,
        admin_address: SocketAddr,
        (scenario, token): (&Scenario, &str),
        limit: Duration,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            self.process.check_alive()?;
            let is_ready = match ready {
                Ready::Connects => Connection::open(self.address).await.is_ok(),
                Ready::Admin => exchange(admin_address, &get(admin_address, "readyz")?)
                    .await
                    .is_ok_and(|answer| answer.status == 200),
                Ready::Answers => ask(self.address, scenario, Some(token))
                    .await
                    .is_ok_and(|answer| answer.status == 200),
            };
            if is_ready {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let limit = humantime::format_duration(limit);
                bail!(
                    "it was not ready after {limit}{}",
                    self.process.output_tail()
                );
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }
}

/// The request that a peer gets; with a token whether or not it looks at it.
///
/// # Errors
/// When the token cannot be a header.
pub(super) fn request(
    address: SocketAddr,
    scenario: &Scenario,
    token: Option<&str>,
    upload: &Arc<[u8]>,
) -> anyhow::Result<Request> {
    let uri: Uri = format!("http://{address}/{}", scenario.path()).parse()?;
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    if let Some(token) = token {
        headers.push((header::AUTHORIZATION, format!("Bearer {token}").parse()?));
    }
    for nth in 1..=scenario.extra_headers {
        let value = HeaderValue::from_static("a value as long as many are");
        headers.push((format!("x-bench-{nth}").parse()?, value));
    }
    let method = if upload.is_empty() {
        Method::GET
    } else {
        Method::POST
    };
    Ok(Request::with_body(
        &method,
        &uri,
        &headers,
        Arc::clone(upload),
    )?)
}

/// The body of the scenario's requests, shared by all of them.
pub(super) fn upload(scenario: &Scenario) -> Arc<[u8]> {
    vec![b'y'; scenario.upload_bytes].into()
}

/// What the upstream answers, through whatever proxy.
pub(super) fn expected(scenario: &Scenario) -> Expected {
    Expected {
        status: 200,
        body_bytes: scenario.answer.bytes as u64,
    }
}

/// A row that claims to verify tokens must turn away those that are missing or
/// forged: a proxy that let them through would look fast.
async fn check_answers(
    proxy: &Proxy,
    address: SocketAddr,
    identity: &Identity,
    scenario: &Scenario,
) -> anyhow::Result<()> {
    let answer = ask(address, scenario, Some(&identity.token)).await?;
    if (answer.status, answer.body_bytes) != (200, scenario.answer.bytes as u64) {
        bail!(
            "a good request was answered with {} and {} bytes",
            answer.status,
            answer.body_bytes
        );
    }
    if proxy.checks_token {
        // Without a body: who refuses one early may close while it is still being sent.
        let scenario = &Scenario {
            upload_bytes: 0,
            ..scenario.clone()
        };
        let forged = forge(&identity.token);
        for (name, token) in [
            ("no token", None),
            ("a forged token", Some(forged.as_str())),
        ] {
            let status = ask(address, scenario, token).await?.status;
            if status != 401 {
                bail!("a request with {name} was answered with {status} instead of 401");
            }
        }
    }
    Ok(())
}

/// The token with one character of its signature exchanged. Not the last one,
/// some of whose bits mean nothing.
fn forge(token: &str) -> String {
    let (kept, signature) = token.rsplit_once('.').unwrap_or(("", token));
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let rest: String = signature.chars().skip(1).collect();
    format!("{kept}.{first}{rest}")
}

/// What the scenario's request is answered with.
async fn ask(
    address: SocketAddr,
    scenario: &Scenario,
    token: Option<&str>,
) -> anyhow::Result<Answer> {
    exchange(
        address,
        &request(address, scenario, token, &upload(scenario))?,
    )
    .await
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<Request> {
    let uri: Uri = format!("http://{address}/{path}").parse()?;
    Ok(Request::new(&Method::GET, &uri, &[])?)
}

async fn exchange(address: SocketAddr, request: &Request) -> anyhow::Result<Answer> {
    let exchange = async {
        let mut connection = Connection::open(address).await?;
        connection.exchange(request).await
    };
    tokio::time::timeout(CHECK_TIMEOUT, exchange)
        .await
        .unwrap_or(Err(Failure::Timeout))
        .map_err(|failure| anyhow::anyhow!("a request to check it failed: {}", failure.as_str()))
}

/// An address whose port was free a moment ago: these proxies cannot be handed
/// a listening socket in one common way.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::ALL;

    #[test]
    fn every_template_and_argument_fills_completely() {
        let mut values = Values::default();
        for name in [
            "LISTEN",
            "LISTEN_HOST",
            "LISTEN_PORT",
            "WORKERS",
            "ADMIN",
            "CLIENT_CONNECTIONS",
            "ALL_CONNECTIONS",
            "IDLE_UPSTREAM",
            "DIR",
            "CONFIG",
            "JWKS",
            "PUBLIC_KEY",
            "SECRET",
            "ALGORITHM",
            "ISSUER",
            "AUDIENCE",
            "SCOPE",
        ] {
            values.set(name, "value");
        }
        values.set_list(UPSTREAM, vec![vec!["value".to_owned(); UPSTREAM.len()]]);
        values.set_list(OTHER_ROUTE, Vec::new());
        for peer in ALL {
            let Some(proxy) = &peer.proxy else { continue };
            for text in proxy.arguments.iter().chain([&proxy.template]) {
                let filled = values.fill(text).expect(peer.name);
                assert!(!filled.is_empty(), "{}", peer.name);
            }
            let more = proxy.more_files.iter().map(|(_, template)| *template);
            let all: String = [proxy.template].into_iter().chain(more).collect();
            values.fill(&all).expect(peer.name);
            assert!(all.contains("@LISTEN"), "{}", peer.name);
            assert!(all.contains("@UPSTREAM"), "{}", peer.name);
            let grows = peer.scale.routes == 1 || proxy.template.contains("@OTHER_ROUTE@");
            assert!(grows, "{}", peer.name);
        }
    }

    #[test]
    fn forged_token_differs_in_its_signature_only() {
        assert_eq!(forge("head.body.sign"), "head.body.Aign");
        assert_eq!(forge("head.body.Aign"), "head.body.Bign");
    }
}
