//! Connections to upstreams: opened with a limit, pooled per worker, driven by the request
//! that uses them.
//!
//! A connection has no task of its own. Whoever holds it polls it: the request while it waits
//! for the answer's head, the body while it streams. So a request needs no wake-up across
//! tasks, and a client that goes away takes its upstream request with it.

mod connect;
mod exchange;
mod held_body;
mod pool;
mod request_body;
mod resting;

pub(crate) use exchange::{ExchangeError, Reply};
pub(crate) use held_body::HeldBody;
pub(crate) use pool::Pool;
pub(crate) use request_body::{BodyError, Bounds, Replay, RequestBody, Silence};

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gateway_core::cluster::{Held, Instance};
use gateway_core::framing::HeadLimits;
use gateway_core::plan::Connections;
use gateway_core::words::time::Millis;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::io::{Upstream, UpstreamState};

type Driver = http1::Connection<TokioIo<Upstream<TcpStream>>, RequestBody>;

/// Time between two questions whether a silent host is still there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// One connection to an endpoint. Boxed by whoever holds it: it is large, and it moves from
/// the pool through a request into a body and back.
pub(crate) struct Link {
    sender: http1::SendRequest<RequestBody>,
    driver: Driver,
    state: Arc<UpstreamState>,
    is_closed: bool,
    /// Whether it has carried a request before: then it may have been closed meanwhile.
    pub(crate) is_reused: bool,
    opened_at: Millis,
    /// Counts it against the upstream that opened it.
    held: Held,
}

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Handshake(#[from] hyper::Error),
}

impl Link {
    /// Opens a connection; `timeout` covers all of it, both addresses of the endpoint included.
    pub(crate) async fn open(
        instance: &Instance,
        timeout: Duration,
        bounds: &Connections,
        now: Millis,
        held: Held,
    ) -> Result<Box<Self>, ConnectError> {
        let connecting =
            connect::connect(instance.address, instance.second_address, bounds.head_start);
        let socket = tokio::time::timeout(timeout, connecting)
            .await
            .map_err(|_elapsed| ConnectError::Timeout(timeout))??;
        socket.set_nodelay(true)?;
        watch_for_silence(&socket, bounds)?;
        let state = Arc::<UpstreamState>::default();
        let io = Upstream::new(socket, HeadLimits::default(), Arc::clone(&state));
        let (sender, driver) = handshake(io).await?;
        Ok(Box::new(Self {
            sender,
            driver,
            state,
            is_closed: false,
            is_reused: false,
            opened_at: now,
            held,
        }))
    }

    /// Moves bytes in both directions. Must be polled by whoever waits for this connection.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        if !self.is_closed && Pin::new(&mut self.driver).poll(context).is_ready() {
            self.is_closed = true;
        }
    }

    /// Whether the connection has ended, as far as has been noticed.
    fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether it can carry another request now.
    ///
    /// A close by the upstream is noticed here without a system call: the socket is read only
    /// when the kernel has reported it readable.
    pub(crate) fn is_reusable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.is_closed && self.sender.is_ready() && !self.state.holds_part_of_head()
    }

    fn expect_answer_to(&self, method: &http::Method) {
        self.state
            .expect_answer_to_head(method == http::Method::HEAD);
    }
}

/// Puts a parser on a socket; nothing goes over the wire, so this is never waited for.
async fn handshake(
    socket: Upstream<TcpStream>,
) -> hyper::Result<(http1::SendRequest<RequestBody>, Driver)> {
    http1::Builder::new()
        // One write is cheaper than a vector of a head and a small body.
        .writev(false)
        .max_headers(HeadLimits::default().headers_max)
        .handshake(TokioIo::new(socket))
        .await
}

/// Notices a host that has gone without a word, by what it does not acknowledge. Between two
/// requests, and while an answer is slow, that takes questions (tcp(7)).
fn watch_for_silence(socket: &TcpStream, bounds: &Connections) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let keep_alive = TcpKeepalive::new()
        .with_time(bounds.keep_alive)
        .with_interval(KEEP_ALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keep_alive)?;
    // Also limits the time in which questions may stay without an answer.
    socket.set_tcp_user_timeout(Some(bounds.user_timeout))
}

/// Polls without being woken: whatever it waits for comes from a driver polled beside it.
pub(crate) fn poll_unwoken<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}
