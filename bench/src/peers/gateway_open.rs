//! Our gateway on an open route: the difference is what the token costs.

use super::{Peer, gateway};

pub(super) const PEER: Peer = Peer {
    name: "gateway-open",
    about: "no token asked, else as gateway",
    proxy: Some(gateway::proxy(
        "gateway-open.yaml",
        include_str!("../../peers/gateway-open.yaml"),
    )),
};
