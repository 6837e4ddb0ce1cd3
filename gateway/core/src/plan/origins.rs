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

/// Where a file says a thing; nothing of both where no file does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WrittenAt {
    /// What the file is called.
    pub file: Option<Box<str>>,
    /// From 1.
    pub line: Option<u32>,
}

impl Origins {
    /// Where the route of an index is written.
    #[must_use]
    pub fn route(&self, index: usize) -> WrittenAt {
        self.written_at(&self.routes, index)
    }

    /// Where the cluster of an index is written.
    #[must_use]
    pub fn upstream(&self, index: usize) -> WrittenAt {
        self.written_at(&self.upstreams, index)
    }

    fn written_at(&self, lines: &[Option<Line>], index: usize) -> WrittenAt {
        let line = lines.get(index).copied().flatten();
        line.map_or_else(WrittenAt::default, |line| WrittenAt {
            file: Some(self.file(line).into()),
            line: Some(line.line),
        })
    }

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
