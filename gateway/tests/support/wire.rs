//! A client that writes bytes and reads bytes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{PATIENCE, http_client};

/// Headers of an answer that this client takes.
const HEADERS_MAX: usize = 64;

/// A connection.
pub(crate) struct Wire {
    stream: TcpStream,
    /// Read, and not yet taken.
    buffer: Vec<u8>,
}

/// One answer whose length is known from its head.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("it listens")
    }

    /// Connects, or says why that is not possible.
    pub(crate) fn try_connect(address: SocketAddr) -> Result<Self, String> {
        let stream =
            TcpStream::connect(address).map_err(|error| format!("no connection: {error}"))?;
        stream.set_nodelay(true).expect("a socket option");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket option");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a socket option");
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the gateway reads");
    }

    /// Writes until all is written or the other side reads no more; whether all was written.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    pub(crate) fn shut_down_writing(&self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }

    /// A second handle, for writing while another thread reads.
    pub(crate) fn twin(&self) -> Self {
        Self {
            stream: self.stream.try_clone().expect("a descriptor is free"),
            buffer: Vec::new(),
        }
    }

    /// Reads one answer.
    pub(crate) fn receive(&mut self) -> Answer {
        self.try_receive().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads one answer, or says why there is none.
    pub(crate) fn try_receive(&mut self) -> Result<Answer, String> {
        self.receive_answer(true)
    }

    /// Reads one answer to `HEAD`.
    pub(crate) fn receive_head(&mut self) -> Answer {
        self.receive_answer(false)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn receive_answer(&mut self, may_have_body: bool) -> Result<Answer, String> {
        let (mut answer, length) = loop {
            if let Some(parsed) = parse_head(&self.buffer) {
                break parsed;
            }
            self.try_read_more()?;
        };
        self.buffer.drain(..length);
        if !may_have_body || answer.status < 200 || matches!(answer.status, 204 | 304) {
            return Ok(answer);
        }
        let length = answer
            .header("content-length")
            .unwrap_or_else(|| panic!("{answer:?}"));
        let length: usize = length.parse().expect("a number");
        while self.buffer.len() < length {
            self.try_read_more()?;
        }
        answer.body = self.buffer.drain(..length).collect();
        Ok(answer)
    }

    fn read_more(&mut self) {
        self.try_read_more()
            .unwrap_or_else(|error| panic!("{error}"));
    }

    fn try_read_more(&mut self) -> Result<(), String> {
        let mut chunk = [0; 16 * 1024];
        let so_far = || String::from_utf8_lossy(&self.buffer);
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(format!("closed; so far {:?}", so_far())),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) => Err(format!("no answer: {error}; so far {:?}", so_far())),
        }
    }

    /// Reads until this text has come; it stays to be taken.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.buffer).contains(text) {
            self.read_more();
        }
    }

    /// Reads to the end, which must be an orderly one: after a reset a client may lose an answer
    /// that it has not read yet.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        match self.try_rest() {
            Ok(rest) => rest,
            Err(kind) => panic!("the connection did not end in order: {kind}"),
        }
    }

    /// Reads to the end, or to the reset that came instead.
    pub(crate) fn try_rest(&mut self) -> Result<Vec<u8>, ErrorKind> {
        let mut rest = std::mem::take(&mut self.buffer);
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => Ok(rest),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("no end; so far {:?}", String::from_utf8_lossy(&rest))
            }
            Err(error) => Err(error.kind()),
        }
    }

    /// Reads the answers that come before the connection ends; nothing may be left over.
    pub(crate) fn all_answers(&mut self) -> Vec<Answer> {
        let rest = self.rest();
        self.buffer = rest;
        let mut answers = Vec::new();
        while !self.buffer.is_empty() {
            answers.push(self.receive());
        }
        answers
    }

    /// Reads one answer, after which the connection must end.
    pub(crate) fn last_answer(&mut self) -> Answer {
        let mut answers = self.all_answers();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }
}

/// A head and its length, once it is complete.
fn parse_head(bytes: &[u8]) -> Option<(Answer, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return None,
        Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(bytes)),
    };
    let mut map = HeaderMap::new();
    for header in &*response.headers {
        let name: HeaderName = header.name.parse().expect("a header name");
        map.append(
            name,
            HeaderValue::from_bytes(header.value).expect("a header value"),
        );
    }
    let answer = Answer {
        status: response.code.expect("complete"),
        headers: map,
        body: Vec::new(),
    };
    Some((answer, length))
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        http_client::header(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The reason code of a refusal that is well-formed in every way.
    pub(crate) fn reason(&self) -> String {
        http_client::reason(self.status, &self.headers, &self.body)
    }

    /// Whether it says that the connection ends with it.
    pub(crate) fn says_close(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}
