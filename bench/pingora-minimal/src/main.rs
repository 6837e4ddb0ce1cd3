//! The least that pingora-proxy takes to relay HTTP/1.1: round-robin over the upstream's
//! addresses, keep-alive on both sides, an access line for each request.
//!
//! `pingora-minimal FILE`, where the file has lines `listen ADDRESS`, `access_log PATH`,
//! `workers COUNT` and `upstream ADDRESS`, the last one for each address.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Bytes of access lines that are kept until they are written, as nginx does here.
const LOG_BUFFER_BYTES: usize = 64 << 10;

/// What the file says.
struct Settings {
    listen: String,
    access_log: String,
    workers: usize,
    idle_upstream: usize,
    upstreams: Vec<SocketAddr>,
}

impl Settings {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut settings = Self {
            listen: String::new(),
            access_log: "/dev/null".to_owned(),
            workers: 1,
            idle_upstream: 128,
            upstreams: Vec::new(),
        };
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(' ').context("a line is `NAME VALUE`")? {
                ("listen", value) => settings.listen = value.to_owned(),
                ("access_log", value) => settings.access_log = value.to_owned(),
                ("workers", value) => settings.workers = value.parse()?,
                ("idle_upstream", value) => settings.idle_upstream = value.parse()?,
                ("upstream", value) => settings.upstreams.push(value.parse()?),
                (name, _) => bail!("`{name}` is not a setting"),
            }
        }
        if settings.upstreams.is_empty() {
            bail!("there is no upstream");
        }
        Ok(settings)
    }
}

struct Relay {
    upstreams: Vec<SocketAddr>,
    taken: AtomicUsize,
    access_log: Mutex<AccessLog>,
}

/// Lines on their way into a file.
struct AccessLog {
    file: File,
    buffer: Vec<u8>,
}

#[async_trait]
impl ProxyHttp for Relay {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> pingora_core::Result<Box<HttpPeer>> {
        let nth = self.taken.fetch_add(1, Ordering::Relaxed) % self.upstreams.len();
        Ok(Box::new(HttpPeer::new(
            self.upstreams[nth],
            false,
            String::new(),
        )))
    }

    async fn logging(
        &self,
        session: &mut Session,
        _error: Option<&pingora_core::Error>,
        _ctx: &mut Self::CTX,
    ) {
        let status = session
            .response_written()
            .map_or(0, |head| head.status.as_u16());
        let request = session.req_header();
        let Ok(mut log) = self.access_log.lock() else {
            return;
        };
        // Into memory, which cannot fail.
        let _ = writeln!(
            log.buffer,
            "{} {} {status} {}",
            request.method,
            request.uri,
            session.body_bytes_sent()
        );
        if log.buffer.len() >= LOG_BUFFER_BYTES {
            let lines = std::mem::take(&mut log.buffer);
            // A full disk must not stop the relay.
            let _ = log.file.write_all(&lines);
            log.buffer = lines;
            log.buffer.clear();
        }
    }
}

fn main() -> anyhow::Result<()> {
    let path = std::env::args()
        .nth(1)
        .context("write: pingora-minimal FILE")?;
    if path == "--version" {
        println!("pingora-minimal on pingora-proxy 0.9.1");
        return Ok(());
    }
    let settings = Settings::parse(&std::fs::read_to_string(&path)?)?;
    let conf = ServerConf {
        threads: settings.workers,
        upstream_keepalive_pool_size: settings.idle_upstream,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let relay = Relay {
        upstreams: settings.upstreams,
        taken: AtomicUsize::new(0),
        access_log: Mutex::new(AccessLog {
            file: File::create(&settings.access_log)?,
            buffer: Vec::with_capacity(2 * LOG_BUFFER_BYTES),
        }),
    };
    let mut service = http_proxy_service(&server.configuration, relay);
    service.add_tcp(&settings.listen);
    server.add_service(service);
    server.run_forever()
}
