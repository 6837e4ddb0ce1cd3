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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::clock::{Clock, micros};
use crate::io::{ConnectionState, Downstream, NEVER, Phase};
use crate::proxy::{self, Connection, Worker};

/// hyper's own buffer must hold the largest head that the framer lets pass.
const BUFFER_BYTES_MIN: usize = 16 * 1024;
/// Time in which a refused client may read its answer before the socket closes.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;

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
    let state = Arc::new(ConnectionState::new(idle_timeout));
    state.set_deadline(clock.now_ms() + idle_timeout);
    let downstream = Downstream::new(
        socket,
        limits.head,
        Arc::clone(&state),
        micros(limits.head_timeout) / 1000,
        clock.clone(),
    );
    let requests_max = limits.requests_per_connection_max;
    let connection = Arc::new(Connection::new(peer, Arc::clone(&state), requests_max));
    let stopping = {
        let worker = Arc::clone(&worker);
        async move { worker.lifecycle.stopping().await }
    };
    let send_timeout = micros(limits.send_timeout) / 1000;
    let service = service_fn(|request| {
        let (worker, connection) = (Arc::clone(&worker), Arc::clone(&connection));
        // hyper wants to move it while it waits to be spoken to by us.
        Box::pin(async move {
            let response = proxy::serve(&worker, &connection, request).await;
            connection.begin_sending(worker.clock.now_ms() + send_timeout);
            Ok::<_, Infallible>(response)
        })
    });
    let mut http = http1::Builder::new()
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
    let mut stopping = pin!(stopping);
    let mut is_stopping = false;
    let end = poll_fn(|context| {
        loop {
            if http.poll_without_shutdown(context).is_ready() {
                return Poll::Ready(End::Over);
            }
            if !is_stopping && stopping.as_mut().poll(context).is_ready() {
                is_stopping = true;
                Pin::new(&mut http).graceful_shutdown();
                continue;
            }
            match timer.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Expired::Head) => state.expire_head(),
                Poll::Ready(Expired::Idle) => {
                    state.set_deadline(NEVER);
                    Pin::new(&mut http).graceful_shutdown();
                }
                Poll::Ready(Expired::Send) => return Poll::Ready(End::Cut),
            }
        }
    })
    .await;
    if end == End::Over {
        close(http.into_parts().io.into_inner().into_socket(), &state).await;
    }
}

#[derive(PartialEq)]
enum End {
    /// hyper is done with it.
    Over,
    /// The client takes nothing.
    Cut,
}

/// Ends a connection so that the client reads its last answer: closing with unread bytes
/// would reset it (RFC 9112 section 9.6).
async fn close(mut socket: TcpStream, state: &ConnectionState) {
    let _gone_already = socket.shutdown().await;
    if !state.has_refused() {
        return;
    }
    let linger = async {
        let mut thrown_away = [0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(count @ 1..) = socket.read(&mut thrown_away).await {
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    };
    let _closed_or_waited_enough = tokio::time::timeout(LINGER, linger).await;
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
    Head,
    Idle,
    Send,
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
                Phase::Waiting => self.state.set_deadline(NEVER),
                Phase::Idle if self.state.is_head_under_way() => {
                    self.state.set_deadline(NEVER);
                    return Poll::Ready(Expired::Head);
                }
                Phase::Idle => return Poll::Ready(Expired::Idle),
                Phase::Sending if self.has_progressed() => {
                    self.state.set_deadline(self.clock.now_ms() + self.send_timeout);
                }
                Phase::Sending => return Poll::Ready(Expired::Send),
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
