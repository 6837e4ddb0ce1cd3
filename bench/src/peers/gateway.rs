//! Our gateway with everything on that a user would run.

use super::{Peer, Program, Proxy, Ready};

pub(super) const PEER: Peer = Peer {
    name: "gateway",
    about: "RS256 token, routing, balancing, metrics, access log",
    proxy: Some(Proxy {
        checks_token: true,
        ..proxy("gateway.yaml", include_str!("../../peers/gateway.yaml"))
    }),
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
