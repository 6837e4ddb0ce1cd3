//! Upstreams that do as a test says.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{PATIENCE, runtime};

/// A running upstream; dropping it closes its listening socket.
pub(crate) struct Backend {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    in_flight: AtomicUsize,
    in_flight_peak: AtomicUsize,
    bytes: Mutex<Vec<u8>>,
}

/// One thing that a raw upstream does; a connection does them in turn, and closes after the last.
#[derive(Clone)]
pub(crate) enum Step {
    /// Reads to the end of a head.
    ReadHead,
    /// Reads until these bytes have come.
    ReadUntil(&'static str),
    /// Writes.
    Write(Bytes),
    /// Waits for the test.
    Wait(Gate),
    /// Waits until the other side closes.
    AwaitClose,
    /// Closes with a reset instead of an orderly end.
    Reset,
}

/// Writes text.
pub(crate) fn write(text: &'static str) -> Step {
    Step::Write(Bytes::from_static(text.as_bytes()))
}

/// Something that waits until the test lets it go on.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets everybody through, from now on.
    pub(crate) fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Lets one through.
    pub(crate) fn open_once(&self) {
        self.0.add_permits(1);
    }

    pub(crate) async fn pass(&self) {
        let permit = self.0.acquire().await.expect("a gate is never destroyed");
        permit.forget();
    }
}

/// The body of an answer.
pub(crate) type AnswerBody = Either<Full<Bytes>, Incoming>;
type Answering = Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>;

/// A body that is known in full.
pub(crate) fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    Either::Left(Full::new(bytes.into()))
}

impl Backend {
    /// Answers each request as `answer` says.
    pub(crate) fn answering<F>(
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<AnswerBody>> + Send + 'static,
    {
        let answer: Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync> =
            Arc::new(move |request| Box::pin(answer(request)));
        Self::accepting(move |socket, seen| {
            let answer = Arc::clone(&answer);
            async move {
                let service = service_fn(move |request| {
                    let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                    async move {
                        let _in_flight = InFlight::new(seen);
                        Ok::<_, Infallible>(answer(request).await)
                    }
                });
                // A client that goes away is no failure of the backend.
                let _ended = http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            }
        })
    }

    /// Answers 200 with this text.
    pub(crate) fn replying(text: &'static str) -> Self {
        Self::answering(move |request| async move {
            // The next request must not find the rest of this one.
            let _all = request.into_body().collect().await;
            Response::new(full(text))
        })
    }

    /// Answers with what it was sent, as JSON.
    pub(crate) fn echo() -> Self {
        Self::answering(|request| async move {
            let (head, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes);
            let headers: Vec<_> = head
                .headers
                .iter()
                .map(|(name, value)| {
                    json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
                })
                .collect();
            let echo = json!({
                "method": head.method.as_str(),
                "target": head.uri.to_string(),
                "headers": headers,
                "body": body.as_ref().map(|body| String::from_utf8_lossy(body)).unwrap_or_default(),
                "body_is_whole": body.is_ok(),
            });
            Response::new(full(echo.to_string()))
        })
    }

    /// Sends each body back while it comes.
    pub(crate) fn mirroring() -> Self {
        Self::answering(
            |request| async move { Response::new(AnswerBody::Right(request.into_body())) },
        )
    }

    /// Each connection runs through these steps.
    pub(crate) fn scripted(steps: impl Into<Vec<Step>>) -> Self {
        let steps: Vec<Step> = steps.into();
        Self::accepting(move |socket, seen| run(steps.clone(), socket, seen))
    }

    fn accepting<F>(serve: impl Fn(TcpStream, Arc<Seen>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime().block_on(listen).expect("port 0 is free");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Seen::default());
        let counts = Arc::clone(&seen);
        let accepting = runtime().spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counts.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, Arc::clone(&counts)));
            }
        });
        Self {
            address,
            seen,
            accepting,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Request heads received so far.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.seen.in_flight.load(Ordering::SeqCst)
    }

    /// Most requests that were under way at a time.
    pub(crate) fn in_flight_peak(&self) -> usize {
        self.seen.in_flight_peak.load(Ordering::SeqCst)
    }

    /// All bytes that a scripted upstream has read.
    pub(crate) fn received(&self) -> String {
        let bytes = self
            .seen
            .bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct InFlight(Arc<Seen>);

impl InFlight {
    fn new(seen: Arc<Seen>) -> Self {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        let now = seen.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        seen.in_flight_peak.fetch_max(now, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn run(steps: Vec<Step>, mut socket: TcpStream, seen: Arc<Seen>) {
    let mut unread = Vec::new();
    for step in steps {
        let goes_on = match step {
            Step::ReadHead => {
                let is_there = read_until(&mut socket, &mut unread, b"\r\n\r\n", &seen).await;
                if is_there {
                    seen.requests.fetch_add(1, Ordering::SeqCst);
                }
                is_there
            }
            Step::ReadUntil(text) => {
                read_until(&mut socket, &mut unread, text.as_bytes(), &seen).await
            }
            Step::Write(bytes) => socket.write_all(&bytes).await.is_ok(),
            Step::Wait(gate) => {
                gate.pass().await;
                true
            }
            Step::AwaitClose => {
                let close = read_until(&mut socket, &mut unread, b"never sent\0", &seen);
                let _closed = tokio::time::timeout(PATIENCE, close).await;
                false
            }
            Step::Reset => {
                let now = Some(std::time::Duration::ZERO);
                socket2::SockRef::from(&socket)
                    .set_linger(now)
                    .expect("a socket option");
                false
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// Reads until `end` has come and drops all up to it; `false` if the other side closes before.
async fn read_until(socket: &mut TcpStream, unread: &mut Vec<u8>, end: &[u8], seen: &Seen) -> bool {
    loop {
        if let Some(at) = unread.windows(end.len()).position(|window| window == end) {
            unread.drain(..at + end.len());
            return true;
        }
        let before = unread.len();
        match socket.read_buf(unread).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        let mut bytes = seen.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(&unread[before..]);
    }
}

/// The values of a header that an echoing backend was sent.
pub(crate) fn echoed<'v>(echo: &'v Value, name: &str) -> Vec<&'v str> {
    let headers = echo["headers"].as_array().expect("an echo");
    let named = headers.iter().filter(|header| header[0] == name);
    named.filter_map(|header| header[1].as_str()).collect()
}
