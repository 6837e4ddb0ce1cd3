//! What a message says of the connection that it comes on.

use http::HeaderMap;
use http::header::CONNECTION;

/// The options of `Connection` that concern its end (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    pub(crate) closes: bool,
    pub(crate) keeps_alive: bool,
}

impl ConnectionOptions {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut options = Self::default();
        for value in headers.get_all(CONNECTION) {
            for option in value.as_bytes().split(|&byte| byte == b',') {
                let option = option.trim_ascii();
                options.closes |= option.eq_ignore_ascii_case(b"close");
                options.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        options
    }

    /// Whether another message may follow on this connection.
    pub(crate) fn keep_connection(self, is_http_10: bool) -> bool {
        !self.closes && (!is_http_10 || self.keeps_alive)
    }
}
