//! `HAProxy` that verifies a token on every request: it has no cache of verified tokens.

use super::identity::Algorithm;
use super::{Peer, Proxy, Scale, Tokens, haproxy};

pub(super) const PEER: Peer = Peer {
    name: "haproxy-jwt",
    about: "RS256 token verified, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(WITH_TOKEN),
};

/// The same with tokens of the other algorithm.
pub(super) const ES256: Peer = Peer {
    name: "haproxy-jwt-es256",
    about: "ES256 token verified, access log",
    tokens: Tokens::Same(Algorithm::Es256),
    scale: Scale::SMALL,
    proxy: Some(WITH_TOKEN),
};

const WITH_TOKEN: Proxy = Proxy {
    checks_token: true,
    ..haproxy::proxy(
        "haproxy-jwt.cfg",
        include_str!("../../peers/haproxy-jwt.cfg"),
    )
};
