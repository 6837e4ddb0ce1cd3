//! Buffers that nobody uses just now.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes that a buffer for heads and small bodies holds.
pub(super) const SMALL_BYTES: usize = 8 * 1024;
/// Bytes that one for large bodies holds.
pub(super) const LARGE_BYTES: usize = 128 * 1024;
/// Small buffers and buffers for output that are kept, of each so many. Few that are used again and
/// again stay in the processor's caches, one for each connection would not.
const SMALL_MAX: usize = 64;
/// Large buffers that are kept: 2 MiB of memory at the most.
const LARGE_MAX: usize = 16;
/// A buffer for output that has grown beyond this is not kept.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static SPARES: RefCell<Spares> = const { RefCell::new(Spares::new()) };
}

/// Lends the spare buffers of the connections that this thread serves.
pub(crate) fn with_spares<T>(with: impl FnOnce(&mut Spares) -> T) -> T {
    SPARES.with_borrow_mut(with)
}

/// Spare buffers.
#[derive(Debug)]
pub(crate) struct Spares {
    small: Vec<BytesMut>,
    large: Vec<BytesMut>,
    outputs: Vec<Vec<u8>>,
}

impl Spares {
    const fn new() -> Self {
        Self {
            small: Vec::new(),
            large: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// An empty buffer: the one of `size` bytes that was used last, or a new one. A large one is
    /// preferred where that does as well, if there is one.
    pub(super) fn take_input(&mut self, size: usize, or_large: bool) -> BytesMut {
        if or_large && let Some(large) = unused(&mut self.large, LARGE_BYTES) {
            return large;
        }
        let kept = self.stack(size).and_then(|stack| unused(stack, size));
        kept.unwrap_or_else(|| BytesMut::with_capacity(size))
    }

    /// Keeps a buffer that holds `size` bytes. What was taken of it may still be in use.
    pub(super) fn give_input(&mut self, buffer: BytesMut, size: usize) {
        debug_assert!(buffer.is_empty(), "what is in a buffer belongs to somebody");
        let bound = if size == LARGE_BYTES {
            LARGE_MAX
        } else {
            SMALL_MAX
        };
        if let Some(stack) = self.stack(size)
            && stack.len() < bound
        {
            stack.push(buffer);
        }
    }

    /// Where buffers of this size are kept, if any are.
    fn stack(&mut self, size: usize) -> Option<&mut Vec<BytesMut>> {
        match size {
            SMALL_BYTES => Some(&mut self.small),
            LARGE_BYTES => Some(&mut self.large),
            _ => None,
        }
    }

    /// The buffer used last, or one that has no room yet.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.outputs.pop().unwrap_or_default()
    }

    pub(crate) fn give_output(&mut self, buffer: Vec<u8>) {
        debug_assert!(buffer.is_empty(), "what is in a buffer belongs to somebody");
        if self.outputs.len() < SMALL_MAX && buffer.capacity() <= OUTPUT_BYTES_MAX {
            self.outputs.push(buffer);
        }
    }
}

/// The last of which nothing is in use. Those behind it are left to who uses them: whoever waits for
/// a slow client would not be done with them soon.
fn unused(stack: &mut Vec<BytesMut>, size: usize) -> Option<BytesMut> {
    while let Some(mut buffer) = stack.pop() {
        if buffer.try_reclaim(size) {
            return Some(buffer);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_last_is_used_next_and_no_more_are_kept_than_the_bound() {
        let mut spares = Spares::new();
        for size in 1..=SMALL_MAX + 1 {
            spares.give_output(Vec::with_capacity(size));
        }
        for size in (1..=SMALL_MAX).rev() {
            assert_eq!(spares.take_output().capacity(), size);
        }
        assert_eq!(spares.take_output().capacity(), 0);
        spares.give_output(Vec::with_capacity(OUTPUT_BYTES_MAX + 1));
        assert_eq!(spares.take_output().capacity(), 0);

        for (size, bound) in [(SMALL_BYTES, SMALL_MAX), (LARGE_BYTES, LARGE_MAX)] {
            let buffers: Vec<_> = (0..=bound).map(|_| BytesMut::with_capacity(size)).collect();
            let addresses: Vec<_> = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
            for buffer in buffers {
                spares.give_input(buffer, size);
            }
            assert_eq!(spares.stack(size).unwrap().len(), bound);
            for address in addresses.iter().take(bound).rev() {
                assert_eq!(spares.take_input(size, false).as_ptr(), *address);
            }
            assert_eq!(spares.take_input(size, false).capacity(), size);
        }
    }

    #[test]
    fn what_is_still_in_use_is_not_given_to_anybody() {
        let mut spares = Spares::new();
        let mut buffer = BytesMut::with_capacity(LARGE_BYTES);
        buffer.extend_from_slice(b"in use");
        let taken = buffer.split().freeze();
        spares.give_input(buffer, LARGE_BYTES);
        let mut other = spares.take_input(LARGE_BYTES, true);
        other.extend_from_slice(b"others");
        assert_eq!(&*taken, b"in use");
    }

    #[test]
    fn other_sizes_are_not_kept() {
        let mut spares = Spares::new();
        let between = 2 * SMALL_BYTES;
        spares.give_input(BytesMut::with_capacity(between), between);
        assert!(spares.small.is_empty() && spares.large.is_empty());
        assert_eq!(spares.take_input(between, true).capacity(), between);
    }
}
