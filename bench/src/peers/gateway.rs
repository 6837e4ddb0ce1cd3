//! Our gateway with everything on that a user would run, the prices of its tokens, and of its size.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "gateway",
    about: "RS256 token, routing, balancing, metrics, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(WITH_TOKEN),
};

/// The same with tokens of the other algorithm.
pub(super) const ES256: Peer = Peer {
    name: "gateway-es256",
    about: "ES256 token, else as gateway",
    tokens: Tokens::Same(Algorithm::Es256),
    scale: Scale::SMALL,
    proxy: Some(WITH_TOKEN),
};

/// What a request costs whose token the cache does not hold.
pub(super) const RS256_UNCACHED: Peer = Peer {
    name: "gateway-rs256-uncached",
    about: "another RS256 token in each request, else as gateway",
    tokens: Tokens::Unseen(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(WITH_TOKEN),
};

/// The same with tokens of the other algorithm.
pub(super) const ES256_UNCACHED: Peer = Peer {
    name: "gateway-es256-uncached",
    about: "another ES256 token in each request, else as gateway",
    tokens: Tokens::Unseen(Algorithm::Es256),
    scale: Scale::SMALL,
    proxy: Some(WITH_TOKEN),
};

/// What the cache of verified tokens holds when more come than it may, and what the others cost.
pub(super) const MANY_TOKENS: Peer = Peer {
    name: "gateway-many-tokens",
    about: "another of --tokens HS256 tokens in each request, else as gateway",
    tokens: Tokens::Many(Algorithm::Hs256),
    scale: Scale::SMALL,
    proxy: Some(Proxy {
        checks_token: true,
        ..proxy(
            "gateway-hs256.yaml",
            include_str!("../../peers/gateway-hs256.yaml"),
        )
    }),
};

pub(super) const ENDPOINTS_100: Peer = of_scale("gateway-100-endpoints", 100, 1);
pub(super) const ENDPOINTS_1000: Peer = of_scale("gateway-1000-endpoints", 1_000, 1);
pub(super) const ROUTES_10: Peer = of_scale("gateway-10-routes", 2, 10);
pub(super) const ROUTES_1000: Peer = of_scale("gateway-1000-routes", 2, 1_000);
pub(super) const ROUTES_10000: Peer = of_scale("gateway-10000-routes", 2, 10_000);

const fn of_scale(name: &'static str, endpoints: u16, routes: u16) -> Peer {
    Peer {
        name,
        about: "as gateway, but for the size that its name says",
        tokens: Tokens::Same(Algorithm::Rs256),
        scale: Scale { endpoints, routes },
        proxy: Some(WITH_TOKEN),
    }
}

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
        more_files: &[],
        version_arguments: &["--version"],
        ready: Ready::Admin,
        checks_token: false,
    }
}
