//! Envoy, plain and with a token that it verifies once and then finds in its cache.

use super::identity::Algorithm;
use super::{Peer, Program, Proxy, Ready, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "envoy",
    about: "plain proxy, access log",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(proxy("envoy.yaml", include_str!("../../peers/envoy.yaml"))),
};

/// With `jwt_authn`, its cache of tokens, and `rbac` for the scope.
pub(super) const JWT: Peer = Peer {
    name: "envoy-jwt",
    about: "RS256 token from its cache, scope, access log",
    proxy: Some(Proxy {
        checks_token: true,
        ..proxy("envoy-jwt.yaml", include_str!("../../peers/envoy-jwt.yaml"))
    }),
    ..PEER
};

const fn proxy(config_file: &'static str, template: &'static str) -> Proxy {
    Proxy {
        // The `envoy` beside pip is a Python program that becomes this one.
        program: Program::FromWheel {
            file: "lib/python3*/site-packages/envoy/_bin/envoy",
        },
        arguments: &[
            "--config-path",
            "@CONFIG@",
            "--concurrency",
            "@WORKERS@",
            // Its shared memory has a fixed name, which two runs would fight for.
            "--disable-hot-restart",
            "--log-level",
            "warn",
        ],
        config_file,
        template,
        more_files: &[],
        version_arguments: &["--version"],
        ready: Ready::Answers,
        checks_token: false,
    }
}
