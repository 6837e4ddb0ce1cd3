//! Traefik as a plain reverse proxy.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "traefik",
    about: "plain proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(Proxy {
        program: Program::FromWheel {
            file: "bin/traefik",
        },
        arguments: &["--configFile=@CONFIG@"],
        config_file: "traefik.yaml",
        template: include_str!("../../peers/traefik.yaml"),
        more_files: &[(
            "traefik-routes.yaml",
            include_str!("../../peers/traefik-routes.yaml"),
        )],
        version_arguments: &["version"],
        ready: Ready::Answers,
        checks_token: false,
    }),
};
