//! The parts of a path that parameters captured.

use std::fmt;

/// Parameters that one pattern can have, its `{rest...}` included.
pub const MAX_PARAMS: usize = 8;

/// Captured texts on the way through the trie, without names yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Captures<'a> {
    values: [&'a str; MAX_PARAMS],
    len: usize,
}

impl<'a> Captures<'a> {
    /// No pattern in a trie is longer than [`MAX_PARAMS`], checked as it is built.
    pub(super) fn push(&mut self, value: &'a str) {
        self.values[self.len] = value;
        self.len += 1;
    }

    pub(super) fn pop(&mut self) {
        self.len -= 1;
    }
}

/// The parameters of the route that was found, in the order of its pattern.
///
/// Values are as in [`CleanPath::matching`](crate::path::CleanPath::matching),
/// so other escapes (`%20`) are still in them. Only `{rest...}` can be empty.
#[derive(Clone, Copy)]
pub struct Params<'a> {
    names: &'a [Box<str>],
    captures: Captures<'a>,
}

impl<'a> Params<'a> {
    pub(super) fn new(names: &'a [Box<str>], captures: Captures<'a>) -> Self {
        Self { names, captures }
    }

    /// The value of one parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let values = self.captures.values;
        self.names
            .iter()
            .map(AsRef::as_ref)
            .zip(values)
            .take(self.captures.len)
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
