//! How a client is to be spoken to.

use http::header::EXPECT;
use http::request::Parts;
use http::{Method, Version};

use crate::io::ConnectionOptions;

/// What a client says of its connection and of the answer that it can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// Whether it may send another request (RFC 9112 section 9.3).
    pub(super) keeps_connection: bool,
    /// Whether it waits with its body until it is told to go on (RFC 9110 section 10.1.1).
    pub(super) expects_continue: bool,
}

impl Manner {
    /// Of a request that could not be read.
    pub(super) const REFUSED: Self = Self {
        version: Version::HTTP_11,
        is_head: false,
        keeps_connection: false,
        expects_continue: false,
    };

    /// Whether it knows no more than HTTP/1.0.
    pub(super) fn is_http_10(self) -> bool {
        self.version == Version::HTTP_10
    }

    pub(super) fn of(parts: &Parts) -> Self {
        let is_http_10 = parts.version == Version::HTTP_10;
        let options = ConnectionOptions::of(&parts.headers);
        Self {
            version: parts.version,
            is_head: parts.method == Method::HEAD,
            keeps_connection: options.keep_connection(is_http_10),
            expects_continue: !is_http_10 && parts.headers.contains_key(EXPECT),
        }
    }
}
