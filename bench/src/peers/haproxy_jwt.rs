//! `HAProxy` that verifies an RS256 token on every request.

use super::{Peer, Proxy, haproxy};

pub(super) const PEER: Peer = Peer {
    name: "haproxy-jwt",
    about: "RS256 token verified, access log",
    proxy: Some(Proxy {
        checks_token: true,
        ..haproxy::proxy(
            "haproxy-jwt.cfg",
            include_str!("../../peers/haproxy-jwt.cfg"),
        )
    }),
};
