//! Connections to upstreams: opened with a limit, pooled per worker, driven by the request
//! that uses them.
//!
//! A connection has no task of its own. Whoever holds it polls it: the request while it waits
//! for the answer's head, the body while it streams. So a request needs no wake-up across
//! tasks, and a client that goes away takes its upstream request with it.
//!
//! | file | holds |
//! |---|---|
//! | `connect.rs` | opening a socket |
//! | `request_head.rs`, `answer_head.rs` | the heads on the wire |
//! | `request_body.rs` | what a client sends, on its way |
//! | `exchange.rs` | one request and its answer |
//! | `held_body.rs` | answers held back until they are whole |
//! | `pool.rs` | idle connections |

mod answer_head;
mod connect;
mod exchange;
mod held_body;
mod pool;
mod request_body;
mod request_head;

pub(crate) use answer_head::AnswerHead;
pub(crate) use exchange::{ExchangeError, Reply};
pub(crate) use held_body::HeldBody;
pub(crate) use pool::Pool;
pub(crate) use request_body::{BodyError, Bounds, Replay, RequestBody, Silence};
pub(crate) use request_head::RequestHead;

use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use gateway_core::cluster::{Held, Instance};
use gateway_core::framing::{Framer, HeadLimits, Role};
use gateway_core::plan::Connections;
use gateway_core::words::time::Millis;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use crate::io::{Output, Reader};
use exchange::Sending;

/// Time between two questions whether a silent host is still there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// One connection to an endpoint. Boxed by whoever holds it: it is large, and it moves from
/// the pool through a request into a body and back.
pub(crate) struct Link {
    socket: TcpStream,
    /// Tells where the answers begin and end; whatever can be read in two ways is refused.
    reader: Reader,
    output: Output,
    /// The request's body, until all of it is in `output`.
    sending: Option<Sending>,
    /// Bytes of the request under way that have gone.
    sent_bytes: u64,
    /// It has come to its end, or must not carry another request.
    is_spent: bool,
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
        Ok(Box::new(Self {
            socket,
            reader: Reader::of_answers(framer()),
            output: Output::default(),
            sending: None,
            sent_bytes: 0,
            is_spent: false,
            is_reused: false,
            opened_at: now,
            held,
        }))
    }

    /// Whether nothing of a request or an answer is under way, and another may follow, as far as
    /// has been noticed.
    fn is_between_requests(&self) -> bool {
        !self.is_spent
            && self.sending.is_none()
            && self.output.is_empty()
            // Nobody has asked for more than has come.
            && self.reader.is_between_messages()
    }

    /// Whether it can carry another request now.
    ///
    /// A close by the upstream is noticed here without a system call: the socket is read only
    /// when the kernel has reported it readable.
    fn is_reusable(&mut self) -> bool {
        if !self.is_between_requests() {
            return false;
        }
        let mut byte = [0];
        let mut unasked = ReadBuf::new(&mut byte);
        let mut unwoken = Context::from_waker(Waker::noop());
        let socket = Pin::new(&mut self.socket);
        // The end of the stream, an error, or what nobody asked for.
        self.is_spent = socket.poll_read(&mut unwoken, &mut unasked).is_ready();
        !self.is_spent
    }
}

fn framer() -> Framer {
    Framer::new(Role::Response, HeadLimits::DEFAULT)
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
