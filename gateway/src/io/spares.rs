//! Buffers that nobody uses just now.

use std::cell::RefCell;

use bytes::BytesMut;

/// Buffers of each kind that are kept. Few that are used again and again stay in the processor's
/// caches, one for each connection would not.
const SPARES_MAX: usize = 64;
/// A buffer for output that has grown beyond this is not kept. Those for input grow to twice what
/// is read at once, 256 KiB: so 20 MiB are kept at the most.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static OF_CLIENTS: RefCell<Spares> = const { RefCell::new(Spares::new()) };
}

/// Lends the spare buffers of the clients' connections that this thread serves.
pub(crate) fn with_spares<T>(with: impl FnOnce(&mut Spares) -> T) -> T {
    OF_CLIENTS.with_borrow_mut(with)
}

/// Spare buffers.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    inputs: Vec<BytesMut>,
    outputs: Vec<Vec<u8>>,
}

impl Spares {
    const fn new() -> Self {
        Self {
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The buffer used last, or one that has no room yet.
    pub(crate) fn take_input(&mut self) -> BytesMut {
        self.inputs.pop().unwrap_or_default()
    }

    pub(crate) fn give_input(&mut self, buffer: BytesMut) {
        debug_assert!(buffer.is_empty(), "what is in a buffer belongs to somebody");
        if self.inputs.len() < SPARES_MAX {
            self.inputs.push(buffer);
        }
    }

    /// The buffer used last, or one that has no room yet.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.outputs.pop().unwrap_or_default()
    }

    pub(crate) fn give_output(&mut self, buffer: Vec<u8>) {
        debug_assert!(buffer.is_empty(), "what is in a buffer belongs to somebody");
        if self.outputs.len() < SPARES_MAX && buffer.capacity() <= OUTPUT_BYTES_MAX {
            self.outputs.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_last_is_used_next_and_no_more_are_kept_than_the_bound() {
        let mut spares = Spares::default();
        for size in 1..=SPARES_MAX + 1 {
            spares.give_output(Vec::with_capacity(size));
            spares.give_input(BytesMut::with_capacity(size));
        }
        for size in (1..=SPARES_MAX).rev() {
            assert_eq!(spares.take_output().capacity(), size);
            assert_eq!(spares.take_input().capacity(), size);
        }
        assert_eq!(spares.take_output().capacity(), 0);
        assert_eq!(spares.take_input().capacity(), 0);
        spares.give_output(Vec::with_capacity(OUTPUT_BYTES_MAX + 1));
        assert_eq!(spares.take_output().capacity(), 0);
    }
}
