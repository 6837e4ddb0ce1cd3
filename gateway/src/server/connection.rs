//! One client's connection: it rests until bytes come, and then carries requests until it rests
//! again.
//!
//! ```text
//!         readable                    nothing for a while
//! resting ────────→ next head ──────────────────────────────→ resting
//!    │              ↑       ↓ whole, or refused
//!    │        answer sent  served
//!    │              └───────┘
//!    │ idle for too long, or leaving     │ closed by either side, or cut
//!    └───────────→ closed ←──────────────┘
//! ```
//!
//! All of it is one task. What is needed only between two rests is in one box that is dropped with
//! the next of them, so that a connection that rests is small; buffers are lent by the worker, from a
//! head's first byte to its answer's last.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gateway_core::file::Limits;
use gateway_core::framing::request_head;
use gateway_core::words::reason::Reason;
use gateway_core::words::time::Millis;
use tokio::net::TcpStream;

use super::manner::Manner;
use super::sending::{Sending, Sent};
use super::timer::Timer;
use crate::clock::{NEVER, micros};
use crate::io::{Arrival, ClientBody, Downstream};
use crate::proxy::{self, Answer, Arrived, Connection, Worker};
use crate::telemetry::cells::WorkerCells;

/// How long the first request of a connection is waited for when the process leaves.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(100);
/// Time without a request after which a connection rests. Long enough that a busy connection does not
/// pay for it.
const REST_AFTER_MS: Millis = 2_000;
/// Time in which a refused client may read its answer before the socket closes.
const LINGER_MS: Millis = 1_000;

/// What a connection may do, in milliseconds where it is time.
#[derive(Clone, Copy)]
struct Bounds {
    idle: Millis,
    head: Millis,
    send: Millis,
}

/// Serves a connection to its end.
pub(super) async fn serve(
    worker: Arc<Worker>,
    socket: TcpStream,
    peer: SocketAddr,
    limits: Arc<Limits>,
) {
    // Answers go out whole; waiting for more to send helps nobody.
    let _best_effort = socket.set_nodelay(true);
    let connection = Arc::new(Connection::new(peer, &limits));
    connection.note_end(worker.clock.now_ms());
    let departure = pin!(departure(&worker, &connection));
    let mut driver = Driver {
        worker: &worker,
        connection: &connection,
        downstream: Downstream::new(socket, limits.head),
        timer: Timer::new(worker.clock.clone()),
        departure,
        has_departed: false,
        awaits_departure: false,
        bounds: Bounds {
            idle: micros(limits.idle_timeout) / 1000,
            head: micros(limits.head_timeout) / 1000,
            send: micros(limits.send_timeout) / 1000,
        },
    };
    while driver.has_bytes().await {
        match Box::pin(driver.converse()).await {
            End::Rest => {}
            End::Close { lingers } => return driver.close(lingers).await,
            End::Gone => return,
        }
    }
    // Who could not know that the process leaves may be sending.
    let lingers = driver.has_departed;
    driver.close(lingers).await;
}

/// Ready when a connection without a request is to end because the process leaves.
///
/// The reactor has its turn first, so that a request that the kernel has taken already is served
/// and not thrown away. A connection that has carried none was opened for one, which may be on its
/// way: a client tries again by itself only on connections that it has used before.
async fn departure(worker: &Worker, connection: &Connection) {
    worker.lifecycle.stopping().await;
    tokio::task::yield_now().await;
    if !connection.has_carried() {
        // Boxed, because hardly any connection comes to this.
        Box::pin(tokio::time::sleep(FIRST_REQUEST_GRACE)).await;
    }
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

/// How a conversation ended.
enum End {
    /// Nothing has come for a while.
    Rest,
    /// No other request is served. With `lingers` the client may still be sending.
    Close { lingers: bool },
    /// The client has gone, or takes nothing any more.
    Gone,
}

/// What comes of waiting for a request.
enum Next {
    Head(Bytes),
    Refused(Reason),
    None(End),
}

/// What drives one connection.
struct Driver<'a, D> {
    worker: &'a Arc<Worker>,
    connection: &'a Arc<Connection>,
    downstream: Downstream,
    timer: Timer,
    /// Ready when the connection is to end because the process leaves.
    departure: Pin<&'a mut D>,
    has_departed: bool,
    /// The departure will wake the task. To ask it again takes a lock.
    awaits_departure: bool,
    bounds: Bounds,
}

impl<D: Future<Output = ()>> Driver<'_, D> {
    /// Whether the process wants this connection to end as soon as it carries no request.
    fn poll_departure(&mut self, context: &mut Context<'_>) -> bool {
        if self.has_departed || self.awaits_departure && !self.worker.lifecycle.is_leaving() {
            return self.has_departed;
        }
        self.awaits_departure = true;
        self.has_departed = self.departure.as_mut().poll(context).is_ready();
        self.has_departed
    }

    fn idle_until(&self) -> Millis {
        self.connection.ended_at().saturating_add(self.bounds.idle)
    }

    /// Rests until bytes come; `false` if the connection is to be closed before.
    async fn has_bytes(&mut self) -> bool {
        let _resting = Resting::begin(&self.worker.cells);
        let idle_until = self.idle_until();
        poll_fn(|context| {
            if self.downstream.poll_readable(context).is_ready() {
                return Poll::Ready(true);
            }
            if self.poll_departure(context) {
                return Poll::Ready(false);
            }
            self.timer.poll(idle_until, context).map(|()| false)
        })
        .await
    }

    /// Serves what comes.
    async fn converse(&mut self) -> End {
        loop {
            let (next, head_began) = self.next().await;
            let arrived = match next {
                Next::Head(head) => self.arrived(&head, head_began),
                Next::Refused(reason) => Err(reason),
                Next::None(end) => return end,
            };
            let is_refused = arrived.is_err();
            let (answer, manner) = match arrived {
                Ok((arrived, manner)) => match self.respond(arrived).await {
                    Some(answer) => (answer, manner),
                    None => return End::Gone,
                },
                Err(reason) => {
                    let refused = proxy::refuse(self.worker, self.connection, reason, head_began);
                    (refused, Manner::REFUSED)
                }
            };
            match self.send(answer, manner).await {
                Sent::Whole { keeps: true } => {}
                Sent::Whole { keeps: false } => {
                    // Who could not know of the end may be sending.
                    let lingers = is_refused || self.worker.lifecycle.is_leaving();
                    return End::Close { lingers };
                }
                Sent::Broken => return End::Gone,
            }
        }
    }

    /// Waits for the next request; with it comes when its first piece came, where it is in pieces.
    async fn next(&mut self) -> (Next, Option<Millis>) {
        let idle_until = self.idle_until();
        let rest_at = idle_until.min(self.connection.ended_at().saturating_add(REST_AFTER_MS));
        let mut head_began = None;
        let next = poll_fn(|context| {
            match self.downstream.poll_head(context) {
                Poll::Pending => {}
                Poll::Ready(Arrival::Head(head)) => return Poll::Ready(Next::Head(head)),
                Poll::Ready(Arrival::Refused(reason)) => {
                    return Poll::Ready(Next::Refused(reason));
                }
                Poll::Ready(Arrival::End) => return Poll::Ready(Next::None(End::Gone)),
            }
            if self.downstream.is_head_under_way() {
                let began = *head_began.get_or_insert_with(|| self.worker.clock.now_ms());
                ready!(self.timer.poll(began + self.bounds.head, context));
                return Poll::Ready(Next::Refused(Reason::RequestHeadTimeout));
            }
            if self.poll_departure(context) {
                return Poll::Ready(Next::None(End::Close { lingers: true }));
            }
            ready!(self.timer.poll(rest_at, context));
            let end = if rest_at < idle_until {
                End::Rest
            } else {
                End::Close { lingers: false }
            };
            Poll::Ready(Next::None(end))
        })
        .await;
        (next, head_began)
    }

    fn arrived(
        &mut self,
        head: &Bytes,
        head_began: Option<Millis>,
    ) -> Result<(Arrived, Manner), Reason> {
        let parts = request_head(head)?;
        let manner = Manner::of(&parts);
        let body = ClientBody::of(&mut self.downstream);
        if manner.expects_continue {
            self.downstream.invite_body();
        }
        let arrived = Arrived {
            parts,
            body,
            head_began,
        };
        Ok((arrived, manner))
    }

    /// Has a request served; `None` if its client goes away first.
    async fn respond(&mut self, arrived: Arrived) -> Option<Answer> {
        let mut serving = pin!(proxy::serve(self.worker, self.connection, arrived));
        poll_fn(|context| {
            loop {
                if let Poll::Ready(answer) = serving.as_mut().poll(context) {
                    return Poll::Ready(Some(answer));
                }
                if self.downstream.poll_gone(context).is_ready() {
                    return Poll::Ready(None);
                }
                ready!(self.timer.poll(self.connection.answer_by(), context));
                self.connection.set_overdue();
            }
        })
        .await
    }

    /// Sends an answer to its end.
    async fn send(&mut self, answer: Answer, manner: Manner) -> Sent {
        if manner.expects_continue {
            self.downstream.withdraw_invitation();
        }
        let mut sending = Sending::begin(answer, manner, self.worker);
        let (clock, bound) = (&self.worker.clock, self.bounds.send);
        let mut blocked_until = None;
        let sent = poll_fn(|context| {
            let mut written = 0;
            match sending.poll(&mut self.downstream, context, &mut written) {
                Poll::Ready(sent) => Poll::Ready(sent),
                Poll::Pending if sending.is_blocked() => {
                    let until = blocked_until.get_or_insert(NEVER);
                    if written > 0 || *until == NEVER {
                        *until = clock.now_ms() + bound;
                    }
                    self.timer.poll(*until, context).map(|()| Sent::Broken)
                }
                // It is the upstream that is waited for.
                Poll::Pending => {
                    if let Some(until) = &mut blocked_until {
                        *until = NEVER;
                    }
                    self.downstream.poll_gone(context).map(|()| Sent::Broken)
                }
            }
        })
        .await;
        if blocked_until.is_some() {
            self.connection.note_end(clock.now_ms());
        }
        sending.end();
        sent
    }

    /// Ends a connection in order.
    async fn close(&mut self, lingers: bool) {
        let until = self.worker.clock.now_ms() + LINGER_MS;
        poll_fn(|context| {
            if self.downstream.poll_close(lingers, context).is_ready() {
                return Poll::Ready(());
            }
            self.timer.poll(until, context)
        })
        .await;
    }
}
