//! Idle connections of one worker, by endpoint.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use gateway_core::cluster::{Held, Usage};
use gateway_core::plan::Connections;
use gateway_core::words::time::Millis;

use super::Link;
use super::resting::RestingLink;
use crate::clock::micros;

/// Time after its last use from which a connection rests: it gives its parser and buffers back.
/// Long enough that a busy connection does not pay for making them again.
const REST_AFTER_MS: Millis = 2_000;

struct Idle {
    link: Kept,
    /// When it is to rest.
    rests_at: Millis,
    /// When it has been idle for too long, or has become too old.
    ends_at: Millis,
}

impl Idle {
    /// What is left of it at this time.
    fn swept(self, now: Millis) -> Option<Self> {
        if now >= self.ends_at {
            return None;
        }
        let link = self.link.keep(now >= self.rests_at)?;
        Some(Self { link, ..self })
    }
}

/// How an idle connection is kept.
enum Kept {
    Ready(Box<Link>),
    Resting(Box<RestingLink>),
}

impl Kept {
    /// For the next request, if it can be used again.
    fn take(self) -> Option<Box<Link>> {
        match self {
            Self::Ready(mut link) => link.is_reusable().then_some(link),
            Self::Resting(link) => link.wake(),
        }
    }

    /// The same one; it rests if that is asked for. `None` if it cannot be used again.
    fn keep(self, rests: bool) -> Option<Self> {
        match self {
            Self::Ready(link) if rests => match RestingLink::of(link) {
                Ok(resting) => Some(Self::Resting(resting)),
                Err(link) => link.map(Self::Ready),
            },
            Self::Ready(mut link) => link.is_reusable().then_some(Self::Ready(link)),
            Self::Resting(link) => link.is_reusable().then_some(Self::Resting(link)),
        }
    }

    fn held(&self) -> &Held {
        match self {
            Self::Ready(link) => &link.held,
            Self::Resting(link) => link.held(),
        }
    }
}

/// The idle connections of one worker. Only that worker's thread comes here, so the lock is
/// never waited for.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>, foldhash::fast::RandomState>>,
}

impl Pool {
    /// The connection used last, because it is the least likely to have been closed.
    pub(crate) fn take(&self, address: SocketAddr, now: Millis) -> Option<Box<Link>> {
        let mut pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pools.get_mut(&address)?;
        while let Some(candidate) = idle.pop() {
            if now < candidate.ends_at
                && let Some(link) = candidate.link.take()
            {
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection whose answer has been read to its end, within the upstream's bounds.
    pub(crate) fn give(
        &self,
        address: SocketAddr,
        mut link: Box<Link>,
        bounds: &Connections,
        now: Millis,
    ) {
        // Whether it can be used again is looked at when it is taken, and by the sweep.
        if link.is_closed() {
            return;
        }
        let too_idle_at = now + micros(bounds.idle_timeout) / 1000;
        let too_old_at = link.opened_at + micros(bounds.lifetime) / 1000;
        let ends_at = too_idle_at.min(too_old_at);
        if now >= ends_at {
            return;
        }
        link.is_reused = true;
        let mut pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pools.entry(address).or_default();
        if idle.len() < bounds.idle_max {
            idle.push(Idle {
                link: Kept::Ready(link),
                rests_at: now + REST_AFTER_MS,
                ends_at,
            });
        }
    }

    /// Lets what has not been used for a while rest, and closes what has been idle for too long, was closed by the upstream, or leads to an
    /// endpoint that is in no set any more.
    pub(crate) fn sweep(&self, now: Millis, is_known: impl Fn(&SocketAddr) -> bool) {
        let mut pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|address, idle| {
            if !is_known(address) {
                return false;
            }
            let entries = std::mem::take(idle).into_iter();
            *idle = entries.filter_map(|entry| entry.swept(now)).collect();
            !idle.is_empty()
        });
    }

    /// Closes one that is counted there, to make room for another; whether there was one.
    pub(crate) fn close_one(&self, usage: &Usage) -> bool {
        let mut pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values_mut().any(|idle| {
            let counted = |entry: &Idle| usage.counts(entry.link.held());
            // The one that has been idle for the longest.
            let found = idle.iter().position(counted);
            found.map(|at| idle.remove(at)).is_some()
        })
    }

    /// How many of the idle ones rest.
    pub(crate) fn resting(&self) -> usize {
        let pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pools.values().flatten();
        idle.filter(|entry| matches!(entry.link, Kept::Resting(_)))
            .count()
    }

    /// How many are idle.
    pub(crate) fn len(&self) -> usize {
        let pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gateway_core::cluster::Instance;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::RequestBody;

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

    #[tokio::test]
    async fn a_link_rests_when_it_is_not_used_and_wakes_when_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pool = Pool::default();
        pool.give(address, link(&listener, 0).await, &BOUNDS, 0);
        let (mut upstream, _) = listener.accept().await.unwrap();
        pool.sweep(REST_AFTER_MS - 1, |_| true);
        assert_eq!((pool.len(), pool.resting()), (1, 0));
        for now in [REST_AFTER_MS, REST_AFTER_MS + 1] {
            pool.sweep(now, |_| true);
            assert_eq!((pool.len(), pool.resting()), (1, 1));
        }
        let woken = pool.take(address, REST_AFTER_MS).expect("it is open");
        assert!(woken.is_reused);
        let request = http::Request::get("/").header("host", "a");
        let request = request.body(RequestBody::Empty).unwrap();
        let answering = async {
            let mut head = [0; 64];
            let count = upstream.read(&mut head).await.unwrap();
            assert!(head[..count].starts_with(b"GET / HTTP/1.1\r\n"));
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            upstream.write_all(answer).await.unwrap();
        };
        let (reply, ()) = tokio::join!(woken.exchange(request, || false), answering);
        let reply = reply.unwrap_or_else(|_| panic!("it is answered"));
        assert_eq!(reply.response.status(), 204);
        assert!(reply.discard().is_some(), "and again");
    }

    #[tokio::test]
    async fn a_resting_link_that_is_not_silent_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (case, bytes) in [("closed", &b""[..]), ("unasked", b"HTTP/1.1 200 OK\r\n")] {
            let pool = Pool::default();
            pool.give(address, link(&listener, 0).await, &BOUNDS, 0);
            pool.sweep(REST_AFTER_MS, |_| true);
            assert_eq!(pool.resting(), 1, "{case}");
            let (mut upstream, _) = listener.accept().await.unwrap();
            upstream.write_all(bytes).await.unwrap();
            drop(upstream);
            while pool.len() > 0 {
                tokio::task::yield_now().await;
                pool.sweep(REST_AFTER_MS, |_| true);
            }
            assert!(pool.take(address, REST_AFTER_MS).is_none(), "{case}");
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
