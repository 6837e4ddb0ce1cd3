//! What waits to be written to a socket: small pieces together, large ones as they are.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

/// Pieces up to this size are copied behind what waits already: cheaper than a vector of two.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// Bytes on their way to a socket, in the order in which they go.
#[derive(Debug, Default)]
pub(crate) struct Output {
    small: Vec<u8>,
    /// Of `small`, what has gone already.
    sent: usize,
    /// A piece that is not worth a copy.
    large: Bytes,
    /// What ends the large piece, such as a line end behind a chunk.
    tail: &'static [u8],
}

impl Output {
    /// Where small things are written to; not while it [is full](Output::is_full).
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        debug_assert!(!self.is_full(), "a large piece is the last one");
        &mut self.small
    }

    /// Adds a piece and what ends it; not while it [is full](Output::is_full).
    pub(crate) fn push(&mut self, piece: Bytes, tail: &'static [u8]) {
        debug_assert!(!self.is_full(), "there is room for one large piece");
        if self.small.len() + piece.len() <= COPIED_BYTES_MAX {
            self.small.extend_from_slice(&piece);
            self.small.extend_from_slice(tail);
        } else {
            self.large = piece;
            self.tail = tail;
        }
    }

    /// Adds a piece of a body as a chunk (RFC 9112 section 7.1); not while it [is
    /// full](Output::is_full).
    pub(crate) fn push_chunk(&mut self, piece: Bytes) {
        // An empty chunk would be the last one.
        if !piece.is_empty() {
            write!(self.small, "{:x}\r\n", piece.len()).expect("a vector takes everything");
            self.push(piece, b"\r\n");
        }
    }

    /// Adds the end of a body that goes in chunks; not while it [is full](Output::is_full).
    pub(crate) fn end_chunks(&mut self) {
        self.small.extend_from_slice(b"0\r\n\r\n");
    }

    /// Whether all has gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && self.tail.is_empty()
    }

    /// Whether no more may be added before something has gone.
    pub(crate) fn is_full(&self) -> bool {
        self.small.len() >= COPIED_BYTES_MAX || !self.large.is_empty() || !self.tail.is_empty()
    }

    /// Takes the buffer of one that is empty.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.small)
    }

    /// Gives it one.
    pub(crate) fn set_buffer(&mut self, buffer: Vec<u8>) {
        self.small = buffer;
    }

    /// Writes until all has gone: how many bytes that were.
    ///
    /// # Errors
    /// The socket takes nothing more.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
        written: &mut u64,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let socket = Pin::new(&mut *socket);
            let small = &self.small[self.sent..];
            let count = if self.large.is_empty() && self.tail.is_empty() {
                ready!(socket.poll_write(context, small))?
            } else {
                let slices = [small, &self.large, self.tail].map(IoSlice::new);
                ready!(socket.poll_write_vectored(context, &slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count as u64;
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, count: usize) {
        let small = count.min(self.small.len() - self.sent);
        self.sent += small;
        if self.sent == self.small.len() {
            self.small.clear();
            self.sent = 0;
        }
        let large = (count - small).min(self.large.len());
        self.large.advance(large);
        if self.large.is_empty() {
            // Gives back what it was cut from.
            self.large = Bytes::new();
            self.tail = &self.tail[count - small - large..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes a time, then is not ready once.
    struct Narrow {
        taken: Vec<u8>,
        at_a_time: usize,
        is_ready: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.is_ready = !self.is_ready;
            if self.is_ready {
                return Poll::Pending;
            }
            let count = bytes.len().min(self.at_a_time);
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn pieces_leave_whole_and_in_order_however_little_the_socket_takes() {
        let large = Bytes::from(vec![b'x'; COPIED_BYTES_MAX + 1]);
        for at_a_time in [1, 2, 3, 7, 1 << 20] {
            let mut socket = Narrow {
                taken: Vec::new(),
                at_a_time,
                is_ready: false,
            };
            let mut output = Output::default();
            output.buffer().extend_from_slice(b"head;");
            output.push(Bytes::from_static(b"small"), b".");
            assert!(!output.is_full());
            output.push(large.clone(), b"\r\n");
            assert!(output.is_full());
            let mut context = Context::from_waker(Waker::noop());
            let mut written = 0;
            while output
                .poll_write(&mut socket, &mut context, &mut written)
                .is_pending()
            {}
            let expected = [b"head;small.", &*large, b"\r\n"].concat();
            assert!(socket.taken == expected, "{at_a_time}");
            assert_eq!(written, expected.len() as u64);
            assert!(output.is_empty() && !output.is_full());
        }
    }
}
