//! Pingap, a finished proxy on pingora-proxy.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "pingap",
    about: "plain proxy on pingora-proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(Proxy {
        program: Program::FromCargo {
            name: "pingap",
            // The newest that Rust 1.95 builds; it wants protoc and cmake beside a C compiler.
            install: "apt-get install protobuf-compiler cmake && \
                      cargo install pingap@0.13.1 --locked --root .venv/bench",
        },
        arguments: &["--conf", "@CONFIG@"],
        config_file: "pingap.toml",
        template: include_str!("../../peers/pingap.toml"),
        more_files: &[],
        version_arguments: &["--version"],
        ready: Ready::Answers,
        checks_token: false,
    }),
};
