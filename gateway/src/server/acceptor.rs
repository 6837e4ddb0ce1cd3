//! The listening sockets, as a service of pingora's.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::worker_service::Seat;
use crate::lifecycle::Lifecycle;

/// Connections that the kernel keeps for us; capped by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections over the limit that are being told so at a time; further ones just close.
const REFUSALS_MAX: usize = 256;
/// Time in which a refused client may read its answer and close.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of a refused client that are read and thrown away meanwhile.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;

/// Sent to a connection over the limit. Its request is never read.
const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
content-type: application/problem+json\r\ncontent-length: 115\r\nretry-after: 1\r\n\
connection: close\r\n\r\n\
{\"type\":\"urn:problem:overloaded\",\"title\":\"the gateway is at its configured limit\",\
\"status\":503,\"code\":\"overloaded\"}";

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error(
        "{address} is already in use; stop the program that listens there, or choose another \
         address for `{key}`"
    )]
    InUse {
        address: SocketAddr,
        key: &'static str,
    },
    #[error("cannot listen on {address} (`{key}`): {source}")]
    Other {
        address: SocketAddr,
        key: &'static str,
        source: io::Error,
    },
}

/// Opens a listening socket; `key` names the setting in an error.
pub(crate) fn bind(address: SocketAddr, key: &'static str) -> Result<StdListener, BindError> {
    let open = || -> io::Result<StdListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart must not wait for old connections in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, key },
        _ => BindError::Other {
            address,
            key,
            source,
        },
    })
}

/// Accepts, and hands each connection to the worker with the fewest.
pub(crate) struct Acceptor {
    pub(crate) listeners: Vec<StdListener>,
    pub(crate) seats: Vec<Seat>,
    pub(crate) connections_max: usize,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

#[async_trait]
impl Service for Acceptor {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let mut accepting = Vec::with_capacity(self.listeners.len());
        for listener in self.listeners.drain(..) {
            let door = Door {
                seats: self.seats.clone(),
                connections_max: self.connections_max,
                lifecycle: Arc::clone(&self.lifecycle),
                refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            };
            accepting.push(tokio::spawn(door.accept_all(listener)));
        }
        for task in accepting {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener broke down");
            }
        }
    }

    fn name(&self) -> &'static str {
        "acceptor"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// What one accept loop needs.
struct Door {
    seats: Vec<Seat>,
    connections_max: usize,
    lifecycle: Arc<Lifecycle>,
    refusals: Arc<Semaphore>,
}

impl Door {
    async fn accept_all(self, listener: StdListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a listening socket cannot be used");
                return;
            }
        };
        if !self.lifecycle.doors_opened().await {
            return;
        }
        let _errand = self.lifecycle.begin_errand();
        let mut closing = std::pin::pin!(self.lifecycle.doors_closed());
        loop {
            tokio::select! {
                biased;
                () = &mut closing => break,
                accepted = listener.accept() => self.take(accepted).await,
            }
        }
        // What the kernel has accepted for us already is served too, unless it is the new
        // process's from now on; more than its queue holds came after the end.
        for _ in 0..BACKLOG {
            if self.lifecycle.is_handed_over() {
                return;
            }
            match listener.accept().now_or_never() {
                Some(Ok(accepted)) => self.take(Ok(accepted)).await,
                Some(Err(_)) | None => return,
            }
        }
    }

    async fn take(&self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_peer(&error) => return,
            Err(error) => {
                tracing::warn!(%error, "accept failed; pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return;
            }
        };
        if !self.lifecycle.open_connection(self.connections_max) {
            return self.refuse(socket);
        }
        // The worker registers the socket with its own reactor.
        let Ok(socket) = socket.into_std() else {
            return self.lifecycle.close_connection();
        };
        if let Err(socket) = self.least_busy().seat(socket, peer) {
            self.lifecycle.refuse_connection();
            self.lifecycle.close_connection();
            // The others have as many connections or more, so they are no way out.
            if let Ok(socket) = TcpStream::from_std(socket) {
                self.refuse(socket);
            }
        }
    }

    /// Answers 503 in the background; beyond the bound the connection just closes.
    fn refuse(&self, socket: TcpStream) {
        if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            tokio::spawn(async move {
                let _permit = permit;
                let _ended = tokio::time::timeout(REFUSAL_TIMEOUT, refuse(socket)).await;
            });
        }
    }

    fn least_busy(&self) -> &Seat {
        self.seats
            .iter()
            .min_by_key(|seat| seat.connections())
            .expect("there is at least one worker")
    }
}

/// The connection was gone before it was accepted: nothing is wrong with us.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Answers, and reads on until the client closes: closing with unread bytes would reset the
/// connection before the client has read why (RFC 9112 section 9.6).
async fn refuse(mut socket: TcpStream) -> io::Result<()> {
    socket.write_all(OVERLOADED).await?;
    socket.shutdown().await?;
    let mut unread = socket.take(REFUSAL_BYTES_MAX);
    tokio::io::copy(&mut unread, &mut tokio::io::sink()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use gateway_core::words::reason::Reason;
    use mesh::problem::Problem;

    use super::*;

    #[test]
    fn the_prepared_refusal_is_what_any_other_would_be() {
        let text = std::str::from_utf8(OVERLOADED).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
        let reason = Reason::Overloaded;
        let problem = Problem {
            status: reason.status(),
            code: reason.code(),
            title: reason.title().into(),
            detail: None,
            request_id: None,
        };
        assert_eq!(body, problem.to_json());
    }

    #[tokio::test]
    async fn a_connection_for_which_no_worker_has_room_is_told_so() {
        let (seat, _incoming) = Seat::unattended(1);
        let lifecycle = Arc::<Lifecycle>::default();
        let door = Door {
            seats: vec![seat],
            connections_max: 10,
            lifecycle: Arc::clone(&lifecycle),
            refusals: Arc::new(Semaphore::new(1)),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..2 {
            clients.push(TcpStream::connect(address).await.unwrap());
            door.take(listener.accept().await).await;
        }
        let mut answer = String::new();
        let mut refused = clients.pop().unwrap();
        refused.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
        assert_eq!(lifecycle.connections_refused(), 1);
        // The one that waits is the one that is counted.
        assert!(lifecycle.open_connection(2) && !lifecycle.open_connection(2));
    }

    #[test]
    fn an_address_in_use_names_its_setting() {
        let first = bind(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            "listeners[0].address",
        )
        .unwrap();
        let error = bind(first.local_addr().unwrap(), "listeners[0].address").unwrap_err();
        assert!(error.to_string().contains("already in use"), "{error}");
        assert!(
            error.to_string().contains("`listeners[0].address`"),
            "{error}"
        );
    }
}
