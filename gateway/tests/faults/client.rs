//! An HTTP client with connections that are kept, as a browser or a load balancer has them.
//!
//! It is as patient with the gateway as RFC 9112 asks (section 9.3.1) and no more: a request that
//! found its kept connection closed and never left is sent on another one. Nothing is sent twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::order;

/// Longer than the gateway takes for anything.
const PATIENCE: Duration = Duration::from_secs(15);

type Sender = SendRequest<Full<Bytes>>;

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) to: SocketAddr,
    pub(crate) number: u64,
    /// A POST; else a GET.
    pub(crate) is_post: bool,
    /// On a connection of its own, which ends with it.
    pub(crate) is_alone: bool,
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// The order, whole.
    Good,
    /// Something that looked whole but is not the order.
    Wrong(String),
    /// A refusal: the status and the gateway's reason.
    Refused(String),
    /// No answer, or one that broke off.
    Broken(&'static str),
}

/// Connections that wait for their next request, by address.
#[derive(Default)]
pub(crate) struct Client {
    idle: Mutex<HashMap<SocketAddr, Vec<Sender>>>,
}

impl Client {
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(ask));
        match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(broken)) => Answer::Broken(broken),
            Err(_late) => Answer::Broken("no end of the answer in 15 s"),
        }
    }

    async fn exchange(&self, ask: Ask) -> Result<Answer, &'static str> {
        let (mut sender, response) = self.send(ask).await?;
        let status = response.status();
        let is_last = ask.is_alone || response.headers().contains_key(CONNECTION);
        let body = response.into_body().collect().await;
        let body = body.map_err(|_| "the answer broke off")?.to_bytes();
        if !is_last && sender.ready().await.is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.entry(ask.to).or_default().push(sender);
        }
        Ok(judge(ask.number, status, &body))
    }

    async fn send(&self, ask: Ask) -> Result<(Sender, Response<Incoming>), &'static str> {
        let mut request = request(ask);
        loop {
            let kept = if ask.is_alone {
                None
            } else {
                self.take(ask.to)
            };
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect(ask.to).await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err("closed before an answer"),
                },
            }
        }
    }

    fn take(&self, address: SocketAddr) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle.get_mut(&address)?;
        std::iter::from_fn(|| idle.pop()).find(Sender::is_ready)
    }
}

async fn connect(address: SocketAddr) -> Result<Sender, &'static str> {
    let socket = TcpStream::connect(address).await;
    let socket = socket.map_err(|_| "no connection")?;
    let (sender, connection) = handshake(TokioIo::new(socket))
        .await
        .map_err(|_| "no connection")?;
    // What ends it is told to the request that is under way.
    tokio::spawn(connection);
    Ok(sender)
}

fn request(ask: Ask) -> Request<Full<Bytes>> {
    let (method, body) = if ask.is_post {
        (Method::POST, format!("item {}", ask.number).into())
    } else {
        (Method::GET, Bytes::new())
    };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{}", order::PATH, ask.number))
        .header(HOST, "shop.example")
        .body(Full::new(body))
        .expect("all parts are valid");
    if ask.is_alone {
        let close = HeaderValue::from_static("close");
        request.headers_mut().insert(CONNECTION, close);
    }
    request
}

fn judge(number: u64, status: StatusCode, body: &[u8]) -> Answer {
    if status == StatusCode::OK {
        return if body == order::body(number).as_bytes() {
            Answer::Good
        } else {
            Answer::Wrong(format!("{} bytes that are not the order", body.len()))
        };
    }
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let reason = problem
        .as_ref()
        .and_then(|problem| problem["code"].as_str());
    let reason = reason.unwrap_or("of an upstream");
    Answer::Refused(format!("{} {reason}", status.as_u16()))
}
