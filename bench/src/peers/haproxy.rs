//! `HAProxy` as a plain reverse proxy: the baseline of every ratio.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "haproxy",
    about: "plain proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    proxy: Some(proxy(
        "haproxy.cfg",
        include_str!("../../peers/haproxy.cfg"),
    )),
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
        version_arguments: &["-v"],
        ready: Ready::Connects,
        checks_token: false,
    }
}
