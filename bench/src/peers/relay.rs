//! The floor: the relay of this program, which looks at nothing that it carries.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "relay",
    about: "the floor: bytes from socket to socket on epoll, no HTTP, no log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(Proxy {
        program: Program::Ourselves,
        arguments: &["relay", "@CONFIG@"],
        config_file: "relay.conf",
        template: include_str!("../../peers/relay.conf"),
        more_files: &[],
        version_arguments: &["--version"],
        ready: Ready::Connects,
        checks_token: false,
    }),
};
