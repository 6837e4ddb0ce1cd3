//! A new process takes over the listening sockets of a running one.
//!
//! The two talk over a unix socket, one message a packet:
//!
//! ```text
//! new                         old
//!  │── take_over ────────────▶│
//!  │◀──────────── socket (fd) │  once for each listening socket
//!  │◀────────── no_more_sockets
//!  │   reads keys, finds endpoints; the old one serves
//!  │── ready ────────────────▶│
//!  │◀───────────────────── go │
//!  │   accepts                │  accepts
//!  │── serving ──────────────▶│
//!  │◀──────────────── leaving │  accepts no more, drains, ends
//! ```
//!
//! A socket's queue belongs to the socket, not to a process: what waits in it is accepted by
//! whoever accepts. So there is no moment at which a connection is refused, and none at which
//! one is lost. Until `serving` the old process has changed nothing: if the new one ends, goes
//! silent or says nonsense, the old one goes on.

mod channel;
mod new;
mod old;
mod place;
mod service_manager;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use new::{Inherited, TakeOver, TakeOverError, ask_to_upgrade};
pub(crate) use old::{Host, Launch, Listening};
pub(crate) use place::{Place, PlaceError};
pub(crate) use service_manager::tell_ready;

/// The version of the messages; another one is refused.
const PROTOCOL: u32 = 1;
/// Time for an answer that needs no work. Longer than any pause of a process that lives.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a listening socket is for, and the address that the routes file gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Clients connect there.
    Proxy(SocketAddr),
    /// Health, readiness and metrics.
    Admin(SocketAddr),
    /// The next upgrade.
    Upgrade,
}

/// A listening socket that can be handed over.
pub(crate) struct Offered {
    role: Role,
    socket: OwnedFd,
}

impl Offered {
    /// A second handle of a socket that this process listens on.
    pub(crate) fn new(role: Role, listener: &TcpListener) -> std::io::Result<Self> {
        let socket = listener.try_clone()?.into();
        Ok(Self { role, socket })
    }
}

/// What the processes say to each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// New: hand over to me.
    TakeOver { protocol: u32, pid: u32 },
    /// Old: a listening socket, whose descriptor comes with it.
    Socket(Role),
    /// Old: that was all; so many processes have served them before.
    NoMoreSockets { generation: u64 },
    /// New: nothing is waited for any more.
    Ready,
    /// Old: accept.
    Go,
    /// New: I accept.
    Serving,
    /// Old: I accept no more.
    Leaving,
    /// Old: no, and why.
    Refused { why: String },
    /// Command line: start a new process of yours.
    Upgrade { protocol: u32 },
    /// Old: it has this id.
    Started { pid: u32 },
}
