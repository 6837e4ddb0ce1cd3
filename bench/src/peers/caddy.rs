//! Caddy as a plain reverse proxy.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "caddy",
    about: "plain proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(Proxy {
        program: Program::FromWheel { file: "bin/caddy" },
        arguments: &["run", "--adapter", "caddyfile", "--config", "@CONFIG@"],
        config_file: "Caddyfile",
        template: include_str!("../../peers/Caddyfile"),
        more_files: &[],
        version_arguments: &["version"],
        ready: Ready::Answers,
        checks_token: false,
    }),
};
