//! One request over one fresh connection: for health checks, registration and exports.
//!
//! HTTP/1.1, no pool, no redirects, no retries; TLS where it is asked for.

use std::net::SocketAddr;
use std::pin::pin;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
#[cfg(feature = "tls")]
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::TlsConnector;

/// Default of [`Client::max_body_bytes`]: 64 KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The bounds of a request.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Time for everything: name lookup, connecting, the whole answer.
    pub timeout: Duration,
    /// Longest body of an answer; a longer one is an error.
    pub max_body_bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one that this client can ask.
    #[error("`{url}` cannot be asked; write http://HOST:PORT/PATH")]
    Url {
        /// The URL as given.
        url: String,
    },
    /// No connection.
    #[error("cannot connect to {authority}")]
    Connect {
        /// Host and port.
        authority: Authority,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Its certificate is not trusted, or what came was not TLS.
    #[cfg(feature = "tls")]
    #[error("no TLS with {authority}")]
    Tls {
        /// Host and port.
        authority: Authority,
        /// The reason of rustls.
        source: std::io::Error,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("{authority} did not answer in HTTP")]
    Exchange {
        /// Host and port.
        authority: Authority,
        /// hyper's reason.
        source: hyper::Error,
    },
    /// The body is longer than [`Client::max_body_bytes`].
    #[error("{authority} answered with more than {limit} bytes")]
    BodyTooLong {
        /// Host and port.
        authority: Authority,
        /// The bound.
        limit: usize,
    },
    /// [`Client::timeout`] ran out.
    #[error("{authority} did not answer within {timeout:?}")]
    Timeout {
        /// Host and port.
        authority: Authority,
        /// The bound.
        timeout: Duration,
    },
}

impl Client {
    /// A client with this total timeout and the default bound on bodies.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            max_body_bytes: MAX_BODY_BYTES,
        }
    }

    /// Sends a GET.
    ///
    /// # Errors
    /// [`ClientError`]; an answer of any status is not an error.
    pub async fn get(&self, url: &str) -> Result<Response<Bytes>, ClientError> {
        self.send(Method::GET, url, HeaderMap::new(), Bytes::new())
            .await
    }

    /// Sends a GET to this address, wherever the URL's host may be: one of several that share a
    /// name.
    ///
    /// # Errors
    /// [`ClientError`]; an answer of any status is not an error.
    pub async fn get_at(
        &self,
        address: SocketAddr,
        url: &str,
    ) -> Result<Response<Bytes>, ClientError> {
        let (authority, target) = split(url, &Scheme::HTTP)?;
        let headers = HeaderMap::new();
        let request = request(Method::GET, &authority, target, headers, Bytes::new());
        let exchange = async {
            let stream = connected(&authority, TcpStream::connect(address).await)?;
            self.exchange(stream, &authority, request).await
        };
        self.within_timeout(&authority, exchange).await
    }

    /// Sends a POST with these headers and this body.
    ///
    /// # Errors
    /// [`ClientError`]; an answer of any status is not an error.
    pub async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, ClientError> {
        self.send(Method::POST, url, headers, body).await
    }

    /// Sends a POST over TLS, to an `https:` URL.
    ///
    /// # Errors
    /// [`ClientError`]; an answer of any status is not an error.
    #[cfg(feature = "tls")]
    pub async fn post_over_tls(
        &self,
        tls: &Arc<ClientConfig>,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, ClientError> {
        let (authority, target) = split(url, &Scheme::HTTPS)?;
        let request = request(Method::POST, &authority, target, headers, body);
        let exchange = async {
            let refused = |source| ClientError::Tls {
                authority: authority.clone(),
                source,
            };
            let (host, port) = host_of(&authority, 443);
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|error| refused(std::io::Error::other(error)))?;
            let stream = connected(&authority, TcpStream::connect((host, port)).await)?;
            let connector = TlsConnector::from(Arc::clone(tls));
            let stream = connector.connect(name, stream).await.map_err(refused)?;
            self.exchange(stream, &authority, request).await
        };
        self.within_timeout(&authority, exchange).await
    }

    /// Sends one request; `Host` and `Content-Length` are added.
    ///
    /// # Errors
    /// [`ClientError`]; an answer of any status is not an error.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, ClientError> {
        let (authority, target) = split(url, &Scheme::HTTP)?;
        let request = request(method, &authority, target, headers, body);
        let exchange = async {
            let stream = TcpStream::connect(host_of(&authority, 80)).await;
            let stream = connected(&authority, stream)?;
            self.exchange(stream, &authority, request).await
        };
        self.within_timeout(&authority, exchange).await
    }

    async fn within_timeout(
        &self,
        authority: &Authority,
        exchange: impl Future<Output = Result<Response<Bytes>, ClientError>>,
    ) -> Result<Response<Bytes>, ClientError> {
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout {
                authority: authority.clone(),
                timeout: self.timeout,
            }),
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        authority: &Authority,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, ClientError> {
        let broken = |source| ClientError::Exchange {
            authority: authority.clone(),
            source,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let answer = async {
            let (head, body) = sender
                .send_request(request)
                .await
                .map_err(broken)?
                .into_parts();
            let body = Limited::new(body, self.max_body_bytes).collect().await;
            let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(source) => broken(*source),
                Err(error) => {
                    debug_assert!(
                        error.is::<LengthLimitError>(),
                        "`Limited` adds no other error"
                    );
                    ClientError::BodyTooLong {
                        authority: authority.clone(),
                        limit: self.max_body_bytes,
                    }
                }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        // The connection is driven here and not in a task, so that it ends with this call.
        let mut answer = pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = connection => {
                // Bytes that arrived before the end are still handed over.
                let answer = answer.await;
                ended.map_err(broken)?;
                answer
            }
        }
    }
}

fn connected(
    authority: &Authority,
    stream: std::io::Result<TcpStream>,
) -> Result<TcpStream, ClientError> {
    stream.map_err(|source| ClientError::Connect {
        authority: authority.clone(),
        source,
    })
}

fn request(
    method: Method,
    authority: &Authority,
    target: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.headers_mut() = headers;
    let host =
        HeaderValue::from_str(authority.as_str()).expect("an authority is valid in a header");
    request.headers_mut().insert(HOST, host);
    request
}

/// Host and port, as a lookup takes them.
fn host_of(authority: &Authority, default_port: u16) -> (&str, u16) {
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    (host, authority.port_u16().unwrap_or(default_port))
}

/// The host and port of a URL that this client can ask.
///
/// # Errors
/// [`ClientError::Url`].
#[cfg(feature = "identity")]
pub(crate) fn host_and_port(url: &str) -> Result<(String, u16), ClientError> {
    let (authority, _) = split(url, &Scheme::HTTP)?;
    let (host, port) = host_of(&authority, 80);
    Ok((host.to_owned(), port))
}

/// Splits a URL of this scheme into whom to connect to and what to ask for.
fn split(url: &str, scheme: &Scheme) -> Result<(Authority, Uri), ClientError> {
    let refused = || ClientError::Url {
        url: url.to_owned(),
    };
    let parts = url.parse::<Uri>().map_err(|_| refused())?.into_parts();
    match (parts.scheme, parts.authority) {
        (Some(written), Some(authority))
            if written == *scheme && !authority.as_str().contains('@') =>
        {
            let target = parts
                .path_and_query
                .map_or_else(|| Uri::from_static("/"), Uri::from);
            Ok((authority, target))
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with `answer`, and hands back what was sent.
    async fn ask(
        answer: &'static str,
        client: Client,
    ) -> (Result<Response<Bytes>, ClientError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            // The client may have hung up already when the answer is one to refuse.
            let _ = stream.write_all(answer.as_bytes()).await;
            (String::from_utf8(head).unwrap(), stream)
        };
        let url = format!("http://{address}/path?query");
        let (answer, (head, _stream)) = tokio::join!(client.get(&url), server);
        (answer, head.replace(&address.to_string(), "SERVER"))
    }

    #[tokio::test]
    async fn a_request_has_a_host_and_an_answer_comes_whole() {
        let client = Client::new(Duration::from_secs(5));
        let (answer, head) = ask("HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno", client).await;
        assert_eq!(head, "GET /path?query HTTP/1.1\r\nhost: SERVER\r\n\r\n");
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (503, &b"no"[..])
        );
    }

    #[tokio::test]
    async fn every_bound_has_its_own_error() {
        let client = Client {
            timeout: Duration::from_secs(5),
            max_body_bytes: 3,
        };
        let (answer, _) = ask("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlong", client).await;
        assert!(
            matches!(answer, Err(ClientError::BodyTooLong { limit: 3, .. })),
            "{answer:?}"
        );
        let (answer, _) = ask("SSH-2.0-x\r\n\r\n", client).await;
        assert!(
            matches!(answer, Err(ClientError::Exchange { .. })),
            "{answer:?}"
        );
        let hurried = Client::new(Duration::from_millis(50));
        let (answer, _) = ask("", hurried).await;
        assert!(
            matches!(answer, Err(ClientError::Timeout { .. })),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn only_plain_http_urls_with_a_host_are_asked() {
        for url in [
            "",
            "/path",
            "localhost:1",
            "https://localhost",
            "http://user@localhost",
            "http:///x",
        ] {
            let answer = Client::new(Duration::from_secs(5)).get(url).await;
            assert!(
                matches!(answer, Err(ClientError::Url { .. })),
                "{url}: {answer:?}"
            );
        }
    }
}
