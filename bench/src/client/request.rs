//! The requests that a load repeats, made once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue, Method, Uri, header};

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Box<[u8]>,
    /// Sent after the head; shared by all that send the same.
    body: Arc<[u8]>,
    is_head: bool,
}

/// Why a request cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("header `{0}` is set by the client itself; leave it out")]
    OwnHeader(HeaderName),
    #[error("method `CONNECT` asks for a tunnel, which this client does not open")]
    Connect,
}

/// Headers that decide where a message ends (RFC 9112, section 6.3), or
/// whether the connection lives on: a wrong one would make every answer wrong.
const OWN_HEADERS: [HeaderName; 4] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Request {
    /// Makes a request without a body. `headers` replace `host`, `user-agent`
    /// and `accept`, and may repeat.
    ///
    /// # Errors
    /// When a header or the method would change how the connection works.
    pub(crate) fn new(
        method: &Method,
        uri: &Uri,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Self, RequestError> {
        Self::with_body(method, uri, headers, Arc::new([]))
    }

    /// The same with a body.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn with_body(
        method: &Method,
        uri: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        body: Arc<[u8]>,
    ) -> Result<Self, RequestError> {
        if method == Method::CONNECT {
            return Err(RequestError::Connect);
        }
        if let Some((name, _)) = headers.iter().find(|(name, _)| OWN_HEADERS.contains(name)) {
            return Err(RequestError::OwnHeader(name.clone()));
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        let mut put = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        let defaults = [
            (header::HOST, host),
            (
                header::USER_AGENT,
                concat!("bench/", env!("CARGO_PKG_VERSION")),
            ),
            (header::ACCEPT, "*/*"),
        ];
        for (name, value) in &defaults {
            if !headers.iter().any(|(given, _)| given == name) {
                put(name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in headers {
            put(name.as_str(), value.as_bytes());
        }
        // Methods that usually carry a body say that there is none (RFC 9110, section 8.6).
        if !body.is_empty() || [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            put("content-length", body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        Ok(Self {
            bytes: bytes.into_boxed_slice(),
            body,
            is_head: method == Method::HEAD,
        })
    }

    /// What is sent after that.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// What is sent first: all but the body.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the answer has no body in spite of its headers (RFC 9112, section 6.3).
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }
}

/// Requests that are sent in turn by all connections together. Clones go on where the others are.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    prepared: Arc<[Request]>,
    sent: Arc<AtomicUsize>,
}

impl Requests {
    /// The same request every time.
    pub(crate) fn one(request: Request) -> Self {
        Self {
            prepared: Arc::new([request]),
            sent: Arc::default(),
        }
    }

    /// Each of `requests` once, then from the first one again; `None` if there is none.
    pub(crate) fn in_turn(requests: Vec<Request>) -> Option<Self> {
        (!requests.is_empty()).then(|| Self {
            prepared: requests.into(),
            sent: Arc::default(),
        })
    }

    /// The one to send now.
    pub(crate) fn next(&self) -> &Request {
        match &*self.prepared {
            // Threads of a load test share no counter.
            [request] => request,
            requests => &requests[self.sent.fetch_add(1, Ordering::Relaxed) % requests.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(
        method: &Method,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<String, RequestError> {
        let uri = Uri::from_static("http://localhost:8080/users?limit=2");
        Request::new(method, &uri, headers)
            .map(|request| String::from_utf8(request.bytes.into_vec()).unwrap())
    }

    #[test]
    fn given_headers_replace_defaults() {
        let host = (header::HOST, HeaderValue::from_static("api.example"));
        let text = made(&Method::GET, &[host]).unwrap();
        assert!(text.starts_with("GET /users?limit=2 HTTP/1.1\r\n"));
        assert_eq!(text.matches("host: ").count(), 1);
        assert!(text.contains("host: api.example\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
        assert!(!text.contains("content-length"));
    }

    #[test]
    fn post_says_that_it_has_no_body() {
        assert!(
            made(&Method::POST, &[])
                .unwrap()
                .contains("content-length: 0\r\n")
        );
    }

    #[test]
    fn clones_send_each_request_once_before_any_comes_again() {
        let request = |path: &str| {
            let uri: Uri = format!("http://a/{path}").parse().unwrap();
            Request::new(&Method::GET, &uri, &[]).unwrap()
        };
        let requests = Requests::in_turn(["0", "1", "2"].map(request).into()).unwrap();
        let other = requests.clone();
        let sent: String = [&requests, &other, &other, &requests, &other]
            .map(|requests| char::from(requests.next().as_bytes()["GET /".len()]))
            .iter()
            .collect();
        assert_eq!(sent, "01201");
        assert!(Requests::in_turn(Vec::new()).is_none());
    }

    #[test]
    fn what_would_break_the_connection_is_refused() {
        let length = (header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(matches!(
            made(&Method::GET, &[length]),
            Err(RequestError::OwnHeader(_))
        ));
        assert!(matches!(
            made(&Method::CONNECT, &[]),
            Err(RequestError::Connect)
        ));
    }
}
