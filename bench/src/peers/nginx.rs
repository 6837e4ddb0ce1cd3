//! nginx as a plain reverse proxy.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "nginx",
    about: "plain proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(Proxy {
        program: Program::Installed {
            name: "nginx",
            install: "apt-get install nginx",
        },
        // Without -e it opens the system's error log before it reads any file.
        arguments: &["-e", "@DIR@/error.log", "-p", "@DIR@", "-c", "@CONFIG@"],
        config_file: "nginx.conf",
        template: include_str!("../../peers/nginx.conf"),
        more_files: &[],
        version_arguments: &["-v"],
        ready: Ready::Connects,
        checks_token: false,
    }),
};

/// What the same costs beside many servers.
pub(super) const ENDPOINTS_1000: Peer = Peer {
    name: "nginx-1000-endpoints",
    about: "as nginx, with 1,000 servers",
    scale: Scale {
        endpoints: 1_000,
        ..Scale::SMALL
    },
    ..PEER
};
