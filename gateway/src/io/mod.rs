//! Sockets whose bytes are checked before any parser sees them.

mod framed;

pub(crate) use framed::{
    ConnectionState, Downstream, NEVER, Phase, Upstream, UpstreamState, Violation,
};
