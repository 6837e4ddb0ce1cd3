//! A server as cheap as it can be, so that the proxy in front of it is what
//! costs: answers are made once, a request is parsed only as far as its path.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::cli::UpstreamArgs;
use crate::{cores, output};

/// How many addresses it listens on at least, so that a proxy has something to balance.
pub(crate) const ADDRESSES: u16 = 2;

/// The largest body it offers; all bodies are kept in memory.
const MAX_BODY_BYTES: usize = 16 << 20;

/// The largest request body it takes, in bytes; a larger one is refused with 413.
const MAX_UPLOAD_BYTES: u64 = 16 << 20;

/// Bytes in each chunk of an answer in chunks.
const CHUNK_BYTES: usize = 8 << 10;

/// Bytes of a request's body read at once.
const SKIP_BYTES: usize = 64 << 10;

/// The largest request head it takes; a longer one ends the connection.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Header fields it takes in one request; more end the connection.
const MAX_HEADERS: usize = 128;

/// The size of an answer's body, as people write it: `1k`, `100k`, `1m`, `512`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BodySize {
    /// The spelling, which is also the path that answers it: `1k` is at `/1k`.
    pub(crate) label: String,
    /// The length in bytes.
    pub(crate) bytes: usize,
}

/// Why a body size was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodySizeError {
    #[error("`{0}` is not a size; write bytes, or a number with k or m, such as 1k")]
    NotASize(String),
    #[error("`{0}` is above the largest body, 16m")]
    TooLarge(String),
}

impl FromStr for BodySize {
    type Err = BodySizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = match text.strip_suffix(['k', 'm']) {
            Some(digits) if text.ends_with('k') => (digits, 1 << 10),
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        };
        let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits {
            return Err(BodySizeError::NotASize(text.to_owned()));
        }
        digits
            .parse::<usize>()
            .ok()
            .and_then(|count| count.checked_mul(unit))
            .filter(|&bytes| bytes <= MAX_BODY_BYTES)
            .map(|bytes| Self {
                label: text.to_owned(),
                bytes,
            })
            .ok_or_else(|| BodySizeError::TooLarge(text.to_owned()))
    }
}

/// What runs the upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ServesOn {
    /// The event loop of whoever starts it.
    CallersLoop,
    /// A thread of its own on this core.
    Core(usize),
}

/// A running upstream; dropping it closes its listeners and connections.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
    // Held only to be dropped: serving ends when this side is gone.
    _stop: oneshot::Sender<()>,
}

impl Upstream {
    /// Binds so many addresses, each a host of its own on loopback, and serves them on the caller's event loop, or on
    /// a thread that stays on a core.
    ///
    /// # Errors
    /// When a listener cannot be bound or the thread cannot be started.
    pub(crate) async fn start(
        bodies: &[BodySize],
        serves_on: ServesOn,
        addresses: u16,
    ) -> io::Result<Self> {
        let mut listeners = Vec::with_capacity(addresses.into());
        for nth in 0..addresses {
            // 127.0.0.1, 127.0.1.1 and so on: all of 127.0.0.0/8 is loopback (RFC 1122 section
            // 3.2.1.3), on Linux without any set-up.
            let [high, low] = nth.to_be_bytes();
            let host = Ipv4Addr::new(127, high, low, 1);
            listeners.push(TcpListener::bind((host, 0)).await?.into_std()?);
        }
        let addresses = listeners.iter().map(std::net::TcpListener::local_addr);
        let addresses = addresses.collect::<io::Result<_>>()?;
        let answers = Arc::new(Answers::new(bodies));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = async move {
            let mut accepting = JoinSet::new();
            for listener in listeners {
                accepting.spawn(accept(listener, Arc::clone(&answers)));
            }
            // An error is the expected end: the sender was dropped.
            let _ = stopped.await;
        };
        match serves_on {
            ServesOn::CallersLoop => drop(tokio::spawn(serving)),
            ServesOn::Core(core) => spawn_thread(core, serving)?,
        }
        Ok(Self {
            addresses,
            _stop: stop,
        })
    }
}

fn spawn_thread(core: usize, serving: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let run = move || {
        if let Err(error) = cores::pin_current_thread(core) {
            output::note(&format!("warning: the upstream runs unpinned: {error}"));
        }
        runtime.block_on(serving);
    };
    thread::Builder::new()
        .name("upstream".to_owned())
        .spawn(run)
        .map(drop)
}

/// `bench upstream`: serves until Ctrl-C, for measurements by hand.
///
/// # Errors
/// When it cannot listen.
pub(crate) async fn run(arguments: UpstreamArgs) -> anyhow::Result<ExitCode> {
    let serves_on = arguments.core.map_or(ServesOn::CallersLoop, ServesOn::Core);
    let upstream = Upstream::start(&arguments.bodies, serves_on, ADDRESSES)
        .await
        .context("cannot start the upstream")?;
    for address in upstream.addresses {
        output::report(&format!("http://{address}\n"))?;
    }
    tokio::signal::ctrl_c().await?;
    Ok(ExitCode::SUCCESS)
}

/// Every answer it can give, complete with its head.
struct Answers {
    by_path: Vec<(String, Box<[u8]>)>,
    not_found: Box<[u8]>,
    bad_method: Box<[u8]>,
    no_length: Box<[u8]>,
    too_large: Box<[u8]>,
}

impl Answers {
    fn new(bodies: &[BodySize]) -> Self {
        Self {
            by_path: bodies
                .iter()
                .flat_map(|body| {
                    let whole = (format!("/{}", body.label), answer("200 OK", body.bytes));
                    let pieces = (format!("/chunked-{}", body.label), chunked(body.bytes));
                    [whole, pieces]
                })
                .collect(),
            not_found: answer("404 Not Found", 0),
            bad_method: answer("405 Method Not Allowed", 0),
            no_length: answer("411 Length Required", 0),
            too_large: answer("413 Content Too Large", 0),
        }
    }

    fn find(&self, method: &str, path: &str) -> &[u8] {
        if !["GET", "POST"].contains(&method) {
            return &self.bad_method;
        }
        // A handful of sizes: a scan is cheaper than hashing the path.
        self.by_path
            .iter()
            .find(|(known, _)| known == path)
            .map_or(&self.not_found, |(_, answer)| answer)
    }
}

fn answer(status: &str, body_bytes: usize) -> Box<[u8]> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {body_bytes}\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + body_bytes, b'x');
    bytes.into_boxed_slice()
}

/// A body without a length (RFC 9112, section 7.1).
fn chunked(body_bytes: usize) -> Box<[u8]> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    let mut left = body_bytes;
    while left > 0 {
        let chunk = left.min(CHUNK_BYTES);
        bytes.extend_from_slice(format!("{chunk:x}\r\n").as_bytes());
        bytes.resize(bytes.len() + chunk, b'x');
        bytes.extend_from_slice(b"\r\n");
        left -= chunk;
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes.into_boxed_slice()
}

async fn accept(listener: std::net::TcpListener, answers: Arc<Answers>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                serving.spawn(serve(stream, Arc::clone(&answers)));
            }
            // Whether a connection ended well is its client's business.
            Some(_) = serving.join_next() => {}
        }
    }
}

/// Answers requests until the other side ends the connection, each when its body is complete.
async fn serve(mut stream: TcpStream, answers: Arc<Answers>) -> io::Result<()> {
    let mut buffer = vec![0; MAX_HEAD_BYTES];
    let mut filled = 0;
    while filled < buffer.len() {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut consumed = 0;
        while let Some(next) = Next::parse(&buffer[consumed..filled], &answers)? {
            consumed += next.head_bytes;
            let held = (filled - consumed) as u64;
            if next.body_bytes <= held {
                consumed += usize::try_from(next.body_bytes).map_err(io::Error::other)?;
            } else {
                consumed = filled;
                skip(&mut stream, next.body_bytes - held).await?;
            }
            stream.write_all(next.answer).await?;
            if next.is_last {
                return Ok(());
            }
        }
        buffer.copy_within(consumed..filled, 0);
        filled -= consumed;
    }
    Ok(())
}

/// Reads so much of a body and throws it away.
async fn skip(stream: &mut TcpStream, body_bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; SKIP_BYTES];
    let mut left = body_bytes;
    while left > 0 {
        let most = usize::try_from(left).map_or(SKIP_BYTES, |left| left.min(SKIP_BYTES));
        match stream.read(&mut buffer[..most]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read as u64,
        }
    }
    Ok(())
}

/// A request whose head is complete.
struct Next<'a> {
    head_bytes: usize,
    /// Bytes of its body, to be read before the answer is given.
    body_bytes: u64,
    answer: &'a [u8],
    /// Whether the connection ends with it, because nobody knows where its body does.
    is_last: bool,
}

impl<'a> Next<'a> {
    /// The first request in `bytes`, once its head is complete.
    fn parse(bytes: &[u8], answers: &'a Answers) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(bytes).map_err(io::Error::other)?;
        let httparse::Status::Complete(head_bytes) = parsed else {
            return Ok(None);
        };
        let mut next = Self {
            head_bytes,
            body_bytes: 0,
            answer: answers.find(
                request.method.unwrap_or_default(),
                request.path.unwrap_or_default(),
            ),
            is_last: false,
        };
        for header in request.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                next.body_bytes = parse_length(header.value)?;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                next.answer = &answers.no_length;
                next.is_last = true;
            }
        }
        if next.body_bytes > MAX_UPLOAD_BYTES {
            next.answer = &answers.too_large;
            next.is_last = true;
        }
        if next.is_last {
            next.body_bytes = 0;
        }
        Ok(Some(next))
    }
}

fn parse_length(value: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(value).map_err(io::Error::other)?;
    text.trim().parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::client::{Connection, Request};

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1k", 1_024),
            ("100k", 102_400),
            ("16m", 16 << 20),
        ] {
            assert_eq!(text.parse::<BodySize>().unwrap().bytes, bytes);
        }
        for text in [
            "",
            "k",
            "+1k",
            "1 k",
            "1g",
            "-1",
            "17m",
            "99999999999999999999k",
        ] {
            assert!(text.parse::<BodySize>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn answer_follows_the_path_and_waits_for_the_whole_head() {
        let answers = Answers::new(&["1k".parse().unwrap()]);
        let complete = b"GET /1k HTTP/1.1\r\nhost: a\r\n\r\n";
        let next = |bytes| Next::parse(bytes, &answers).unwrap();
        let whole = next(complete).unwrap();
        assert_eq!((whole.head_bytes, whole.body_bytes), (complete.len(), 0));
        assert!(whole.answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(whole.answer.ends_with(&[b'x'; 1_024]));
        assert!(next(&complete[..20]).is_none());
        for (request, status, body_bytes, is_last) in [
            ("GET /2k HTTP/1.1\r\n\r\n", "404", 0, false),
            ("PUT /1k HTTP/1.1\r\n\r\n", "405", 0, false),
            (
                "POST /1k HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
                "200",
                5,
                false,
            ),
            (
                "POST /1k HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
                "411",
                0,
                true,
            ),
            (
                "POST /1k HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n",
                "413",
                0,
                true,
            ),
        ] {
            let next = next(request.as_bytes()).unwrap();
            assert!(
                next.answer
                    .starts_with(format!("HTTP/1.1 {status} ").as_bytes()),
                "{request}"
            );
            assert_eq!(
                (next.body_bytes, next.is_last),
                (body_bytes, is_last),
                "{request}"
            );
        }
        assert!(Next::parse(b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", &answers).is_err());
    }

    #[tokio::test]
    async fn client_and_upstream_agree_on_bodies_of_both_kinds_and_ways() {
        let bodies = ["1k", "100k"].map(|it| it.parse::<BodySize>().unwrap());
        let upstream = Upstream::start(&bodies, ServesOn::CallersLoop, 1)
            .await
            .unwrap();
        let mut connection = Connection::open(upstream.addresses[0]).await.unwrap();
        for (path, upload_bytes, expected_bytes) in [
            ("1k", 0, 1 << 10),
            ("chunked-100k", 0, 100 << 10),
            ("1k", 1 << 20, 1 << 10),
            ("chunked-1k", 10, 1 << 10),
            ("1k", 0, 1 << 10),
        ] {
            let uri = format!("http://a/{path}").parse().unwrap();
            let method = if upload_bytes == 0 {
                Method::GET
            } else {
                Method::POST
            };
            let body = vec![b'y'; upload_bytes].into();
            let request = Request::with_body(&method, &uri, &[], body).unwrap();
            let answer = connection.exchange(&request).await.unwrap();
            assert_eq!(
                (answer.status, answer.body_bytes),
                (200, expected_bytes),
                "{path}"
            );
            assert!(answer.keep_alive);
        }
    }
}
