//! The way upstream: pick, connect, exchange, and again where that is safe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::cluster::Outcome;
use gateway_core::cluster::balance::{Choice, Tried};
use gateway_core::cluster::retry::{Attempt, Failure, may_retry};
use gateway_core::plan::{Backends, Cluster, Route};
use gateway_core::words::reason::Reason;
use gateway_core::words::rejection::Rejection;
use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};

use super::body::ResponseBody;
use super::headers::Outgoing;
use super::record::Record;
use super::reply;
use crate::cause::chain;
use crate::identity::Subject;
use crate::upstream::{ExchangeError, Link, Reply, RequestBody};

/// One request on its way upstream.
struct Forwarding<'a> {
    route: &'a Route,
    cluster: &'a Cluster,
    cluster_index: usize,
    deadline: Instant,
    tried: Tried,
    /// The last pooled connection turned out to be closed: the next try opens its own.
    wants_new_link: bool,
    token: Option<Token>,
}

/// The gateway's own token, signed once for all tries but those that would come too late with it.
struct Token {
    value: HeaderValue,
    signed_at: Instant,
}

/// A try that failed.
struct Failed {
    failure: Failure,
    rejection: Rejection,
    /// The body, where it was not sent.
    body: Option<RequestBody>,
}

/// Sends a request to one of a route's upstreams and answers with what comes back.
pub(super) async fn forward(
    mut record: Box<Record>,
    backends: &Backends,
    incoming: Incoming,
) -> Response<ResponseBody> {
    let pinned = Arc::clone(&record.pinned);
    let plan = &pinned.live.plan;
    let (position, cluster_index) = backends.choose(|| record.worker.random());
    record.backend = Some((position, cluster_index));
    let route = &plan.routes[record.route.expect("set before forwarding")];
    let mut forwarding = Forwarding {
        route,
        cluster: &plan.clusters[cluster_index],
        cluster_index,
        deadline: record.started + route.timeout,
        tried: Tried::default(),
        wants_new_link: false,
        token: None,
    };
    let body_timeout = record.connection.body_timeout;
    let mut body = forwarding.body(incoming, body_timeout);
    loop {
        let has_body = !matches!(body, RequestBody::Empty);
        let failed = match forwarding.attempt(&mut record, body).await {
            Ok(answer) => return reply::pass(record, answer, body_timeout),
            Err(failed) => failed,
        };
        let attempt = Attempt {
            tries: record.tries,
            // A body that comes back was never polled.
            is_body_consumed: has_body && failed.body.is_none(),
        };
        let method = &record.parts.method;
        let is_late = Instant::now() >= forwarding.deadline;
        if is_late || !may_retry(route.tries_max, method, failed.failure, attempt) {
            return reply::reject(record, failed.rejection);
        }
        record.upstream_cells().retries.add(1);
        body = failed.body.unwrap_or(RequestBody::Empty);
    }
}

impl Forwarding<'_> {
    fn body(&self, incoming: Incoming, silence_max: Duration) -> RequestBody {
        if incoming.is_end_stream() {
            return RequestBody::Empty;
        }
        RequestBody::stream(incoming, self.route.body_bytes_max, silence_max)
    }

    async fn attempt(&mut self, record: &mut Record, body: RequestBody) -> Result<Reply, Failed> {
        let now = record.worker.clock.to_ms(record.started);
        let lease = {
            let endpoints = record.pinned.live.endpoints[self.cluster_index].load();
            let choice = Choice {
                tried: &self.tried,
                now,
                random: record.worker.random(),
            };
            self.cluster.balancer.pick(&endpoints, &choice)
        };
        let Some(lease) = lease else {
            return Err(Failed {
                failure: Failure::Invalid,
                rejection: Reason::NoEndpoint.into(),
                body: None,
            });
        };
        record.tries += 1;
        record.upstream_cells().tries.add(1);
        self.tried.add(lease.endpoint());
        record.lease = Some(lease);
        let (link, body) = self.connect(record, body).await?;
        let token = self.token(record);
        let request = upstream_request(record, token, body);
        self.exchange(record, link, request).await
    }

    /// The gateway's own token and the header that carries it, where the upstream gets one.
    fn token<'r>(&'r mut self, record: &'r Record) -> Option<(&'r HeaderName, &'r HeaderValue)> {
        let audience = self.cluster.identity.as_deref()?;
        let signer = record.pinned.live.signer.as_deref()?;
        let now = Instant::now();
        self.token
            .take_if(|token| now.saturating_duration_since(token.signed_at) >= signer.reuse());
        let token = self.token.get_or_insert_with(|| {
            let caller = record.caller.as_deref();
            let subject = Subject {
                audience,
                caller: caller.and_then(|caller| caller.subject.as_deref()),
                scopes: caller.map_or("", |caller| &caller.scopes),
                request_id: record.request_id.to_str().unwrap_or_default(),
            };
            let now_seconds = record.worker.clock.to_unix_seconds(now);
            Token {
                value: signer.sign(subject, now_seconds),
                signed_at: now,
            }
        });
        Some((signer.header(), &token.value))
    }

    /// A pooled connection, or a new one.
    async fn connect(
        &self,
        record: &Record,
        body: RequestBody,
    ) -> Result<(Box<Link>, RequestBody), Failed> {
        let lease = record.lease.as_ref().expect("leased before");
        let endpoint = lease.endpoint();
        let worker = &record.worker;
        let now = worker.clock.to_ms(record.started);
        if !self.wants_new_link
            && let Some(link) = worker.pool.take(endpoint.address(), now)
        {
            return Ok((link, body));
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = self.cluster.connect_timeout.min(left);
        let began = Instant::now();
        let bounds = &self.cluster.connections;
        match Link::open(endpoint.address(), timeout, bounds, now).await {
            Ok(link) => {
                record.upstream_cells().connections_opened.add(1);
                Ok((link, body))
            }
            Err(error) => {
                record.upstream_cells().connect_failures.add(1);
                let ended = Instant::now();
                lease.report(
                    Outcome::ConnectFailed,
                    ended - began,
                    worker.clock.to_ms(ended),
                );
                tracing::debug!(endpoint = %endpoint.label, %error, "connect failed");
                Err(Failed {
                    failure: Failure::Connect,
                    rejection: Rejection::with_detail(
                        Reason::UpstreamConnectFailure,
                        error.to_string(),
                    ),
                    body: Some(body),
                })
            }
        }
    }

    async fn exchange(
        &mut self,
        record: &mut Record,
        link: Box<Link>,
        request: Request<RequestBody>,
    ) -> Result<Reply, Failed> {
        let is_reused = link.is_reused;
        let sent_at = Instant::now();
        let deadline = match self.route.per_try_timeout {
            Some(timeout) => self.deadline.min(sent_at + timeout),
            None => self.deadline,
        };
        let state = &record.connection.state;
        state.wait_until(record.worker.clock.to_ms(deadline));
        let exchange = link.exchange(request, || state.is_overdue()).await;
        let took = sent_at.elapsed();
        record.upstream_micros = Some(crate::clock::micros(took));
        if let Some(outcome) = outcome(&exchange) {
            let lease = record.lease.as_ref().expect("leased before");
            let now = record.worker.clock.to_ms(sent_at + took);
            lease.report(outcome, took, now);
        }
        let error = match exchange {
            Ok(reply) if reply.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Failed {
                    failure: Failure::Invalid,
                    rejection: Rejection::with_detail(
                        Reason::UpstreamInvalidResponse,
                        "the upstream switched protocols unasked",
                    ),
                    body: None,
                });
            }
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        self.wants_new_link = is_reused;
        Err(explain(error))
    }
}

/// What the end of an exchange says of the endpoint.
fn outcome(exchange: &Result<Reply, ExchangeError>) -> Option<Outcome> {
    match exchange {
        Ok(reply) => Some(Outcome::Answered {
            status: reply.response.status().as_u16(),
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
        ExchangeError::RequestBody(reason) => (Failure::Invalid, reason.into(), None),
    };
    Failed {
        failure,
        rejection,
        body,
    }
}

fn upstream_request(
    record: &Record,
    token: Option<(&HeaderName, &HeaderValue)>,
    body: RequestBody,
) -> Request<RequestBody> {
    let parts = &record.parts;
    let is_length_known = body.size_hint().exact().is_some();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = upstream_target(&parts.uri, record.rewritten_path.as_deref());
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = Outgoing {
        plan: &record.pinned.live.plan,
        parts,
        connection: &record.connection,
        caller: record.caller.as_deref(),
        token,
        is_trusted: record.is_trusted,
        request_id: &record.request_id,
        trace: &record.trace,
    }
    .headers();
    if let Some(lease) = &record.lease
        && !request.headers().contains_key(HOST)
    {
        // HTTP/1.0 may do without, HTTP/1.1 may not (RFC 9112 section 3.2).
        let host = HeaderValue::from_str(&lease.endpoint().label);
        request
            .headers_mut()
            .insert(HOST, host.expect("an address is a header value"));
    }
    if !is_length_known {
        // hyper would send a GET without its body otherwise.
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
    request
}

/// The origin form (RFC 9112 section 3.2.1) with the path in its one spelling.
fn upstream_target(received: &Uri, rewritten_path: Option<&str>) -> Uri {
    if rewritten_path.is_none() && received.authority().is_none() {
        return received.clone();
    }
    let path = rewritten_path.unwrap_or(received.path());
    let target = match received.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // A path that was clean stays valid in its one spelling.
    match target.parse::<PathAndQuery>() {
        Ok(target) => Uri::from(target),
        Err(_) => received.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_goes_on_in_origin_form() {
        let table = [
            ("/a?b=c", None, "/a?b=c"),
            ("http://h.example/a?b=c", None, "/a?b=c"),
            ("http://h.example", None, "/"),
            ("/%61?b", Some("/a"), "/a?b"),
        ];
        for (received, rewritten, expected) in table {
            let target = upstream_target(&received.parse().unwrap(), rewritten);
            assert_eq!(target.to_string(), expected, "{received}");
        }
    }
}
