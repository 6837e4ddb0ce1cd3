//! The listening sockets: taken over from a running process, or opened.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use gateway_core::file::{Settings, Upgrade};

use super::Cause;
use crate::lifecycle::Lifecycle;
use crate::server::{BindError, bind};
use crate::telemetry::log_level::LogLevel;
use crate::upgrade::{
    Host, Inherited, Launch, Listening, Offered, Place, Role, TakeOver, TakeOverError,
};

/// What a gateway that is a program of its own knows of its start.
pub(crate) struct Program {
    pub(crate) launch: Launch,
    /// Whether it is to take over from a running process.
    pub(crate) takes_over: bool,
    /// What is logged besides requests.
    pub(crate) log_level: Arc<LogLevel>,
}

/// Why taking over has failed, once it has.
pub(super) type Failure = Arc<Mutex<Option<TakeOverError>>>;

/// All sockets that this process listens on.
pub(super) struct Sockets {
    pub(super) listeners: Vec<TcpListener>,
    pub(super) admin: TcpListener,
    upgrade: Option<Listening>,
    /// There where the doors are held until the old process agrees.
    take_over: Option<TakeOver>,
}

impl Sockets {
    /// Where clients connect.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Takes over what the running process has of them, and opens the others.
    pub(super) fn open(
        settings: &Settings,
        program: Option<&Program>,
        lifecycle: &Lifecycle,
    ) -> Result<Self, Cause> {
        let upgrade = settings.upgrade.as_ref();
        let has_predecessor = program.is_some_and(|program| program.takes_over);
        let mut inherited = match upgrade {
            _ if !has_predecessor => None,
            Some(upgrade) => Some(Inherited::ask(&Place::new(&upgrade.socket))?),
            None => return Err(Cause::NoUpgrade),
        };
        let mut listener = |role, address, key| {
            let handed_over = inherited.as_mut().and_then(|it| it.listener(role));
            handed_over.map_or_else(|| bind(address, key), Ok)
        };
        let addresses = settings.listeners.iter();
        let listeners = addresses
            .map(|address| listener(Role::Proxy(*address), *address, "listeners"))
            .collect::<Result<Vec<_>, BindError>>()?;
        let admin_role = Role::Admin(settings.admin);
        let admin = listener(admin_role, settings.admin, "admin")?;
        let upgrade = match upgrade {
            Some(upgrade) => {
                let mut offered = vec![Offered::new(admin_role, &admin)?];
                for (address, listener) in settings.listeners.iter().zip(&listeners) {
                    offered.push(Offered::new(Role::Proxy(*address), listener)?);
                }
                Some(listening(upgrade, inherited.as_mut(), offered)?)
            }
            None => None,
        };
        let limit = settings.upgrade.as_ref().map(|upgrade| upgrade.timeout);
        let take_over = inherited
            .zip(limit)
            .map(|(inherited, limit)| inherited.take_over(limit, lifecycle));
        Ok(Self {
            listeners,
            admin,
            upgrade,
            take_over,
        })
    }

    /// The service that takes over, and later hands over.
    pub(super) fn host(
        &mut self,
        program: Option<Program>,
        failure: &Failure,
        lifecycle: &Arc<Lifecycle>,
    ) -> Host {
        Host {
            take_over: self.take_over.take(),
            failure: Arc::clone(failure),
            listening: self.upgrade.take(),
            launch: program.map(|program| program.launch),
            lifecycle: Arc::clone(lifecycle),
        }
    }
}

fn listening(
    upgrade: &Upgrade,
    inherited: Option<&mut Inherited>,
    offered: Vec<Offered>,
) -> Result<Listening, Cause> {
    let place = Place::new(&upgrade.socket);
    let socket = match inherited.and_then(Inherited::upgrade_socket) {
        Some(socket) => socket,
        None => place.listen()?,
    };
    Ok(Listening {
        place,
        socket,
        limit: upgrade.timeout,
        offered,
    })
}
