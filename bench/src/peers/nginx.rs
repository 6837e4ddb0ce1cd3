//! nginx as a plain reverse proxy.

use super::{Peer, Program, Proxy, Ready};

pub(super) const PEER: Peer = Peer {
    name: "nginx",
    about: "plain proxy, access log",
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
