//! `bench relay`: the floor under every proxy.
//!
//! Each client connection gets an upstream connection of its own, and bytes go from one to the
//! other as they come: one `recv` and one `send` a direction, one `epoll_wait` for all that is
//! ready. Nothing is parsed, so nothing that speaks HTTP between two keep-alive connections can
//! be cheaper on sockets. One thread, no allocation but for a peer that does not read.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

use crate::cli::RelayArgs;

/// Bytes carried at once; a whole answer of 100 KB takes two turns.
const BUFFER_BYTES: usize = 64 << 10;

/// Events taken from the kernel at once.
const EVENTS: usize = 512;

/// Client connections; more are closed as they come.
const MAX_PAIRS: usize = 16_384;

/// The event of the listener; the others are two for each pair.
const LISTENER: u64 = u64::MAX;

/// Relays until it is ended by a signal. Returns only when it cannot begin or go on.
///
/// # Errors
/// When the file is not understood, or the operating system refuses a socket.
pub(crate) fn run(arguments: &RelayArgs) -> anyhow::Result<()> {
    let settings = Settings::read(&arguments.config)?;
    let listener = TcpListener::bind(settings.listen)
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    Ok(Relay::new(listener, settings.upstreams)?.serve()?)
}

/// Where it stands.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    listen: SocketAddr,
    upstreams: Vec<SocketAddr>,
}

impl Settings {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut listen = None;
        let mut upstreams = Vec::new();
        for line in text.lines().map(str::trim) {
            match line.split_once(' ') {
                None if line.is_empty() => {}
                Some(("#", _)) => {}
                Some(("listen", address)) => listen = Some(address.parse()?),
                Some(("upstream", address)) => upstreams.push(address.parse()?),
                _ => bail!("`{line}` is neither `listen ADDRESS` nor `upstream ADDRESS`"),
            }
        }
        let listen = listen.context("a line `listen ADDRESS` is missing")?;
        if upstreams.is_empty() {
            bail!("a line `upstream ADDRESS` is missing");
        }
        Ok(Self { listen, upstreams })
    }
}

struct Relay {
    epoll: OwnedFd,
    listener: TcpListener,
    upstreams: Vec<SocketAddr>,
    /// How many connections were taken, for the next one's upstream.
    taken: usize,
    pairs: Vec<Option<Pair>>,
    buffer: Box<[u8]>,
}

/// A client's connection and its own to the upstream, in this order.
struct Pair {
    sides: [Side; 2],
}

struct Side {
    stream: TcpStream,
    /// What it did not take yet; until then the other side is not read.
    unsent: Vec<u8>,
}

impl Relay {
    fn new(listener: TcpListener, upstreams: Vec<SocketAddr>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let data = EventData::new_u64(LISTENER);
        epoll::add(&epoll, &listener, data, EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            upstreams,
            taken: 0,
            pairs: Vec::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            ) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            for event in &events {
                let data = event.data;
                self.handle(data.u64(), event.flags);
            }
        }
    }

    fn handle(&mut self, token: u64, flags: EventFlags) {
        if token == LISTENER {
            // What one client's connection fails of is that client's business.
            let _ = self.accept();
            return;
        }
        let Ok(token) = usize::try_from(token) else {
            return;
        };
        let (index, side) = (token / 2, token % 2);
        // An event may be left of a pair that ended in this same turn.
        let Some(Some(pair)) = self.pairs.get_mut(index) else {
            return;
        };
        let mut carried = Ok(());
        if flags.contains(EventFlags::OUT) {
            carried = pair.send_rest(&self.epoll, index, side);
        }
        if carried.is_ok() && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            carried = pair.carry(&self.epoll, index, side, &mut self.buffer);
        }
        if carried.is_err() {
            // Closing the sockets takes them out of the epoll.
            self.pairs[index] = None;
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (client, _) = match self.listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                other => other?,
            };
            let Some(index) = self.free_slot() else {
                continue;
            };
            let upstream = TcpStream::connect(self.upstreams[self.taken % self.upstreams.len()])?;
            self.taken += 1;
            let pair = Pair {
                sides: [client, upstream].map(|stream| Side {
                    stream,
                    unsent: Vec::new(),
                }),
            };
            for (nth, side) in pair.sides.iter().enumerate() {
                side.stream.set_nonblocking(true)?;
                side.stream.set_nodelay(true)?;
                epoll::add(&self.epoll, &side.stream, token(index, nth), EventFlags::IN)?;
            }
            self.pairs[index] = Some(pair);
        }
    }

    fn free_slot(&mut self) -> Option<usize> {
        if let Some(index) = self.pairs.iter().position(Option::is_none) {
            return Some(index);
        }
        if self.pairs.len() == MAX_PAIRS {
            return None;
        }
        self.pairs.push(None);
        Some(self.pairs.len() - 1)
    }
}

impl Pair {
    /// Takes what `from` has and gives it to the other side.
    fn carry(
        &mut self,
        epoll: &OwnedFd,
        index: usize,
        from: usize,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let to = 1 - from;
        if !self.sides[to].unsent.is_empty() {
            return Ok(());
        }
        let received = match (&self.sides[from].stream).read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            other => other?,
        };
        let sent = send(&self.sides[to].stream, &buffer[..received])?;
        if sent < received {
            self.sides[to]
                .unsent
                .extend_from_slice(&buffer[sent..received]);
            self.watch(epoll, index)?;
        }
        Ok(())
    }

    /// Gives `to` what it did not take before.
    fn send_rest(&mut self, epoll: &OwnedFd, index: usize, to: usize) -> io::Result<()> {
        let side = &mut self.sides[to];
        let sent = send(&side.stream, &side.unsent)?;
        side.unsent.drain(..sent);
        if side.unsent.is_empty() {
            self.watch(epoll, index)?;
        }
        Ok(())
    }

    /// Asks for what each side can go on with now.
    fn watch(&self, epoll: &OwnedFd, index: usize) -> io::Result<()> {
        for (nth, side) in self.sides.iter().enumerate() {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, self.sides[1 - nth].unsent.is_empty());
            flags.set(EventFlags::OUT, !side.unsent.is_empty());
            epoll::modify(epoll, &side.stream, token(index, nth), flags)?;
        }
        Ok(())
    }
}

/// How much of `bytes` the socket takes now.
fn send(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

fn token(index: usize, side: usize) -> EventData {
    EventData::new_u64((index * 2 + side) as u64)
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::thread;

    use super::*;

    #[test]
    fn settings_need_both_addresses_and_know_nothing_else() {
        let settings = Settings::parse(
            "# why\nlisten 127.0.0.1:1\nupstream 127.0.0.1:2\nupstream 127.0.1.1:3\n",
        )
        .unwrap();
        assert_eq!(settings.listen.port(), 1);
        assert_eq!(settings.upstreams.len(), 2);
        for text in [
            "",
            "listen 127.0.0.1:1",
            "upstream 127.0.0.1:2",
            "listen a",
            "other 1",
        ] {
            assert!(Settings::parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn bytes_arrive_whole_when_the_other_side_reads_late() {
        const BYTES: usize = 16 << 20;
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Relay::new(listener, vec![upstream.local_addr().unwrap()]).unwrap();
        // Ends with the test's process.
        thread::spawn(move || relay.serve());
        let answering = thread::spawn(move || {
            let (mut stream, _) = upstream.accept().unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            let body: Vec<u8> = (0..251).cycle().take(BYTES).collect();
            stream.write_all(&body).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            // Until the relay has gone.
            let _ = stream.read(&mut byte);
        });
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"?").unwrap();
        let mut body = vec![0; BYTES];
        client.read_exact(&mut body).unwrap();
        assert!(body.into_iter().eq((0..251).cycle().take(BYTES)));
        drop(client);
        answering.join().unwrap();
    }
}
