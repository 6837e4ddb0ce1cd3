//! What a message says of the connection that it comes on.

use http::HeaderMap;
use http::header::CONNECTION;

/// The options of `Connection` (RFC 9110 section 7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    closes: bool,
    keeps_alive: bool,
    /// Whether there are others: headers that concern this connection alone.
    pub(crate) names_more: bool,
}

impl ConnectionOptions {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut options = Self::default();
        for value in headers.get_all(CONNECTION) {
            options.add(value.as_bytes());
        }
        options
    }

    /// Adds what one header line says.
    pub(crate) fn add(&mut self, value: &[u8]) {
        for option in Self::list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keeps_alive = true;
            } else {
                self.names_more = true;
            }
        }
    }

    /// The options in one header line.
    pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
        value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
    }

    /// Whether another message may follow on this connection (RFC 9112 section 9.3).
    pub(crate) fn keep_connection(self, is_http_10: bool) -> bool {
        !self.closes && (!is_http_10 || self.keeps_alive)
    }
}
