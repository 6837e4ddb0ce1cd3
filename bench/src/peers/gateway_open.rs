//! Our gateway on an open route: the difference is what the token costs.

use super::identity::Algorithm;
use super::{Peer, Scale, Tokens, gateway};

pub(super) const PEER: Peer = Peer {
    name: "gateway-open",
    about: "no token asked, else as gateway",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: Some(gateway::proxy(
        "gateway-open.yaml",
        include_str!("../../peers/gateway-open.yaml"),
    )),
};
