//! No proxy: what client and upstream alone can do, the ceiling of throughput.

use super::Peer;

pub(super) const PEER: Peer = Peer {
    name: "direct",
    about: "no proxy, for scale",
    proxy: None,
};
