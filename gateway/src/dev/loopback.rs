//! The small HTTP server that the registry and the issuer share: loopback only, every part bounded.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Largest request body, in bytes; more is 413.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;
/// Most connections at once; further ones are closed at once.
const MAX_CONNECTIONS: usize = 256;
/// Time for a whole request head, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a whole request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept: out of descriptors, most of the time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request whose body has arrived.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An answer, small enough to be held in memory.
pub(super) type Answer = Response<Full<Bytes>>;

/// A running server; dropping it closes its socket and its connections.
#[derive(Debug)]
pub(super) struct Loopback {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Loopback {
    /// Listens on a free port of 127.0.0.1 and answers with `answer`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(super) async fn start(
        answer: impl Fn(Call) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, Arc::new(answer)));
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // The task owns the connections' JoinSet, so they end with it.
        self.accepting.abort();
    }
}

async fn accept<A>(listener: TcpListener, answer: Arc<A>)
where
    A: Fn(Call) -> Answer + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(converse(stream, Arc::clone(&answer)));
                }
                Ok(_) => tracing::warn!(limit = MAX_CONNECTIONS, "connection refused: too many"),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse<A>(stream: TcpStream, answer: Arc<A>)
where
    A: Fn(Call) -> Answer + Send + Sync + 'static,
{
    let service = service_fn(move |request| {
        let answer = Arc::clone(&answer);
        async move { Ok::<_, Infallible>(respond(request, &*answer).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

async fn respond<A>(request: Request<Incoming>, answer: &A) -> Answer
where
    A: Fn(Call) -> Answer + Sync,
{
    if !is_local(request.headers()) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "only loopback hosts are served",
        );
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Err(_) => text(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
        }
        Ok(Err(_)) => text(StatusCode::BAD_REQUEST, "the body is broken"),
        Ok(Ok(body)) => answer(Call {
            method: head.method,
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body: body.to_bytes(),
        }),
    }
}

/// Whether `Host` names this machine's loopback.
///
/// A page in the developer's browser could otherwise reach these servers by
/// letting its own name resolve to 127.0.0.1 (DNS rebinding).
fn is_local(headers: &HeaderMap) -> bool {
    let Some(authority) = headers
        .get(HOST)
        .and_then(|host| Authority::try_from(host.as_bytes()).ok())
    else {
        return false;
    };
    let host = authority.host();
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// An answer of one content type.
pub(super) fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer of plain text.
pub(super) fn text(status: StatusCode, body: &'static str) -> Answer {
    with_body(status, "text/plain; charset=utf-8", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_local() {
        let cases = [
            ("127.0.0.1:4566", true),
            ("127.9.9.9", true),
            ("localhost:80", true),
            ("LOCALHOST", true),
            ("[::1]:80", true),
            ("10.0.0.1:80", false),
            ("rebound.example", false),
            ("127.0.0.1.rebound.example", false),
            ("data-127.0.0.1:4566", false),
            ("", false),
        ];
        for (host, local) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            assert_eq!(is_local(&headers), local, "{host}");
        }
        assert!(!is_local(&HeaderMap::new()), "no host at all");
    }
}
