//! One client's connection: it rests until bytes come, and hyper speaks on it until it rests again.
//!
//! ```text
//!         readable                       nothing for a while, nothing under way
//! resting ────────→ hyper on the socket ──────────────────────────────────────→ resting
//!    │ idle for too long, or leaving         │ closed by either side, or cut
//!    └───────────→ closed ←──────────────────┘
//! ```
//!
//! What counts requests, bytes and time lives outside of hyper and stays; what goes and comes is a
//! parser between two messages, which knows nothing, and its buffers.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gateway_core::file::Limits;
use gateway_core::words::time::Millis;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::clock::{Clock, micros};
use crate::io::{ConnectionState, Downstream, NEVER, Phase};
use crate::proxy::body::ResponseBody;
use crate::proxy::{self, Connection, Worker};
use crate::telemetry::cells::WorkerCells;

/// hyper's own buffer must hold the largest head that the framer lets pass.
const BUFFER_BYTES_MIN: usize = 16 * 1024;
/// How long the first request of a connection is waited for when the process leaves.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(100);

type Http<S> = http1::Connection<TokioIo<Downstream<TcpStream>>, S>;

/// Serves a connection to its end.
pub(super) async fn serve(
    worker: Arc<Worker>,
    socket: TcpStream,
    peer: SocketAddr,
    limits: Arc<Limits>,
) {
    // Answers go out whole; waiting for more to send helps nobody.
    let _best_effort = socket.set_nodelay(true);
    let clock = worker.clock.clone();
    let idle_timeout = micros(limits.idle_timeout) / 1000;
    let head_timeout = micros(limits.head_timeout) / 1000;
    let send_timeout = micros(limits.send_timeout) / 1000;
    let state = Arc::new(ConnectionState::new(idle_timeout, head_timeout));
    state.begin_idling(clock.now_ms());
    let mut downstream = Downstream::new(socket, limits.head, Arc::clone(&state), clock.clone());
    let connection = Arc::new(Connection::new(peer, Arc::clone(&state), &limits));
    let stopping = pin!(worker.lifecycle.stopping());
    let last_look = pin!(last_look(&connection));
    let mut watch = Watch {
        timer: Timer::new(state, clock, send_timeout),
        stopping,
        last_look,
        end: End::NotYet,
    };
    let service = || {
        let (worker, connection) = (Arc::clone(&worker), Arc::clone(&connection));
        service_fn(move |request| {
            let (worker, connection) = (Arc::clone(&worker), Arc::clone(&connection));
            async move {
                let response = proxy::serve(&worker, &connection, request).await;
                connection.begin_sending(worker.clock.now_ms() + send_timeout);
                Ok::<_, Infallible>(response)
            }
        })
    };
    loop {
        let resting = Resting::begin(&worker.cells);
        if !watch.has_bytes(&downstream).await {
            break;
        }
        drop(resting);
        let mut http = speak(downstream, &limits, service());
        if !watch.exchange(&mut http, &connection).await {
            return;
        }
        let parts = http.into_parts();
        downstream = parts.io.into_inner();
        downstream.put_back(&parts.read_buf);
    }
    watch.close(downstream).await;
}

/// Ready when a connection that ends because the process leaves need not be waited for.
///
/// The reactor has its turn first, so that a request that the kernel has taken already is served
/// and not thrown away. A connection that has carried none was opened for one, which may be on its
/// way: a client tries again by itself only on connections that it has used before.
async fn last_look(connection: &Connection) {
    tokio::task::yield_now().await;
    if !connection.has_carried() {
        // Boxed, because hardly any connection comes to this.
        Box::pin(tokio::time::sleep(FIRST_REQUEST_GRACE)).await;
    }
}

/// Puts a parser on the socket. Boxed, so that a connection that rests is small.
fn speak<S>(downstream: Downstream<TcpStream>, limits: &Limits, service: S) -> Box<Http<S>>
where
    S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible>,
{
    let http = http1::Builder::new()
        .writev(false)
        .max_headers(limits.head.headers_max)
        .max_buf_size(limits.head.head_bytes_max.max(BUFFER_BYTES_MIN))
        .serve_connection(TokioIo::new(downstream), service);
    Box::new(http)
}

/// Counts a connection that rests.
struct Resting<'a>(&'a WorkerCells);

impl<'a> Resting<'a> {
    fn begin(cells: &'a WorkerCells) -> Self {
        cells.connections_resting.add(1);
        Self(cells)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.connections_resting.subtract(1);
    }
}

/// How far the end of a connection has come that ends because the process leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    LastLook,
    Begun,
}

/// What happens to a connection other than by its bytes.
struct Watch<'a, F, L> {
    timer: Timer,
    /// Ready once the process wants connections to end.
    stopping: Pin<&'a mut F>,
    last_look: Pin<&'a mut L>,
    end: End,
}

/// What is to be done.
enum Event {
    /// Look at the connection's state again.
    Look,
    /// Nothing has come for a while.
    Rest,
    /// End after the request under way.
    Close,
    /// End now.
    Cut,
}

impl<F: Future<Output = ()>, L: Future<Output = ()>> Watch<'_, F, L> {
    /// Whatever moves bytes must have been polled before.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let state = &self.timer.state;
        if self.end == End::NotYet && self.stopping.as_mut().poll(context).is_ready() {
            self.end = End::LastLook;
            state.linger_at_end();
        }
        if self.end == End::LastLook && self.last_look.as_mut().poll(context).is_ready() {
            self.end = End::Begun;
            return Poll::Ready(Event::Close);
        }
        let expired = ready!(self.timer.poll(context));
        let state = &self.timer.state;
        Poll::Ready(match expired {
            Expired::Answer => {
                state.set_overdue();
                Event::Look
            }
            Expired::Head => {
                state.expire_head();
                Event::Look
            }
            Expired::Pause => {
                state.set_deadline(state.idle_until());
                Event::Rest
            }
            Expired::Idle => {
                state.set_deadline(NEVER);
                Event::Close
            }
            Expired::Cut => Event::Cut,
        })
    }

    /// Rests until bytes come; `false` if the connection is to be closed before.
    async fn has_bytes(&mut self, downstream: &Downstream<TcpStream>) -> bool {
        poll_fn(|context| {
            loop {
                if downstream.poll_readable(context).is_ready() {
                    return Poll::Ready(true);
                }
                if let Event::Close | Event::Cut = ready!(self.poll(context)) {
                    return Poll::Ready(false);
                }
            }
        })
        .await
    }

    /// Serves what comes until nothing has come for a while; `false` if the connection has ended.
    async fn exchange<S>(&mut self, http: &mut Http<S>, connection: &Connection) -> bool
    where
        S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible>,
    {
        let mut http = Pin::new(http);
        poll_fn(|context| {
            loop {
                if http.as_mut().poll(context).is_ready() {
                    return Poll::Ready(false);
                }
                match ready!(self.poll(context)) {
                    Event::Rest if self.end == End::NotYet && connection.is_at_rest() => {
                        return Poll::Ready(true);
                    }
                    Event::Look | Event::Rest => {}
                    Event::Close => http.as_mut().graceful_shutdown(),
                    Event::Cut => return Poll::Ready(false),
                }
            }
        })
        .await
    }

    /// Closes a connection that rests, in order.
    async fn close(&mut self, mut downstream: Downstream<TcpStream>) {
        let mut socket = Pin::new(&mut downstream);
        poll_fn(|context| {
            loop {
                if socket.as_mut().poll_shutdown(context).is_ready() {
                    return Poll::Ready(());
                }
                if let Event::Cut = ready!(self.poll(context)) {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }
}

/// The one timer of a connection. Deadlines move with every request; the timer is touched
/// only when one comes earlier than it is set for, and looks again when it fires.
struct Timer {
    state: Arc<ConnectionState>,
    clock: Clock,
    sleep: Option<Pin<Box<Sleep>>>,
    armed_for: Millis,
    send_timeout: Millis,
    /// Bytes written when the timer last looked.
    written: u64,
}

enum Expired {
    /// The upstream has not answered in time.
    Answer,
    /// The head that is under way is refused.
    Head,
    /// Nothing has come for a while.
    Pause,
    /// Nothing has come for long.
    Idle,
    /// The client takes nothing, or goes on sending after a refusal.
    Cut,
}

impl Timer {
    fn new(state: Arc<ConnectionState>, clock: Clock, send_timeout: Millis) -> Self {
        Self {
            state,
            clock,
            sleep: None,
            armed_for: NEVER,
            send_timeout,
            written: 0,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let deadline = self.state.deadline();
            if deadline < self.armed_for {
                self.arm(deadline);
            }
            let Some(sleep) = &mut self.sleep else {
                return Poll::Pending;
            };
            if self.armed_for == NEVER {
                return Poll::Pending;
            }
            ready!(sleep.as_mut().poll(context));
            self.armed_for = NEVER;
            let now = self.clock.now_ms();
            if now < deadline {
                // It was set for an earlier deadline; the loop sets it again.
                continue;
            }
            match self.state.phase() {
                Phase::Waiting => return Poll::Ready(Expired::Answer),
                Phase::Idle if self.state.is_head_under_way() => {
                    self.state.set_deadline(NEVER);
                    return Poll::Ready(Expired::Head);
                }
                Phase::Idle if now < self.state.idle_until() => return Poll::Ready(Expired::Pause),
                Phase::Idle => return Poll::Ready(Expired::Idle),
                Phase::Sending if self.has_progressed() || !self.state.is_write_blocked() => {
                    self.state.set_deadline(now + self.send_timeout);
                }
                Phase::Sending | Phase::Lingering => return Poll::Ready(Expired::Cut),
            }
        }
    }

    fn has_progressed(&mut self) -> bool {
        let written = self.state.bytes_written.load(Ordering::Relaxed);
        std::mem::replace(&mut self.written, written) != written
    }

    fn arm(&mut self, deadline: Millis) {
        self.armed_for = deadline;
        // A timer counts in whole milliseconds and must not fire before its deadline.
        let at = (self.clock.instant(deadline) + Duration::from_millis(1)).into();
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }
}
