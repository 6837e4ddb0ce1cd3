//! One keep-alive connection and the reading of answers.
//!
//! Leaner than hyper on purpose: client and upstream share a core on small
//! machines, and what they cost is what the proxy cannot be given. Bodies are
//! counted and thrown away, so nothing is allocated for an answer.

use std::io;
use std::net::SocketAddr;

use httparse::Status;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Expected;
use super::request::Request;

/// Bytes read at once, and the longest answer head taken.
const BUFFER_BYTES: usize = 32 << 10;

/// Header fields taken in one answer, trailers apart.
const MAX_HEADERS: usize = 128;

/// Interim answers (1xx) taken before the final one.
const MAX_INTERIM_ANSWERS: usize = 8;

/// Why there was no answer, or not one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    /// Nobody listens at the address.
    ConnectRefused,
    /// No connection within the time allowed.
    ConnectTimeout,
    /// No connection for another reason, such as too many open files.
    Connect,
    /// No complete answer within the time allowed.
    Timeout,
    /// The other side reset the connection.
    Reset,
    /// The other side closed the connection before its answer was complete.
    Closed,
    /// The answer was not HTTP/1.1, or its head was above the bound.
    BadResponse,
    /// A status or a body length other than the one that must come.
    UnexpectedAnswer,
    /// Reading or writing failed for another reason.
    Io,
}

impl Failure {
    /// What a report calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connection refused",
            Self::ConnectTimeout => "connect timeout",
            Self::Connect => "connect failed",
            Self::Timeout => "timeout",
            Self::Reset => "connection reset",
            Self::Closed => "closed before the answer was complete",
            Self::BadResponse => "bad response",
            Self::UnexpectedAnswer => "unexpected status or body length",
            Self::Io => "read or write failed",
        }
    }

    fn connecting(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            _ => Self::Connect,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            _ => Self::Io,
        }
    }
}

impl From<httparse::Error> for Failure {
    fn from(_: httparse::Error) -> Self {
        Self::BadResponse
    }
}

/// A complete answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body's length in bytes, without its transfer coding.
    pub(crate) body_bytes: u64,
    /// Everything received for it, head and transfer coding included.
    pub(crate) received_bytes: u64,
    /// Whether the connection takes another request.
    pub(crate) keep_alive: bool,
}

impl Answer {
    /// Whether it is what must come; without an expectation everything is.
    pub(crate) fn is_expected(&self, expected: Option<Expected>) -> bool {
        expected.is_none_or(|expected| {
            self.status == expected.status && self.body_bytes == expected.body_bytes
        })
    }
}

/// An open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// Received and not yet used: `buffer[start..end]`.
    start: usize,
    end: usize,
    received_bytes: u64,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Failure::ConnectRefused`], [`Failure::ConnectTimeout`] or [`Failure::Connect`].
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let connecting = |error| Failure::connecting(&error);
        let stream = TcpStream::connect(address).await.map_err(connecting)?;
        stream.set_nodelay(true).map_err(connecting)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            received_bytes: 0,
        })
    }

    /// Sends a request and reads its answer to the last byte.
    ///
    /// # Errors
    /// Any [`Failure`] but the connecting ones; the connection is then spent.
    pub(crate) async fn exchange(&mut self, request: &Request) -> Result<Answer, Failure> {
        self.received_bytes = 0;
        self.stream.write_all(request.as_bytes()).await?;
        if !request.body().is_empty() {
            self.stream.write_all(request.body()).await?;
        }
        let head = self.read_final_head(request.is_head()).await?;
        let body_bytes = match head.framing {
            Framing::Length(length) => {
                self.skip(length).await?;
                length
            }
            Framing::Chunked => self.skip_chunks().await?,
            Framing::UntilClose => self.skip_until_close().await?,
        };
        // Bytes that nobody asked for: the next answer would be read wrong.
        if self.start != self.end {
            return Err(Failure::BadResponse);
        }
        Ok(Answer {
            status: head.status,
            body_bytes,
            received_bytes: self.received_bytes,
            keep_alive: head.keep_alive,
        })
    }

    async fn read_final_head(&mut self, is_head: bool) -> Result<Head, Failure> {
        for _ in 0..=MAX_INTERIM_ANSWERS {
            let head = self.read_head(is_head).await?;
            if head.status >= 200 {
                return Ok(head);
            }
        }
        Err(Failure::BadResponse)
    }

    async fn read_head(&mut self, is_head: bool) -> Result<Head, Failure> {
        loop {
            if let Some((head_bytes, head)) =
                Head::parse(&self.buffer[self.start..self.end], is_head)?
            {
                self.start += head_bytes;
                return Ok(head);
            }
            self.receive().await?;
        }
    }

    /// Skips a chunked body (RFC 9112, section 7.1) and gives its length.
    async fn skip_chunks(&mut self) -> Result<u64, Failure> {
        let mut body_bytes: u64 = 0;
        loop {
            let length = self.read_chunk_head().await?;
            if length == 0 {
                self.skip_trailers().await?;
                return Ok(body_bytes);
            }
            body_bytes = body_bytes.checked_add(length).ok_or(Failure::BadResponse)?;
            self.skip(length).await?;
            while self.end - self.start < 2 {
                self.receive().await?;
            }
            if &self.buffer[self.start..self.start + 2] != b"\r\n" {
                return Err(Failure::BadResponse);
            }
            self.start += 2;
        }
    }

    async fn read_chunk_head(&mut self) -> Result<u64, Failure> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.buffer[self.start..self.end])
                .map_err(|_| Failure::BadResponse)?;
            if let Status::Complete((head_bytes, length)) = parsed {
                self.start += head_bytes;
                return Ok(length);
            }
            self.receive().await?;
        }
    }

    async fn skip_trailers(&mut self) -> Result<(), Failure> {
        loop {
            let mut trailers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let received = &self.buffer[self.start..self.end];
            if let Status::Complete((bytes, _)) = httparse::parse_headers(received, &mut trailers)?
            {
                self.start += bytes;
                return Ok(());
            }
            self.receive().await?;
        }
    }

    async fn skip_until_close(&mut self) -> Result<u64, Failure> {
        let mut body_bytes = 0;
        loop {
            body_bytes += (self.end - self.start) as u64;
            self.start = self.end;
            match self.receive().await {
                Ok(()) => {}
                Err(Failure::Closed) => return Ok(body_bytes),
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn skip(&mut self, length: u64) -> Result<(), Failure> {
        let mut left = length;
        loop {
            let held = self.end - self.start;
            let used = usize::try_from(left).map_or(held, |left| left.min(held));
            self.start += used;
            left -= used as u64;
            if left == 0 {
                return Ok(());
            }
            self.receive().await?;
        }
    }

    /// Reads once, after whatever is still unused.
    async fn receive(&mut self) -> Result<(), Failure> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            return Err(Failure::BadResponse);
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(Failure::Closed),
            read => {
                self.end += read;
                self.received_bytes += read as u64;
                Ok(())
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    keep_alive: bool,
}

impl Head {
    /// The first head in `bytes` with its length, once it is complete.
    fn parse(bytes: &[u8], is_head: bool) -> Result<Option<(usize, Self)>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let Status::Complete(head_bytes) = response.parse(bytes)? else {
            return Ok(None);
        };
        let status = response.code.ok_or(Failure::BadResponse)?;
        let mut keep_alive = response.version == Some(1);
        let mut length = None;
        let mut chunked = false;
        for header in response.headers.iter() {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let parsed = parse_length(value).ok_or(Failure::BadResponse)?;
                if length.replace(parsed).is_some_and(|other| other != parsed) {
                    return Err(Failure::BadResponse);
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Failure::BadResponse);
                }
                chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                let has = |option: &[u8]| {
                    value
                        .split(|&byte| byte == b',')
                        .any(|part| part.trim_ascii().eq_ignore_ascii_case(option))
                };
                keep_alive = (keep_alive || has(b"keep-alive")) && !has(b"close");
            }
        }
        let framing = match (length, chunked) {
            // RFC 9112, section 6.3: these never have a body.
            _ if is_head || status < 200 || status == 204 || status == 304 => Framing::Length(0),
            // Both at once is an attempt at smuggling (RFC 9112, section 6.1).
            (Some(_), true) => return Err(Failure::BadResponse),
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::UntilClose,
        };
        let keep_alive = keep_alive && framing != Framing::UntilClose;
        Ok(Some((
            head_bytes,
            Self {
                status,
                framing,
                keep_alive,
            },
        )))
    }
}

/// Digits only: `u64::from_str` would take a sign too.
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};
    use tokio::net::TcpListener;

    use super::*;

    /// What a client makes of an answer that is exactly these bytes and then the end.
    async fn exchange(method: Method, answer: &'static [u8]) -> Result<Answer, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1_024];
            let mut read = 0;
            while !request[..read].ends_with(b"\r\n\r\n") {
                read += stream.read(&mut request[read..]).await.unwrap();
            }
            // Two pieces, so that no parser may count on one read.
            let (first, second) = answer.split_at(answer.len() / 2);
            stream.write_all(first).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(second).await.unwrap();
        });
        let request = Request::new(&method, &Uri::from_static("http://a/"), &[]).unwrap();
        let mut connection = Connection::open(address).await.unwrap();
        let result = connection.exchange(&request).await;
        serving.await.unwrap();
        result
    }

    #[tokio::test]
    async fn every_framing_is_read_to_its_end() {
        let cases: [(&[u8], u64, bool); 7] = [
            (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 5, true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 0, false),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\n", 5, true),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n", 0, true),
            (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 13, false),
            (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 2, false),
            (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 0, true),
        ];
        for (bytes, body_bytes, keep_alive) in cases {
            let text = String::from_utf8_lossy(bytes);
            let answer = exchange(Method::GET, bytes).await.unwrap();
            assert_eq!(
                (answer.body_bytes, answer.keep_alive),
                (body_bytes, keep_alive),
                "{text}"
            );
            assert_eq!(answer.received_bytes, bytes.len() as u64, "{text}");
        }
    }

    #[tokio::test]
    async fn answer_to_head_has_no_body() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(exchange(Method::HEAD, bytes).await.unwrap().body_bytes, 0);
    }

    #[tokio::test]
    async fn broken_answers_are_failures_of_their_kind() {
        let cases: [(&[u8], Failure); 8] = [
            (b"", Failure::Closed),
            (b"HTTP/1.1 200 OK\r\ncontent-le", Failure::Closed),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
                Failure::Closed,
            ),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Failure::BadResponse),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
                Failure::BadResponse,
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhello",
                Failure::BadResponse,
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
                Failure::BadResponse,
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
                Failure::BadResponse,
            ),
        ];
        for (bytes, expected) in cases {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(
                exchange(Method::GET, bytes).await.unwrap_err(),
                expected,
                "{text}"
            );
        }
    }
}
