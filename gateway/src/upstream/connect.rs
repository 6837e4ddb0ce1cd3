//! Opening a socket to an endpoint that may have an address of either family.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;

/// Connects to the address that answers first.
///
/// The second is tried when the first has failed, or has not answered for `head_start`; then the
/// one that is there first wins, and the other attempt ends (RFC 8305 section 5).
///
/// # Errors
/// No address could be connected to: what was wrong with the one that failed last.
pub(super) async fn connect(
    address: SocketAddr,
    second_address: Option<SocketAddr>,
    head_start: Duration,
) -> io::Result<TcpStream> {
    let Some(second_address) = second_address else {
        return TcpStream::connect(address).await;
    };
    let mut first = pin!(TcpStream::connect(address));
    match tokio::time::timeout(head_start, &mut first).await {
        Ok(Ok(socket)) => return Ok(socket),
        Ok(Err(_)) => return TcpStream::connect(second_address).await,
        Err(_elapsed) => {}
    }
    let mut second = pin!(TcpStream::connect(second_address));
    tokio::select! {
        socket = &mut first => match socket {
            Ok(socket) => Ok(socket),
            Err(_) => second.await,
        },
        socket = &mut second => match socket {
            Ok(socket) => Ok(socket),
            Err(_) => first.await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// What an address does with a connection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Host {
        Accepts,
        Refuses,
        /// Its queue is full: neither yes nor no.
        Silent,
    }
    use Host::{Accepts, Refuses, Silent};

    /// More than any system keeps beyond a backlog of 0.
    const QUEUED: usize = 8;

    fn host(kind: Host) -> (SocketAddr, Vec<Socket>) {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = socket();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        if kind != Refuses {
            let backlog = if kind == Silent { 0 } else { 16 };
            sockets[0].listen(backlog).unwrap();
        }
        if kind == Silent {
            sockets.extend((0..QUEUED).map(|_| {
                let queued = socket();
                queued.set_nonblocking(true).unwrap();
                // It goes on by itself, or never.
                let _under_way = queued.connect(&address);
                queued
            }));
        }
        (address.as_socket().unwrap(), sockets)
    }

    #[tokio::test]
    async fn the_second_address_is_used_when_the_first_fails_or_is_silent() {
        let head_start = Duration::from_millis(30);
        for (first, second, expected) in [
            (Accepts, Some(Accepts), Some(0)),
            (Accepts, Some(Refuses), Some(0)),
            (Accepts, None, Some(0)),
            (Refuses, Some(Accepts), Some(1)),
            (Silent, Some(Accepts), Some(1)),
            (Refuses, Some(Refuses), None),
            (Refuses, None, None),
        ] {
            let case = format!("{first:?} {second:?}");
            let (address, _first) = host(first);
            let (second, _second) = second.map(host).unzip();
            let began = tokio::time::Instant::now();
            let socket = connect(address, second, head_start).await;
            let reached = socket.ok().map(|socket| socket.peer_addr().unwrap());
            let addresses = [Some(address), second];
            let expected: Option<SocketAddr> = expected.and_then(|index: usize| addresses[index]);
            assert_eq!(reached, expected, "{case}");
            if first == Silent {
                assert!(began.elapsed() >= head_start, "{case}");
            }
        }
    }

    #[tokio::test]
    async fn a_first_address_that_answers_late_is_used_where_the_second_is_none() {
        let (address, sockets) = host(Silent);
        let (refusing, _socket) = host(Refuses);
        let connecting = connect(address, Some(refusing), Duration::from_millis(1));
        let mut connecting = pin!(connecting);
        let wait = tokio::time::timeout(Duration::from_millis(50), &mut connecting);
        assert!(wait.await.is_err(), "the first is waited for");
        // Its queue empties.
        let listener = std::net::TcpListener::from(sockets.into_iter().next().unwrap());
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let accepting = async {
            loop {
                drop(listener.accept().await);
            }
        };
        tokio::select! {
            socket = connecting => assert_eq!(socket.unwrap().peer_addr().unwrap(), address),
            () = accepting => {}
        }
    }
}
