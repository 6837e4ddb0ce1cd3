//! Where the file says what a plan has, for whoever asks why.

use serde::Serialize;

/// Lines of routes files, by the indices of the plan; `None` where no file says a thing itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origins {
    /// What the files are called, commonly their paths; the first one includes the others.
    pub files: Vec<Box<str>>,
    /// By the route's index.
    pub routes: Vec<Option<Line>>,
    /// By the cluster's index.
    pub upstreams: Vec<Option<Line>>,
    /// By the provider's index.
    pub jwt_providers: Vec<Option<Line>>,
    /// By the list's index.
    pub api_keys: Vec<Option<Line>>,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Which of the files, by its index in [`Origins::files`].
    pub file: u16,
    /// From 1.
    pub line: u32,
}

impl Origins {
    /// What the file that was asked for is called; empty where there is none.
    #[must_use]
    pub fn main(&self) -> &str {
        self.files.first().map_or("", |name| name)
    }

    /// What the file of a line is called.
    #[must_use]
    pub fn file(&self, line: Line) -> &str {
        let name = self.files.get(usize::from(line.file));
        name.map_or("", |name| name)
    }
}
