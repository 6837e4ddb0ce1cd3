//! nginx as a plain reverse proxy.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "nginx",
    about: "plain proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    proxy: Some(Proxy {
        program: Program::Installed {
            name: "nginx",
            install: "apt-get install nginx",
        },
        // Without -e it opens the system's error log before it reads any file.
        arguments: &["-e", "@DIR@/error.log", "-p", "@DIR@", "-c", "@CONFIG@"],
        config_file: "nginx.conf",
        template: include_str!("../../peers/nginx.conf"),
        version_arguments: &["-v"],
        ready: Ready::Connects,
        checks_token: false,
    }),
};
