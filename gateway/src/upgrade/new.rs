//! The side of the new process: asks for the sockets, gets ready, takes over. And that of the
//! command line, which has a new process started.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::channel::{Channel, ChannelError};
use super::{Message, PROTOCOL, Place, PlaceError, REPLY_TIMEOUT, Role, tell_ready};
use crate::lifecycle::Lifecycle;

/// Sockets that a process may hand over; more are no gateway's.
const SOCKETS_MAX: usize = 1024;

/// Why a new process did not take over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeOverError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot take over: {0}")]
    Channel(#[from] ChannelError),
    #[error("cannot take over: {0}")]
    Io(#[from] std::io::Error),
    #[error("not ready within {} s; still waiting for {waiting}; the running process goes on", .limit.as_secs())]
    NotReady { limit: Duration, waiting: String },
}

/// What a running process has handed over, before it is asked to leave.
pub(crate) struct Inherited {
    channel: OwnedFd,
    sockets: Vec<(Role, OwnedFd)>,
    generation: u64,
}

impl Inherited {
    /// Asks the process that listens there for its sockets.
    pub(crate) fn ask(place: &Place) -> Result<Self, TakeOverError> {
        let socket = place.connect()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let channel = Channel::new(socket)?;
            let ask = Message::TakeOver {
                protocol: PROTOCOL,
                pid: std::process::id(),
            };
            channel.send(&ask).await?;
            let mut sockets = Vec::new();
            loop {
                match channel.receive_within(REPLY_TIMEOUT).await? {
                    (Message::Socket(role), Some(socket)) if sockets.len() < SOCKETS_MAX => {
                        sockets.push((role, socket));
                    }
                    (Message::NoMoreSockets { generation }, None) => {
                        return Ok(Self {
                            channel: channel.into_inner()?,
                            sockets,
                            generation: generation + 1,
                        });
                    }
                    _ => return Err(ChannelError::Unexpected.into()),
                }
            }
        })
    }

    /// The listening socket that the running process has for this address, if any.
    ///
    /// Port 0 means the same port again. Where the role is new, the address decides.
    pub(crate) fn listener(&mut self, role: Role) -> Option<TcpListener> {
        if let Some(socket) = self.take(|(known, _)| *known == role) {
            return Some(socket.into());
        }
        let (Role::Proxy(wanted) | Role::Admin(wanted)) = role else {
            return None;
        };
        let socket = self.take(|(known, socket)| {
            let address = socket2::SockRef::from(socket).local_addr();
            *known != Role::Upgrade
                && address.is_ok_and(|address| address.as_socket() == Some(wanted))
        });
        socket.map(TcpListener::from)
    }

    /// The socket for the next upgrade.
    pub(crate) fn upgrade_socket(&mut self) -> Option<OwnedFd> {
        self.take(|(role, _)| *role == Role::Upgrade)
    }

    fn take(&mut self, is_it: impl FnMut(&(Role, OwnedFd)) -> bool) -> Option<OwnedFd> {
        let index = self.sockets.iter().position(is_it)?;
        Some(self.sockets.swap_remove(index).1)
    }

    /// What is left to do once everything has started. Sockets that nobody wanted are closed
    /// here, and by the old process when it leaves.
    pub(crate) fn take_over(self, limit: Duration, lifecycle: &Lifecycle) -> TakeOver {
        lifecycle.hold_doors();
        let generation = &lifecycle.upgrades.generation;
        generation.store(self.generation, Ordering::Relaxed);
        TakeOver {
            channel: self.channel,
            limit,
        }
    }
}

/// A process that has sockets and does not accept yet.
pub(crate) struct TakeOver {
    channel: OwnedFd,
    /// Time in which it must be ready.
    limit: Duration,
}

impl TakeOver {
    /// Waits until this process is ready, opens the doors, and sends the old one away.
    ///
    /// An old process that has left by itself meanwhile is no failure.
    pub(super) async fn run(self, lifecycle: &Arc<Lifecycle>) -> Result<(), TakeOverError> {
        let channel = Channel::new(self.channel)?;
        let agreed = tokio::select! {
            () = lifecycle.ready() => agree(&channel).await,
            said = channel.receive() => said.and(Err(ChannelError::Unexpected)),
            () = lifecycle.doors_closed() => return Ok(()),
            () = tokio::time::sleep(self.limit) => {
                let waiting = lifecycle.unready().unwrap_or_default().join(", ");
                return Err(TakeOverError::NotReady { limit: self.limit, waiting });
            }
        };
        match agreed {
            Ok(()) => {}
            Err(ChannelError::Closed) => {
                tracing::warn!("the old process has left before this one was ready");
                lifecycle.open_doors();
                lifecycle.ready().await;
                tell_ready();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        lifecycle.open_doors();
        // Before the old process leaves, whose end would be that of the service otherwise.
        tell_ready();
        match see_off(&channel).await {
            Ok(()) | Err(ChannelError::Closed) => {
                tracing::info!("taken over: the old process accepts no more");
            }
            Err(error) => tracing::warn!(%error, "taken over, but the old process may stay"),
        }
        Ok(())
    }
}

async fn agree(channel: &Channel) -> Result<(), ChannelError> {
    channel.send(&Message::Ready).await?;
    match channel.receive_within(REPLY_TIMEOUT).await? {
        (Message::Go, None) => Ok(()),
        _ => Err(ChannelError::Unexpected),
    }
}

async fn see_off(channel: &Channel) -> Result<(), ChannelError> {
    channel.send(&Message::Serving).await?;
    match channel.receive_within(REPLY_TIMEOUT).await? {
        (Message::Leaving, None) => Ok(()),
        _ => Err(ChannelError::Unexpected),
    }
}

/// Has the process that listens there start a new one, and waits until that has taken over.
///
/// `started` is told the new one's id; `limit` is the time in which it must be ready.
pub(crate) async fn ask_to_upgrade(
    place: &Place,
    limit: Duration,
    started: impl Fn(u32),
) -> Result<(), TakeOverError> {
    let channel = Channel::new(place.connect()?)?;
    let protocol = PROTOCOL;
    channel.send(&Message::Upgrade { protocol }).await?;
    loop {
        // The running process has the same limit, and time to say that it is over.
        match channel.receive_within(limit + 2 * REPLY_TIMEOUT).await? {
            (Message::Started { pid }, _) => started(pid),
            (Message::Leaving, _) => return Ok(()),
            _ => return Err(ChannelError::Unexpected.into()),
        }
    }
}
