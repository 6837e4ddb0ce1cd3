//! One check: a GET on a connection of its own, so that it meets what a new client would meet.

use std::net::SocketAddr;

use gateway_core::file::HealthCheck;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Uri};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why a check did not pass; for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Exchange(#[from] hyper::Error),
    #[error("the connection was closed before an answer")]
    Closed,
    #[error("status {0}")]
    Status(u16),
}

/// Asks an endpoint once.
pub(super) async fn check(check: &HealthCheck, address: SocketAddr) -> Result<(), CheckError> {
    let status = tokio::time::timeout(check.timeout, ask(check, address))
        .await
        .map_err(|_elapsed| CheckError::Timeout(check.timeout))??;
    if check.is_expected(status) {
        Ok(())
    } else {
        Err(CheckError::Status(status))
    }
}

/// The answer's status; its body is not read.
async fn ask(check: &HealthCheck, address: SocketAddr) -> Result<u16, CheckError> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(socket))
        .await?;
    let answer = sender.send_request(request(check, address));
    // The connection ends when the answer has been dropped, or has it still at hand as it ends.
    let (mut connection, mut answer) = (std::pin::pin!(connection), std::pin::pin!(answer));
    tokio::select! {
        biased;
        answer = &mut answer => Ok(answer?.status().as_u16()),
        ended = &mut connection => {
            ended?;
            let answer = futures_util::FutureExt::now_or_never(answer);
            Ok(answer.ok_or(CheckError::Closed)??.status().as_u16())
        }
    }
}

fn request(check: &HealthCheck, address: SocketAddr) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = Uri::from(check.path.clone());
    let host = check.host.clone().unwrap_or_else(|| {
        HeaderValue::from_str(&address.to_string()).expect("an address is a header value")
    });
    let agent = concat!("gateway/", env!("CARGO_PKG_VERSION"), " health check");
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    request
}
