//! Idle connections of one worker, by endpoint.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_core::cluster::Usage;
use gateway_core::plan::Connections;
use gateway_core::words::time::Millis;

use super::Link;
use crate::clock::micros;
use crate::io::{Spares, with_spares};

struct Idle {
    link: Box<Link>,
    /// When it has been idle for too long, or has become too old.
    ends_at: Millis,
}

/// The idle connections of one worker. Only that worker's thread comes here, so the lock is
/// never waited for.
#[derive(Default)]
pub(crate) struct Pool(Mutex<ByAddress>);

type ByAddress = HashMap<SocketAddr, Vec<Idle>, foldhash::fast::RandomState>;

impl Pool {
    /// The connection used last, because it is the least likely to have been closed.
    pub(crate) fn take(&self, address: SocketAddr, now: Millis) -> Option<Box<Link>> {
        let mut pool = self.lock();
        let idle = pool.get_mut(&address)?;
        while let Some(mut candidate) = idle.pop() {
            if now < candidate.ends_at && candidate.link.is_reusable() {
                let output = with_spares(Spares::take_output);
                candidate.link.output.set_buffer(output);
                return Some(candidate.link);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, ByAddress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection whose answer has been read to its end, within the upstream's bounds.
    pub(crate) fn give(
        &self,
        address: SocketAddr,
        mut link: Box<Link>,
        bounds: &Connections,
        now: Millis,
    ) {
        // Whether it was closed since is looked at when it is taken, and by the sweep.
        if !link.is_between_requests() {
            return;
        }
        let too_idle_at = now + micros(bounds.idle_timeout) / 1000;
        let too_old_at = link.opened_at + micros(bounds.lifetime) / 1000;
        let ends_at = too_idle_at.min(too_old_at);
        if now >= ends_at {
            return;
        }
        link.is_reused = true;
        // An idle connection has no buffers.
        with_spares(|spares| {
            link.reader.rest(spares);
            spares.give_output(link.output.take_buffer());
        });
        let mut pool = self.lock();
        let idle = pool.entry(address).or_default();
        if idle.len() < bounds.idle_max {
            idle.push(Idle { link, ends_at });
        }
    }

    /// Closes what has been idle for too long, was closed by the upstream, or leads to an endpoint
    /// that is in no set any more.
    pub(crate) fn sweep(&self, now: Millis, is_known: impl Fn(&SocketAddr) -> bool) {
        self.lock().retain(|address, idle| {
            if !is_known(address) {
                return false;
            }
            idle.retain_mut(|entry| now < entry.ends_at && entry.link.is_reusable());
            !idle.is_empty()
        });
    }

    /// Closes one that is counted there, to make room for another; whether there was one.
    pub(crate) fn close_one(&self, usage: &Usage) -> bool {
        self.lock().values_mut().any(|idle| {
            let counted = |entry: &Idle| usage.counts(&entry.link.held);
            // The one that has been idle for the longest.
            let found = idle.iter().position(counted);
            found.map(|at| idle.remove(at)).is_some()
        })
    }

    /// How many are idle.
    pub(crate) fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gateway_core::cluster::Instance;
    use http::request::Parts;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::{RequestBody, RequestHead};

    const BOUNDS: Connections = Connections {
        idle_max: 2,
        idle_timeout: Duration::from_secs(5),
        lifetime: Duration::from_secs(8),
        user_timeout: Duration::from_secs(1),
        keep_alive: Duration::from_secs(1),
        head_start: Duration::from_millis(250),
    };

    async fn link(listener: &TcpListener, now: Millis) -> Box<Link> {
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_secs(5);
        let held = Usage::default().connect().expect("there is room");
        let opened = Link::open(&Instance::at(address), limit, &BOUNDS, now, held).await;
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    #[tokio::test]
    async fn links_are_kept_within_the_bounds_of_their_upstream() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Opened, given back, and whether it is there at some time after.
        for (opened, given, taken, is_there) in [
            (0, 0, 4_999, true),
            (0, 0, 5_000, false),
            (0, 4_000, 7_999, true),
            (0, 4_000, 8_000, false),
            (0, 8_000, 8_000, false),
        ] {
            let pool = Pool::default();
            pool.give(address, link(&listener, opened).await, &BOUNDS, given);
            let case = format!("{opened} {given} {taken}");
            pool.sweep(taken, |_| true);
            assert_eq!(pool.len(), usize::from(is_there), "{case}");
            assert_eq!(pool.take(address, taken).is_some(), is_there, "{case}");
        }
        let pool = Pool::default();
        for _ in 0..3 {
            pool.give(address, link(&listener, 0).await, &BOUNDS, 0);
        }
        assert_eq!(pool.len(), BOUNDS.idle_max);
    }

    struct Asked(Parts);

    impl RequestHead for Asked {
        fn parts(&self) -> &Parts {
            &self.0
        }

        fn write_target(&self, buffer: &mut Vec<u8>) {
            buffer.push(b'/');
        }

        fn write_lines(&self, buffer: &mut Vec<u8>) {
            buffer.extend_from_slice(b"host: a\r\n");
        }
    }

    /// Answers one request.
    async fn answer(upstream: &mut tokio::net::TcpStream) {
        let mut head = [0; 64];
        let count = upstream.read(&mut head).await.unwrap();
        assert!(head[..count].starts_with(b"GET / HTTP/1.1\r\n"));
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        upstream.write_all(answer).await.unwrap();
    }

    /// Whether one buffer for output is kept, with room from its last use.
    fn has_one(spares: &mut Spares) -> bool {
        let output = spares.take_output();
        let is_used = output.capacity() > 0;
        let is_alone = spares.take_output().capacity() == 0;
        spares.give_output(output);
        is_used && is_alone
    }

    #[tokio::test]
    async fn idle_links_have_no_buffers_and_share_those_of_the_busy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pool = Pool::default();
        let mut link = link(&listener, 0).await;
        let (mut upstream, _) = listener.accept().await.unwrap();
        let request = Asked(http::Request::new(()).into_parts().0);
        for turn in 0..3 {
            let exchange = link.exchange(&request, RequestBody::Empty, || false);
            let (reply, ()) = tokio::join!(exchange, answer(&mut upstream));
            let reply = reply.unwrap_or_else(|_| panic!("it is answered"));
            assert_eq!(reply.head.status, 200);
            let used = reply.discard().expect("it can be used again");
            pool.give(address, used, &BOUNDS, 0);
            assert!(with_spares(has_one), "{turn}");
            assert!(!pool.lock()[&address][0].link.reader.has_buffer(), "{turn}");
            link = pool.take(address, 0).expect("it is open");
            assert!(link.is_reused);
        }
    }

    #[tokio::test]
    async fn an_idle_link_that_is_not_silent_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (case, bytes) in [("closed", &b""[..]), ("unasked", b"HTTP/1.1 200 OK\r\n")] {
            let pool = Pool::default();
            pool.give(address, link(&listener, 0).await, &BOUNDS, 0);
            let (mut upstream, _) = listener.accept().await.unwrap();
            upstream.write_all(bytes).await.unwrap();
            drop(upstream);
            while pool.len() > 0 {
                tokio::task::yield_now().await;
                pool.sweep(0, |_| true);
            }
            assert!(pool.take(address, 0).is_none(), "{case}");
        }
    }

    #[tokio::test]
    async fn links_to_an_endpoint_that_has_left_are_closed() {
        let listeners = [
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        ];
        let pool = Pool::default();
        for listener in &listeners {
            let address = listener.local_addr().unwrap();
            pool.give(address, link(listener, 0).await, &BOUNDS, 0);
        }
        let stays = listeners[0].local_addr().unwrap();
        pool.sweep(1, |address| *address == stays);
        assert_eq!(pool.len(), 1);
        assert!(pool.take(stays, 1).is_some());
    }

    #[tokio::test]
    async fn a_host_that_says_nothing_is_watched() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        let socket = socket.await.unwrap();
        let bounds = Connections {
            user_timeout: Duration::from_secs(3),
            keep_alive: Duration::from_secs(2),
            ..BOUNDS
        };
        super::super::watch_for_silence(&socket, &bounds).unwrap();
        let socket = socket2::SockRef::from(&socket);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), bounds.keep_alive);
        let user_timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(user_timeout, Some(bounds.user_timeout));
    }
}
