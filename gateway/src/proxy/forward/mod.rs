//! The way upstream: pick, connect, exchange, and again where that is safe.
//!
//! | file | holds |
//! |---|---|
//! | `again.rs` | what happens between a failed try and the next |
//! | `hedge.rs` | a second try while the first is slow |
//! | `hold.rs` | which answers are held back until they are whole |
//! | `request.rs` | the request of one try |
//! | `told.rs` | what the span of a try is told of its end |

mod again;
mod hedge;
mod hold;
mod request;
mod told;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_core::cluster::aperture::Vantage;
use gateway_core::cluster::balance::{Choice, SubsetChoice, Tried};
use gateway_core::cluster::retry::Failure;
use gateway_core::cluster::{Busy, Held, Lease, Outcome};
use gateway_core::plan::{Backends, Cluster, Hedge, Route};
use gateway_core::words::reason::Reason;
use gateway_core::words::rejection::Rejection;
use gateway_core::words::time::Millis;
use http::{HeaderName, HeaderValue, StatusCode};

use super::answer::Answer;
use super::live::Pinned;
use super::record::Record;
use super::reply;
use super::spans::TrySpan;
use crate::cause::chain;
use crate::clock::Moment;
use crate::identity::Subject;
use crate::io::ClientBody;
use crate::telemetry::cells::UpstreamCells;
use crate::upstream::{Bounds, ExchangeError, Link, Replay, Reply, RequestBody};
use again::{Ending, Failed};
use request::{TryHead, time_allowed};

/// One request on its way upstream.
struct Forwarding<'a> {
    route: &'a Route,
    cluster: &'a Cluster,
    cluster_index: usize,
    cells: &'a UpstreamCells,
    /// Those of the cluster's endpoints that may be chosen.
    subset: Option<SubsetChoice>,
    /// The hash of the request's key, where the cluster chooses by one.
    key: Option<u64>,
    deadline: Instant,
    /// The deadline is not the route's but an earlier one that came with the request: that an
    /// endpoint does not meet it says nothing of the endpoint.
    is_hurried: bool,
    /// When the try under way began to look for an endpoint.
    now: Millis,
    tried: Tried,
    /// The last pooled connection turned out to be closed: the next try opens its own.
    wants_new_link: bool,
    /// Two tries at a time may ask for it, but only this request's task: never waited for.
    token: Mutex<Option<Token>>,
    has_body: bool,
    /// There where the body is kept.
    replay: Option<Replay>,
    /// When a second try begins; `None` once there has been one.
    hedge: Option<Hedge>,
}

/// By what a try goes to its endpoint.
enum Way {
    Pooled(Box<Link>),
    /// A connection that is to be opened. Both are counted from now on.
    New {
        connection: Held,
        waiting: Held,
    },
}

/// How a try ended.
struct Ended {
    result: Result<Box<Reply>, Failed>,
    /// From when it was sent to its answer's head, or to its failure.
    micros: Option<u64>,
    /// When it was sent.
    sent: Option<Moment>,
    /// What its new connection took, where access lines say so.
    connect: Option<Duration>,
    /// Its pooled connection turned out to be closed.
    wants_new_link: bool,
}

/// The gateway's own token, signed once for all tries but those that would come too late with it.
struct Token {
    value: HeaderValue,
    signed_at: Instant,
}

/// When a try was sent, and when its answer's head must be here.
#[derive(Clone, Copy)]
struct Span {
    sent_at: Instant,
    /// The same.
    sent: Moment,
    deadline: Instant,
    /// From the one to the other.
    left: Duration,
}

/// Sends a request to one of a route's upstreams and answers with what comes back.
pub(super) async fn forward(
    mut record: Box<Record>,
    pinned: &Pinned,
    backends: &Backends,
    incoming: ClientBody,
) -> Answer {
    let plan = &pinned.live.plan;
    let (position, target) = backends.choose(|| {
        let key = backends.sticky().and_then(|key| record.key_hash(key));
        key.unwrap_or_else(|| fastrand::u64(..))
    });
    let cluster_index = target.cluster;
    let cluster = &plan.clusters[cluster_index];
    record.backend = Some((position, cluster_index));
    let cells = &pinned.cells.upstreams[cluster_index];
    let route = &plan.routes[record.route.expect("set before forwarding")];
    if let Err(busy) = cells.usage.begin_request(route.priority) {
        let rejection = match busy {
            Busy::AtLimit => at_limit("requests"),
            Busy::Shed => Rejection::with_detail(Reason::RequestShed, route.priority.as_str()),
        };
        return reply::reject(record, rejection);
    }
    record.counted_at = Some(cluster_index);
    let now = record.began.to_ms();
    cells.budget.deposit(route.retries.budget_percent, now);
    let time_allowed = time_allowed(&record, route.timeout);
    let mut forwarding = Forwarding {
        route,
        cluster,
        cluster_index,
        cells,
        subset: target.subset,
        key: cluster.balancer.key().and_then(|key| record.key_hash(key)),
        deadline: record.started + time_allowed,
        is_hurried: time_allowed < route.timeout,
        now,
        tried: Tried::default(),
        wants_new_link: false,
        token: Mutex::new(None),
        has_body: !incoming.has_ended(),
        replay: None,
        hedge: route.hedge,
    };
    let body_timeout = record.connection.body_timeout;
    let mut body = forwarding.body(&record, incoming);
    loop {
        let failed = match forwarding.attempt(&mut record, body).await {
            Ok(answer) => return reply::pass(record, answer, body_timeout),
            Err(failed) => failed,
        };
        body = match forwarding.again(&mut record, failed).await {
            Ok(body) => body,
            Err(Ending::Pass(answer)) => return reply::pass(record, answer, body_timeout),
            Err(Ending::Reject(rejection)) => return reply::reject(record, rejection),
        };
    }
}

impl Forwarding<'_> {
    fn body(&mut self, record: &Record, incoming: ClientBody) -> RequestBody {
        if !self.has_body {
            return RequestBody::Empty;
        }
        let silence_max = record.connection.body_timeout;
        let policy = &self.route.retries;
        let bounds = Bounds {
            bytes_max: self.route.body_bytes_max,
            silence_max,
            received: record.asked.as_ref().and_then(|asked| asked.received()),
        };
        if !policy.may_repeat(&record.parts.method) && !self.may_hedge(&record.parts.method) {
            return RequestBody::stream(incoming, bounds);
        }
        let kept_bytes_max = policy.body_bytes_max;
        let (body, replay) = RequestBody::kept(incoming, bounds, kept_bytes_max);
        self.replay = replay;
        body
    }

    async fn attempt(
        &mut self,
        record: &mut Record,
        body: RequestBody,
    ) -> Result<Box<Reply>, Failed> {
        let lease = self.pick(record, self.now);
        let lease = lease.ok_or_else(|| Failed::refused(Reason::NoEndpoint.into()))?;
        let way = self.reserve(record, &lease, self.now)?;
        record.tries += 1;
        self.tried.add(lease.endpoint());
        record.lease = Some(lease);
        if self.may_hedge(&record.parts.method) {
            return Box::pin(self.hedged(record, way, body)).await;
        }
        let lease = record.lease.as_ref().expect("set above");
        let ended = self.carry_out(record, lease, way, body, self.now).await;
        self.settle(record, ended)
    }

    /// An endpoint, if there is one.
    fn pick(&self, record: &Record, now: Millis) -> Option<Lease> {
        let endpoints = record.pinned.live.endpoints[self.cluster_index].load();
        let choice = Choice {
            tried: &self.tried,
            now,
            random: fastrand::u64(..),
            turn: record.worker.turn(self.cells.tries.get()),
            key: self.key,
            may_probe: record.parts.method.is_idempotent(),
            subset: self.subset,
            vantage: Some(Vantage {
                aperture: &self.cells.aperture,
                place: record.worker.place,
                in_flight: self.cells.usage.requests(),
            }),
        };
        let pick = self.cluster.balancer.pick(&endpoints, &choice)?;
        self.cells.picks.count(&pick);
        Some(pick.lease)
    }

    /// A pooled connection, or room for a new one. Only now it is a try.
    fn reserve(&self, record: &Record, lease: &Lease, now: Millis) -> Result<Way, Failed> {
        let pool = &record.worker.pool;
        let way = if !self.wants_new_link
            && let Some(link) = pool.take(lease.endpoint().address(), now)
        {
            Way::Pooled(link)
        } else {
            let usage = &self.cells.usage;
            let waiting = usage.wait();
            let waiting = waiting.ok_or_else(|| Failed::refused(at_limit("pending")))?;
            // An idle connection to another endpoint must not keep this one out.
            let connection = usage
                .connect()
                .or_else(|| pool.close_one(usage).then(|| usage.connect())?)
                .ok_or_else(|| Failed::refused(at_limit("connections")))?;
            Way::New {
                connection,
                waiting,
            }
        };
        self.cells.tries.add(1);
        Ok(way)
    }

    /// One try, from its connection to its answer's head.
    async fn carry_out(
        &self,
        record: &Record,
        lease: &Lease,
        way: Way,
        body: RequestBody,
        now: Millis,
    ) -> Ended {
        let traced = TrySpan::begin(record, lease);
        let opened = match way {
            Way::Pooled(link) => Ok((link, None)),
            Way::New {
                connection,
                waiting: _counted,
            } => self.open(record, lease, connection, now).await,
        };
        let (link, connect) = match opened {
            Ok(opened) => opened,
            Err(rejection) => return Ended::unconnected(rejection, body).told_to(traced),
        };
        let (per_try, deadline) = (self.route.per_try_timeout, self.deadline);
        let token = self.token(record);
        let sent_at = Instant::now();
        let deadline = per_try.map_or(deadline, |timeout| deadline.min(sent_at + timeout));
        let left = deadline.saturating_duration_since(sent_at);
        let span = Span {
            sent_at,
            sent: record.worker.clock.moment(sent_at),
            deadline,
            left,
        };
        let token = token.as_ref().map(|(name, value)| (*name, value));
        let trace = traced
            .as_ref()
            .map_or(&record.trace, |traced| &traced.trace);
        let head = TryHead {
            record,
            trace,
            lease,
            token,
            left,
        };
        let ended = self.exchange(&head, link, body, span).await;
        Ended { connect, ..ended }.told_to(traced)
    }

    /// What a try leaves behind for the next one, and for the record.
    fn settle(&mut self, record: &mut Record, ended: Ended) -> Result<Box<Reply>, Failed> {
        if ended.micros.is_some() {
            record.upstream_micros = ended.micros;
        }
        if let Some(asked) = &mut record.asked {
            asked.note_try(ended.sent, ended.connect);
        }
        self.wants_new_link = ended.wants_new_link;
        ended.result
    }

    /// The gateway's own token and the header that carries it, where the upstream gets one.
    fn token<'r>(&self, record: &'r Record) -> Option<(&'r HeaderName, HeaderValue)> {
        let audience = self.cluster.identity.as_deref()?;
        let signer = record.pinned.live.signer.as_deref()?;
        let now = Instant::now();
        let mut held = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|token| now.saturating_duration_since(token.signed_at) >= signer.reuse());
        let token = held.get_or_insert_with(|| {
            let caller = record.caller.as_deref();
            let subject = Subject {
                audience,
                caller: caller.and_then(|caller| caller.subject.as_deref()),
                issuer: caller.and_then(|caller| caller.issuer.as_deref()),
                scopes: caller.map_or("", |caller| &caller.scopes),
                request_id: record.request_id.to_str().unwrap_or_default(),
            };
            let now_seconds = record.worker.clock.to_unix_seconds(now);
            Token {
                value: signer.sign(subject, now_seconds),
                signed_at: now,
            }
        });
        Some((signer.header(), token.value.clone()))
    }

    /// A new connection.
    async fn open(
        &self,
        record: &Record,
        lease: &Lease,
        connection: Held,
        now: Millis,
    ) -> Result<(Box<Link>, Option<Duration>), Rejection> {
        let endpoint = lease.endpoint();
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = self.cluster.connect_timeout.min(left);
        let began = Instant::now();
        let bounds = &self.cluster.connections;
        match Link::open(&endpoint.instance, timeout, bounds, now, connection).await {
            Ok(link) => {
                self.cells.connections_opened.add(1);
                let wants_time = record.asked.as_ref().is_some_and(|it| it.wants_times());
                let took = wants_time.then(|| began.elapsed());
                Ok((link, took))
            }
            Err(error) => {
                self.cells.connect_failures.add(1);
                let ended = Instant::now();
                if !(self.is_hurried && timeout < self.cluster.connect_timeout) {
                    let now = record.worker.clock.to_ms(ended);
                    lease.report(Outcome::ConnectFailed, ended - began, now);
                }
                tracing::debug!(endpoint = %endpoint.label, %error, "connect failed");
                let reason = Reason::UpstreamConnectFailure;
                Err(Rejection::with_detail(reason, error.to_string()))
            }
        }
    }

    async fn exchange(
        &self,
        head: &TryHead<'_>,
        link: Box<Link>,
        body: RequestBody,
        span: Span,
    ) -> Ended {
        let TryHead { record, lease, .. } = *head;
        let is_reused = link.is_reused;
        let connection = &record.connection;
        connection.wait_until(span.sent.after(span.left).to_ms());
        let mut exchange = link.exchange(head, body, || connection.is_overdue()).await;
        let mut took = span.sent_at.elapsed();
        if let Ok(reply) = exchange {
            exchange = self.hold(record, reply, span).await;
            if exchange.is_err() {
                self.cells.held_answers_lost.add(1);
                took = span.sent_at.elapsed();
            }
        }
        let is_hurried = self.is_hurried && span.deadline == self.deadline;
        if let Some(outcome) = outcome(&exchange)
            && !(is_hurried && outcome == Outcome::TimedOut)
        {
            lease.report(outcome, took, span.sent.after(took).to_ms());
            self.cells.usage.observe(outcome, took);
        }
        let wants_new_link = exchange.is_err() && is_reused;
        Ended {
            result: match exchange {
                Ok(reply) => self.judge(reply),
                Err(error) => Err(explain(error)),
            },
            micros: Some(crate::clock::micros(took)),
            sent: Some(span.sent),
            connect: None,
            wants_new_link,
        }
    }

    /// An answer, or a failed try: one that nobody asked for, or that may be worth another try.
    fn judge(&self, reply: Box<Reply>) -> Result<Box<Reply>, Failed> {
        let status = reply.head.status;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let detail = "the upstream switched protocols unasked";
            return Err(Failed {
                failure: Failure::Invalid,
                ending: Rejection::with_detail(Reason::UpstreamInvalidResponse, detail).into(),
                body: None,
            });
        }
        if self.route.retries.on.statuses.contains(&status.as_u16()) {
            return Err(Failed {
                failure: Failure::Status(status.as_u16()),
                ending: Ending::Pass(reply),
                body: None,
            });
        }
        Ok(reply)
    }
}

impl Ended {
    fn unconnected(rejection: Rejection, body: RequestBody) -> Self {
        Self {
            result: Err(Failed {
                failure: Failure::Connect,
                ending: rejection.into(),
                body: Some(body),
            }),
            micros: None,
            sent: None,
            connect: None,
            wants_new_link: false,
        }
    }
}

fn at_limit(limit: &'static str) -> Rejection {
    Rejection::with_detail(Reason::UpstreamOverloaded, limit)
}

/// What the end of an exchange says of the endpoint.
fn outcome(exchange: &Result<Box<Reply>, ExchangeError>) -> Option<Outcome> {
    match exchange {
        Ok(reply) if reply.head.status == StatusCode::SWITCHING_PROTOCOLS => Some(Outcome::Invalid),
        Ok(reply) => Some(Outcome::Answered {
            status: reply.head.status.as_u16(),
        }),
        Err(ExchangeError::Broken(_)) => Some(Outcome::Broken),
        Err(ExchangeError::Invalid(_)) => Some(Outcome::Invalid),
        Err(ExchangeError::Overdue) => Some(Outcome::TimedOut),
        // A connection that was idle for too long, or a client that sent too much.
        Err(ExchangeError::NotSent(_) | ExchangeError::RequestBody(_)) => None,
    }
}

fn explain(error: ExchangeError) -> Failed {
    let (failure, rejection, body) = match error {
        ExchangeError::NotSent(body) => {
            let rejection = Rejection::from(Reason::UpstreamReset);
            (Failure::NotSent, rejection, Some(body))
        }
        ExchangeError::Broken(error) => {
            let rejection = Rejection::with_detail(Reason::UpstreamReset, chain(&error));
            (Failure::Broken, rejection, None)
        }
        ExchangeError::Invalid(error) => {
            let reason = Reason::UpstreamInvalidResponse;
            let rejection = Rejection::with_detail(reason, chain(&error));
            (Failure::Invalid, rejection, None)
        }
        ExchangeError::Overdue => (Failure::Timeout, Reason::UpstreamTimeout.into(), None),
        ExchangeError::RequestBody(reason) => (Failure::Refused, reason.into(), None),
    };
    Failed {
        failure,
        ending: rejection.into(),
        body,
    }
}
