//! What has been read from a socket and not used yet.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes that are asked for first.
const READ_BYTES_MIN: usize = 8 * 1024;
/// Bytes that are asked for at most, in the middle of a large body.
const READ_BYTES_MAX: usize = 128 * 1024;

/// Bytes from a socket. What is taken of them shares their memory.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: BytesMut,
    /// How many are asked for next: more when the last ones filled the buffer.
    room: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            room: READ_BYTES_MIN,
        }
    }
}

impl Input {
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
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
        known: Option<u64>,
    ) -> Poll<io::Result<usize>> {
        let known = known.and_then(|known| usize::try_from(known).ok());
        let room = known.map_or(self.room, |known| {
            known.clamp(READ_BYTES_MIN, READ_BYTES_MAX)
        });
        if self.bytes.capacity() - self.bytes.len() < room {
            self.bytes.reserve(room);
        }
        let count = ready!(pin!(socket.read_buf(&mut self.bytes)).poll(context))?;
        if count >= self.room {
            self.room = (2 * self.room).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(count))
    }

    /// Whether there is room in memory for what comes, or has been.
    pub(crate) fn has_buffer(&self) -> bool {
        self.bytes.capacity() > 0
    }

    /// Whether the buffer has grown with a large body.
    pub(crate) fn has_grown(&self) -> bool {
        self.room > READ_BYTES_MIN
    }

    /// Takes the buffer of one that is empty; another may use it.
    pub(crate) fn take_buffer(&mut self) -> BytesMut {
        self.room = READ_BYTES_MIN;
        std::mem::take(&mut self.bytes)
    }

    /// Gives it one.
    pub(crate) fn set_buffer(&mut self, buffer: BytesMut) {
        self.bytes = buffer;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_buffer_grows_with_a_body_and_not_beyond_its_bound() {
        let mut context = Context::from_waker(Waker::noop());
        let body = vec![b'x'; 8 * READ_BYTES_MAX];
        let (mut socket, mut input) = (&*body, Input::default());
        while let Poll::Ready(Ok(1..)) = input.poll_read(&mut socket, &mut context, None) {
            let count = input.bytes().len();
            assert!(count <= 2 * READ_BYTES_MAX, "{count}");
            input.skip(count);
        }
        assert_eq!(input.room, READ_BYTES_MAX);
        assert!(input.has_grown());
        assert!(input.take_buffer().capacity() <= 2 * READ_BYTES_MAX);
        assert!(!input.has_grown());
    }
}
