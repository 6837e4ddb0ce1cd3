//! Our gateway with everything on that a user would run, and the prices of its tokens.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "gateway",
    about: "RS256 token, routing, balancing, metrics, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    proxy: Some(WITH_TOKEN),
};

/// The same with tokens of the other algorithm.
pub(super) const ES256: Peer = Peer {
    name: "gateway-es256",
    about: "ES256 token, else as gateway",
    tokens: Tokens::Same(Algorithm::Es256),
    proxy: Some(WITH_TOKEN),
};

/// What a request costs whose token the cache does not hold.
pub(super) const RS256_UNCACHED: Peer = Peer {
    name: "gateway-rs256-uncached",
    about: "another RS256 token in each request, else as gateway",
    tokens: Tokens::Unseen(Algorithm::Rs256),
    proxy: Some(WITH_TOKEN),
};

/// The same with tokens of the other algorithm.
pub(super) const ES256_UNCACHED: Peer = Peer {
    name: "gateway-es256-uncached",
    about: "another ES256 token in each request, else as gateway",
    tokens: Tokens::Unseen(Algorithm::Es256),
    proxy: Some(WITH_TOKEN),
};

const WITH_TOKEN: Proxy = Proxy {
    checks_token: true,
    ..proxy("gateway.yaml", include_str!("../../peers/gateway.yaml"))
};

/// The gateway with one of our configurations.
pub(super) const fn proxy(config_file: &'static str, template: &'static str) -> Proxy {
    Proxy {
        program: Program::Gateway,
        arguments: &["run", "--config", "@CONFIG@"],
        config_file,
        template,
        version_arguments: &["--version"],
        ready: Ready::ReadyEndpoint,
        checks_token: false,
    }
}
