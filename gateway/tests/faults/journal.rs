//! What an upstream was asked to do: a file of its own, which outlives a SIGKILL.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// The writing end, in the upstream's process.
pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn open(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path);
        Self(file.expect("the suite's own folder"))
    }

    /// Notes a request as soon as its head has come, before anything is done about it.
    pub(crate) fn note(&self, method: &str, number: u64) {
        // One system call: a line is there or it is not.
        let line = format!("{method} {number}\n");
        (&self.0).write_all(line.as_bytes()).expect("a local file");
    }
}

/// What all upstreams of a scenario noted.
#[derive(Default)]
pub(crate) struct Notes {
    /// Requests that reached an upstream.
    pub(crate) tries: u64,
    posts: HashMap<u64, u32>,
}

impl Notes {
    pub(crate) fn read<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let mut notes = Self::default();
        for path in paths {
            let text = std::fs::read_to_string(path).expect("the suite's own file");
            for line in text.lines() {
                let (method, number) = line.split_once(' ').expect("as it was written");
                notes.tries += 1;
                if method == "POST" {
                    let number = number.parse().expect("as it was written");
                    *notes.posts.entry(number).or_default() += 1;
                }
            }
        }
        notes
    }

    /// Requests of a method that is not idempotent that reached upstreams more than once.
    pub(crate) fn sent_twice(&self) -> usize {
        self.posts.values().filter(|times| **times > 1).count()
    }
}
