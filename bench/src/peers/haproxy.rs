//! `HAProxy` as a plain reverse proxy: the baseline of every ratio.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "haproxy",
    about: "plain proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(proxy(
        "haproxy.cfg",
        include_str!("../../peers/haproxy.cfg"),
    )),
};

/// What the same costs beside many servers.
pub(super) const ENDPOINTS_1000: Peer = Peer {
    name: "haproxy-1000-endpoints",
    about: "as haproxy, with 1,000 servers",
    scale: Scale {
        endpoints: 1_000,
        ..Scale::SMALL
    },
    ..PEER
};

/// `HAProxy` with one of our configurations.
pub(super) const fn proxy(config_file: &'static str, template: &'static str) -> Proxy {
    Proxy {
        program: Program::Installed {
            name: "haproxy",
            install: "apt-get install haproxy",
        },
        // -db stays in the foreground, in one process.
        arguments: &["-db", "-f", "@CONFIG@"],
        config_file,
        template,
        more_files: &[],
        version_arguments: &["-v"],
        ready: Ready::Connects,
        checks_token: false,
    }
}
