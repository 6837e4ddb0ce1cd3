//! The side of the running process: hands over its sockets, starts new processes, leaves.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;

use super::channel::{Channel, ChannelError};
use super::{
    Message, Offered, PROTOCOL, Place, REPLY_TIMEOUT, Role, TakeOver, TakeOverError, place,
    tell_ready,
};
use crate::lifecycle::Lifecycle;

/// Conversations at a time; those who come later are turned away unheard.
const TALKS_MAX: usize = 8;
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Tells a new process to take over.
const TAKES_OVER: &str = "--upgrade";

/// How this program was started, and how a new process of it is.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// As it was called, not as it was found: behind that name is the new program.
    program: OsString,
    arguments: Vec<OsString>,
}

impl Launch {
    /// The way in which this process was started. From here on SIGUSR2 does not end it.
    ///
    /// # Errors
    /// When the signal's handler cannot be installed.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // The handler outlives its first listener and this runtime.
        let _first = runtime.block_on(async { signal(SignalKind::user_defined2()) })?;
        let mut arguments = std::env::args_os();
        let program = arguments.next().unwrap_or_else(|| "gateway".into());
        let mut arguments: Vec<_> = arguments.collect();
        if !arguments.iter().any(|argument| argument == TAKES_OVER) {
            arguments.push(TAKES_OVER.into());
        }
        Ok(Self { program, arguments })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        command
    }
}

/// Where the next process asks.
pub(crate) struct Listening {
    pub(crate) place: Place,
    pub(crate) socket: OwnedFd,
    /// Time in which a new process must be ready.
    pub(crate) limit: Duration,
    pub(crate) offered: Vec<Offered>,
}

/// Takes over, and later hands over, as a service of pingora's.
pub(crate) struct Host {
    pub(crate) take_over: Option<TakeOver>,
    /// Set once when taking over has failed.
    pub(crate) failure: Arc<Mutex<Option<TakeOverError>>>,
    /// `None` where the routes file has no section `upgrade`.
    pub(crate) listening: Option<Listening>,
    /// `None` in a gateway that is not a program of its own: the signals are not for it.
    pub(crate) launch: Option<Launch>,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

#[async_trait]
impl Service for Host {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let mut asked = self.launch.as_ref().and_then(|_| listen_for_signal());
        if let Some(take_over) = self.take_over.take() {
            if let Err(error) = take_over.run(&self.lifecycle).await {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(error);
                drop(failure);
                return self.lifecycle.give_up();
            }
        } else if self.launch.is_some() {
            let lifecycle = Arc::clone(&self.lifecycle);
            tokio::spawn(async move {
                lifecycle.ready().await;
                tell_ready();
            });
        }
        let served = match self.listening.take() {
            Some(listening) => self.serve(listening, asked).await,
            None => loop {
                next(&mut asked).await;
                tracing::warn!(
                    "SIGUSR2 asks for an upgrade, and the routes file has no section `upgrade`"
                );
            },
        };
        if let Err(error) = served {
            tracing::error!(%error, "the upgrade socket cannot be used");
        }
    }

    fn name(&self) -> &'static str {
        "upgrade"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

fn listen_for_signal() -> Option<Signal> {
    signal(SignalKind::user_defined2())
        .inspect_err(|error| tracing::error!(%error, "SIGUSR2 cannot be received"))
        .ok()
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

impl Host {
    async fn serve(&self, listening: Listening, mut asked: Option<Signal>) -> io::Result<()> {
        let upgrade_socket = listening.socket.try_clone()?;
        // Its packets stay packets, whatever the type says of streams.
        let socket = UnixListener::from_std(listening.socket.into())?;
        let place = listening.place;
        let desk = Arc::new(Desk {
            offered: listening.offered,
            upgrade_socket,
            limit: listening.limit,
            launch: self.launch.clone(),
            lifecycle: Arc::clone(&self.lifecycle),
            hand_overs: Semaphore::new(1),
            launches: Semaphore::new(1),
        });
        let talks = Arc::new(Semaphore::new(TALKS_MAX));
        let mut closed = std::pin::pin!(self.lifecycle.doors_closed());
        loop {
            tokio::select! {
                biased;
                () = &mut closed => break,
                () = next(&mut asked) => {
                    let desk = Arc::clone(&desk);
                    tokio::spawn(async move { desk.upgrade(None).await });
                }
                accepted = socket.accept() => match accepted {
                    Ok((accepted, _)) => if let Ok(permit) = Arc::clone(&talks).try_acquire_owned() {
                        let desk = Arc::clone(&desk);
                        tokio::spawn(async move {
                            let _permit = permit;
                            desk.talk(accepted).await;
                        });
                    },
                    Err(error) => {
                        tracing::warn!(%error, "accept failed at the upgrade socket");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        // A process that is getting ready has this socket, and will need its name.
        if !self.lifecycle.is_handed_over() && desk.hand_overs.available_permits() > 0 {
            place.remove();
        }
        Ok(())
    }
}

/// What every conversation needs. The listening sockets are closed with its last holder.
struct Desk {
    offered: Vec<Offered>,
    upgrade_socket: OwnedFd,
    limit: Duration,
    launch: Option<Launch>,
    lifecycle: Arc<Lifecycle>,
    /// One new process at a time.
    hand_overs: Semaphore,
    launches: Semaphore,
}

impl Desk {
    async fn talk(&self, socket: UnixStream) {
        if !place::is_ours(&socket).unwrap_or(false) {
            return tracing::warn!("another user knocked at the upgrade socket");
        }
        let channel = Channel::from(socket);
        match channel.receive_within(REPLY_TIMEOUT).await {
            Ok((Message::TakeOver { protocol, pid }, None)) if protocol == PROTOCOL => {
                self.hand_over(&channel, pid).await;
            }
            Ok((Message::Upgrade { protocol }, None)) if protocol == PROTOCOL => {
                self.upgrade(Some(&channel)).await;
            }
            Ok((Message::TakeOver { protocol, .. } | Message::Upgrade { protocol }, None)) => {
                let why = format!(
                    "it speaks version {PROTOCOL} of the hand-over, this one {protocol}: \
                     restart instead"
                );
                refuse(&channel, why).await;
            }
            // Someone who only looks whether anybody is there.
            _ => tracing::debug!("a conversation without a subject"),
        }
    }

    async fn hand_over(&self, channel: &Channel, pid: u32) {
        let Ok(_turn) = self.hand_overs.try_acquire() else {
            return refuse(channel, "another upgrade is under way".into()).await;
        };
        if let Some(why) = why_not_here() {
            return refuse(channel, why.into()).await;
        }
        tracing::info!(pid, "a new process wants to take over");
        match self.try_hand_over(channel).await {
            Ok(()) => tracing::info!(pid, "the new process has taken over"),
            Err(error) => {
                let failed = &self.lifecycle.upgrades.failed;
                failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(pid, %error, "the new process has not taken over; going on");
                if matches!(error, ChannelError::Silent | ChannelError::Unexpected) {
                    refuse(channel, error.to_string()).await;
                }
            }
        }
    }

    async fn try_hand_over(&self, channel: &Channel) -> Result<(), ChannelError> {
        for offered in &self.offered {
            let message = Message::Socket(offered.role);
            let socket = offered.socket.as_fd();
            channel.send_with(&message, Some(socket)).await?;
        }
        let socket = self.upgrade_socket.as_fd();
        let message = Message::Socket(Role::Upgrade);
        channel.send_with(&message, Some(socket)).await?;
        let generation = &self.lifecycle.upgrades.generation;
        let generation = generation.load(Ordering::Relaxed);
        channel.send(&Message::NoMoreSockets { generation }).await?;
        // The new process has the same limit: this one is for a process that hangs.
        match channel.receive_within(self.limit + REPLY_TIMEOUT).await? {
            (Message::Ready, None) => channel.send(&Message::Go).await?,
            _ => return Err(ChannelError::Unexpected),
        }
        match channel.receive_within(REPLY_TIMEOUT).await? {
            (Message::Serving, None) => {}
            _ => return Err(ChannelError::Unexpected),
        }
        // This process may have nothing else left to do, and is to say goodbye all the same.
        let _errand = self.lifecycle.begin_errand();
        self.lifecycle.hand_over();
        match channel.send(&Message::Leaving).await {
            // The new one serves, whether it listens or not.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Starts a new process and waits for what becomes of it.
    async fn upgrade(&self, channel: Option<&Channel>) {
        let _errand = self.lifecycle.begin_errand();
        let outcome = self.try_upgrade(channel).await;
        if let Err(why) = &outcome {
            tracing::error!(%why, "no upgrade");
        }
        let Some(channel) = channel else { return };
        match outcome {
            Ok(()) => {
                if let Err(error) = channel.send(&Message::Leaving).await {
                    tracing::debug!(%error, "whoever asked for the upgrade is gone");
                }
            }
            Err(why) => refuse(channel, why).await,
        }
    }

    async fn try_upgrade(&self, channel: Option<&Channel>) -> Result<(), String> {
        let turn = self.launches.try_acquire();
        let _turn = turn.map_err(|_taken| "another upgrade is under way")?;
        if let Some(why) = why_not_here() {
            return Err(why.into());
        }
        let launch = self.launch.as_ref();
        let launch = launch.ok_or("this gateway is not a program of its own")?;
        let started = launch.command().spawn();
        let mut child = started.map_err(|error| {
            let program = launch.program.display();
            format!("`{program}` cannot be started: {error}")
        })?;
        let pid = child.id().unwrap_or_default();
        tracing::info!(pid, "a new process has been started");
        if let Some(channel) = channel {
            // It is started; whoever asked may have lost patience.
            let _told = channel.send(&Message::Started { pid }).await;
        }
        tokio::select! {
            () = self.lifecycle.doors_closed() => if self.lifecycle.is_handed_over() {
                Ok(())
            } else {
                Err("the gateway has been told to leave meanwhile".into())
            },
            ended = child.wait() => Err(match ended {
                Ok(status) => format!(
                    "the new process ended before it took over ({status}); its log says why"
                ),
                Err(error) => format!("the new process cannot be waited for: {error}"),
            }),
            () = tokio::time::sleep(self.limit + REPLY_TIMEOUT) => {
                if let Err(error) = child.start_kill() {
                    tracing::warn!(pid, %error, "the new process cannot be killed");
                }
                Err(format!("the new process was not ready within {} s", self.limit.as_secs()))
            }
        }
    }
}

/// Why a process cannot be replaced from within.
fn why_not_here() -> Option<&'static str> {
    (std::process::id() == 1).then_some(
        "it is the first process of its container, which would end with it: replace the container",
    )
}

async fn refuse(channel: &Channel, why: String) {
    if let Err(error) = channel.send(&Message::Refused { why }).await {
        tracing::debug!(%error, "a refusal found nobody");
    }
}
