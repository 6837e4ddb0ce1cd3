//! The least that pingora-proxy takes to relay, so that the choice of engine stays checkable.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "pingora-minimal",
    about: "plain proxy on pingora-proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(Proxy {
        program: Program::BesideUs {
            name: "pingora-minimal",
            build: "cargo build --release --manifest-path bench/pingora-minimal/Cargo.toml \
                    --target-dir target",
        },
        arguments: &["@CONFIG@"],
        config_file: "pingora-minimal.conf",
        template: include_str!("../../peers/pingora-minimal.conf"),
        more_files: &[],
        version_arguments: &["--version"],
        ready: Ready::Answers,
        checks_token: false,
    }),
};
