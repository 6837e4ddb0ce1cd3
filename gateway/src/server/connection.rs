//! One client's connection: hyper on it, its one timer, its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use gateway_core::file::Limits;
use gateway_core::words::time::Millis;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::clock::{Clock, micros};
use crate::io::{ConnectionState, Downstream, NEVER, Phase};
use crate::proxy::{self, Connection, Worker};

/// hyper's own buffer must hold the largest head that the framer lets pass.
const BUFFER_BYTES_MIN: usize = 16 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(
    worker: Arc<Worker>,
    socket: TcpStream,
    peer: SocketAddr,
    limits: &Limits,
) {
    // Answers go out whole; waiting for more to send helps nobody.
    let _best_effort = socket.set_nodelay(true);
    let clock = worker.clock.clone();
    let idle_timeout = micros(limits.idle_timeout) / 1000;
    let head_timeout = micros(limits.head_timeout) / 1000;
    let state = Arc::new(ConnectionState::new(idle_timeout, head_timeout));
    state.set_deadline(clock.now_ms() + idle_timeout);
    let downstream = Downstream::new(socket, limits.head, Arc::clone(&state), clock.clone());
    let connection = Arc::new(Connection::new(peer, Arc::clone(&state), limits));
    let stopping = {
        let worker = Arc::clone(&worker);
        async move { worker.lifecycle.stopping().await }
    };
    let send_timeout = micros(limits.send_timeout) / 1000;
    let service = service_fn(|request| {
        let (worker, connection) = (Arc::clone(&worker), Arc::clone(&connection));
        async move {
            let response = proxy::serve(&worker, &connection, request).await;
            connection.begin_sending(worker.clock.now_ms() + send_timeout);
            Ok::<_, Infallible>(response)
        }
    });
    let http = http1::Builder::new()
        .writev(false)
        .max_headers(limits.head.headers_max)
        .max_buf_size(limits.head.head_bytes_max.max(BUFFER_BYTES_MIN))
        .serve_connection(TokioIo::new(downstream), service);
    let mut timer = Timer {
        state: Arc::clone(&state),
        clock: clock.clone(),
        sleep: None,
        armed_for: NEVER,
        send_timeout,
        written: 0,
    };
    let mut http = pin!(http);
    let mut stopping = pin!(stopping);
    let mut last_look = pin!(tokio::task::yield_now());
    let mut end = End::NotYet;
    poll_fn(|context| {
        loop {
            if http.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            if end == End::NotYet && stopping.as_mut().poll(context).is_ready() {
                end = End::LastLook;
                state.linger_at_end();
            }
            // A request that the kernel has taken already is served, not thrown away: the
            // reactor has its turn, and hyper reads, before an idle connection is closed.
            if end == End::LastLook && last_look.as_mut().poll(context).is_ready() {
                end = End::Begun;
                http.as_mut().graceful_shutdown();
                continue;
            }
            match timer.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Expired::Answer) => state.set_overdue(),
                Poll::Ready(Expired::Head) => state.expire_head(),
                Poll::Ready(Expired::Idle) => {
                    state.set_deadline(NEVER);
                    http.as_mut().graceful_shutdown();
                }
                Poll::Ready(Expired::Cut) => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// How far the end of a connection has come that ends because the process leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    LastLook,
    Begun,
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
    /// Nothing has come for long: hyper closes.
    Idle,
    /// The client takes nothing, or goes on sending after a refusal.
    Cut,
}

impl Timer {
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
            std::task::ready!(sleep.as_mut().poll(context));
            self.armed_for = NEVER;
            if self.clock.now_ms() < deadline {
                // It was set for an earlier deadline; the loop sets it again.
                continue;
            }
            match self.state.phase() {
                Phase::Waiting => return Poll::Ready(Expired::Answer),
                Phase::Idle if self.state.is_head_under_way() => {
                    self.state.set_deadline(NEVER);
                    return Poll::Ready(Expired::Head);
                }
                Phase::Idle => return Poll::Ready(Expired::Idle),
                Phase::Sending if self.has_progressed() || !self.state.is_write_blocked() => {
                    self.state
                        .set_deadline(self.clock.now_ms() + self.send_timeout);
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
