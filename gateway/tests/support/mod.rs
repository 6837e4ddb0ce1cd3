//! What the shell's tests share: a gateway on free ports, scripted upstreams, clients, tokens.
//!
//! Tests are plain functions. Upstreams and the HTTP client live on a runtime of their own, so
//! that a gateway that drains never waits for the thread that waits for it.

pub(crate) mod backend;
pub(crate) mod cloud_map;
pub(crate) mod collector;
pub(crate) mod gateway;
pub(crate) mod http_client;
pub(crate) mod key_provider;
pub(crate) mod lively;
pub(crate) mod load;
pub(crate) mod metric_list;
pub(crate) mod metrics;
pub(crate) mod process;
pub(crate) mod tokens;
pub(crate) mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;

/// Time that anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Where upstreams and the HTTP client live.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be made")
    });
    &RUNTIME
}

/// Waits until `look` finds something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// This many header lines, each of its own name.
pub(crate) fn header_lines(count: usize) -> String {
    (0..count).fold(String::new(), |lines, index| {
        lines + &format!("x-{index}: y\r\n")
    })
}

/// An address that refuses connections for as long as this value lives: bound, not listening.
pub(crate) struct Refusing {
    address: SocketAddr,
    _socket: Socket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any_port.into()).expect("port 0 is free");
        let address = socket
            .local_addr()
            .expect("bound")
            .as_socket()
            .expect("of IP");
        Self {
            address,
            _socket: socket,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An address that neither takes a connection nor refuses it: its queue is full.
pub(crate) struct Unanswering {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl Unanswering {
    /// More than any system keeps beyond a backlog of 0.
    const QUEUED: usize = 8;

    pub(crate) fn new() -> Self {
        let socket =
            || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        let listener = socket();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any_port.into()).expect("port 0 is free");
        listener.listen(0).expect("it is bound");
        let address = listener.local_addr().expect("bound");
        let queued = (0..Self::QUEUED).map(|_| {
            let socket = socket();
            socket.set_nonblocking(true).expect("a socket option");
            // It goes on by itself, or never.
            let _under_way = socket.connect(&address);
            socket
        });
        Self {
            address: address.as_socket().expect("of IP"),
            _queued: queued.collect(),
            _listener: listener,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
