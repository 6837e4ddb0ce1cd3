//! No proxy: what client and upstream can do on their core alone. With large
//! bodies a proxy can be faster, since it writes them on a core of its own.

use super::identity::Algorithm;
use super::{Peer, Scale, Tokens};

pub(super) const PEER: Peer = Peer {
    name: "direct",
    about: "no proxy, for scale",
    tokens: Tokens::Same(Algorithm::Rs256),
    scale: Scale::SMALL,
    proxy: None,
};
