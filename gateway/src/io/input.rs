//! What has been read from a socket and not used yet.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;

use super::spares::{LARGE_BYTES, SMALL_BYTES, Spares, with_spares};

/// Where nobody knows how much comes, a smaller rest of a buffer is not read into.
const ROOM_MIN: usize = 2 * 1024;

/// What is read from: it tells that something has come before there is a buffer for it.
pub(crate) trait Socket: AsyncRead + Unpin {
    /// Waits for bytes, for the end of them, or for what is wrong.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()>;
}

impl Socket for TcpStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        // What is wrong is met by reading.
        self.poll_read_ready(context).map(drop)
    }
}

/// Bytes from a socket. What is taken of them shares their memory.
///
/// While nothing comes there is no buffer: it goes to whoever reads next, and is in the processor's
/// cache there.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: BytesMut,
    /// How many bytes its memory holds, of which those that were taken may still be in use; 0 where
    /// there is none.
    size: usize,
    /// The size of the next buffer, where nobody knows how much comes: more when the last bytes
    /// filled theirs.
    wanted: usize,
    /// Whether a large buffer does as well: nothing of it is in use for long.
    is_brief: bool,
}

impl Input {
    /// `is_brief` says that what is taken will be dropped before anything is waited for.
    pub(crate) fn new(is_brief: bool) -> Self {
        Self {
            bytes: BytesMut::new(),
            size: 0,
            wanted: SMALL_BYTES,
            is_brief,
        }
    }

    /// What has come and is not used.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the first of them.
    pub(crate) fn take(&mut self, count: usize) -> Bytes {
        self.bytes.split_to(count).freeze()
    }

    /// Throws the first of them away.
    pub(crate) fn skip(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    /// Reads once: how many bytes came, none at the end of the stream. `known` is how many are
    /// sure to come.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn poll_read<S: Socket>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
        known: Option<u64>,
    ) -> Poll<io::Result<usize>> {
        if self.size == 0 {
            ready!(socket.poll_readable(context));
        }
        self.make_room(known);
        let room = self.bytes.capacity() - self.bytes.len();
        let read = pin!(socket.read_buf(&mut self.bytes)).poll(context);
        match read {
            Poll::Pending if self.bytes.is_empty() && self.bytes.try_reclaim(self.size) => {
                with_spares(|spares| self.give_back(spares));
            }
            Poll::Ready(Ok(count)) if count == room => {
                self.wanted = (2 * self.size).min(LARGE_BYTES);
            }
            Poll::Pending | Poll::Ready(_) => {}
        }
        read
    }

    fn make_room(&mut self, known: Option<u64>) {
        let known = known.map(|known| usize::try_from(known).unwrap_or(usize::MAX));
        let wanted = known.map_or(self.wanted, |known| {
            known.clamp(SMALL_BYTES, LARGE_BYTES).next_power_of_two()
        });
        let unused = self.bytes.len();
        if unused == 0 {
            if self.size >= wanted && self.bytes.try_reclaim(self.size) {
                return;
            }
            // Something of it is in use. A new buffer for every few bytes that come would be a lot of
            // memory for what is taken of them.
            let enough = known.map_or(ROOM_MIN, |known| known.min(SMALL_BYTES));
            if self.bytes.capacity() < enough {
                self.bytes = with_spares(|spares| {
                    self.give_back(spares);
                    spares.take_input(wanted, self.is_brief)
                });
                self.size = self.bytes.capacity();
            }
        } else if self.bytes.capacity() - unused < ROOM_MIN && !self.bytes.try_reclaim(ROOM_MIN) {
            let size = (unused + SMALL_BYTES).next_power_of_two().max(wanted);
            let mut larger = BytesMut::with_capacity(size);
            larger.extend_from_slice(&self.bytes);
            (self.bytes, self.size) = (larger, size);
        }
    }

    fn give_back(&mut self, spares: &mut Spares) {
        let bytes = std::mem::take(&mut self.bytes);
        spares.give_input(bytes, std::mem::take(&mut self.size));
    }

    /// A message has ended, and nothing has come of the next one: gives the buffer back.
    pub(crate) fn rest(&mut self, spares: &mut Spares) {
        self.give_back(spares);
        self.wanted = SMALL_BYTES;
    }

    #[cfg(test)]
    pub(super) fn has_buffer(&self) -> bool {
        self.size > 0
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Waker;

    use tokio::io::ReadBuf;

    use super::*;

    /// Brings so many bytes a time, then nothing once.
    struct Trickle {
        left: usize,
        at_a_time: usize,
        is_ready: bool,
    }

    impl AsyncRead for Trickle {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.is_ready = !self.is_ready;
            if self.is_ready && self.left > 0 {
                return Poll::Pending;
            }
            let count = self.left.min(self.at_a_time).min(buffer.remaining());
            buffer.put_slice(&vec![b'x'; count]);
            self.left -= count;
            Poll::Ready(Ok(()))
        }
    }

    impl Socket for Trickle {
        /// It is only known by reading.
        fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    impl Socket for &[u8] {
        fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    fn noop() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn a_buffer_grows_with_a_body_and_not_beyond_its_bound() {
        let body = vec![b'x'; 8 * LARGE_BYTES];
        let (mut socket, mut input) = (&*body, Input::new(false));
        let mut most = 0;
        while let Poll::Ready(Ok(1..)) = input.poll_read(&mut socket, &mut noop(), None) {
            let count = input.bytes().len();
            most = most.max(count);
            input.skip(count);
        }
        assert_eq!(most, LARGE_BYTES);
        with_spares(|spares| input.rest(spares));
        assert!(!input.has_buffer());
        assert_eq!(input.wanted, SMALL_BYTES);
    }

    #[test]
    fn a_body_of_known_length_gets_the_room_that_it_needs() {
        for (known, size) in [
            (1, SMALL_BYTES),
            (SMALL_BYTES as u64 + 1, 2 * SMALL_BYTES),
            (100_000, LARGE_BYTES),
            (u64::MAX, LARGE_BYTES),
        ] {
            let mut input = Input::new(false);
            let read = input.poll_read(&mut &[b'x'; 1][..], &mut noop(), Some(known));
            assert!(matches!(read, Poll::Ready(Ok(1))), "{known}");
            assert_eq!(input.size, size, "{known}");
        }
    }

    #[test]
    fn who_waits_has_no_buffer_and_who_reads_next_has_his() {
        let socket = |at_a_time| Trickle {
            left: 10,
            at_a_time,
            is_ready: false,
        };
        let (mut first, mut second) = (socket(10), socket(10));
        let (mut one, mut other) = (Input::new(false), Input::new(false));
        assert!(one.poll_read(&mut first, &mut noop(), None).is_pending());
        assert!(other.poll_read(&mut second, &mut noop(), None).is_pending());
        assert!(!one.has_buffer() && !other.has_buffer());
        assert!(one.poll_read(&mut first, &mut noop(), None).is_ready());
        let memory = one.bytes().as_ptr();
        one.skip(10);
        with_spares(|spares| one.rest(spares));
        assert!(other.poll_read(&mut second, &mut noop(), None).is_ready());
        assert_eq!(other.bytes().as_ptr(), memory);
    }

    #[test]
    fn an_answer_comes_into_a_large_buffer_where_there_is_one() {
        for is_brief in [false, true] {
            let buffer = BytesMut::with_capacity(LARGE_BYTES);
            with_spares(|spares| spares.give_input(buffer, LARGE_BYTES));
            let mut input = Input::new(is_brief);
            let _one = input.poll_read(&mut &[b'x'; 1][..], &mut noop(), None);
            let expected = if is_brief { LARGE_BYTES } else { SMALL_BYTES };
            assert_eq!(input.size, expected);
        }
    }

    #[test]
    fn pieces_in_use_that_come_one_by_one_share_their_memory() {
        for is_brief in [false, true] {
            let mut socket = Trickle {
                left: 1000,
                at_a_time: 1,
                is_ready: false,
            };
            let (mut input, mut pieces) = (Input::new(is_brief), Vec::new());
            while pieces.len() < 1000 {
                match input.poll_read(&mut socket, &mut noop(), None) {
                    Poll::Pending => {}
                    Poll::Ready(read) => pieces.push(input.take(read.unwrap())),
                }
            }
            let first = pieces[0].as_ptr();
            for (at, piece) in pieces.iter().enumerate() {
                assert_eq!(piece.as_ptr(), first.wrapping_add(at));
            }
        }
    }

    #[test]
    fn what_is_not_used_yet_stays_while_more_comes() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        for taken in [0, 1, 5000, SMALL_BYTES - 1] {
            let (mut socket, mut input) = (&*bytes, Input::new(false));
            let _first = input.poll_read(&mut socket, &mut noop(), None);
            let held = input.take(taken);
            while let Poll::Ready(Ok(1..)) = input.poll_read(&mut socket, &mut noop(), None) {}
            assert!(*held == bytes[..taken] && *input.bytes() == bytes[taken..]);
        }
    }
}
