//! What is wrong with a file, all of it; how it is shown is in `render.rs`.

use std::sync::Arc;

use super::render::Visible;
use super::{Positions, Source};

/// Problems kept for one file; what comes after is only counted as "more".
pub const MAX_PROBLEMS: usize = 100;

/// Longest piece of a value in [`Problems::brief`], in characters; keys and tokens are longer.
const MAX_BRIEF_QUOTED: usize = 30;

/// A place in a file, counted in characters from 1, as editors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which of the files, by [`Problems::file_name`]: 0 for the one that names the others.
    pub file: u16,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// Characters to underline, at least 1; cut at the end of the line.
    pub length: u32,
}

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, when the problem has a place in the file.
    pub position: Option<Position>,
    /// Which value, such as `routes[3].retries`; empty at the top level.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do. The first line is shown beside the underline, the others
    /// below the source line.
    pub help: Option<String>,
    /// The code of a warning, such as `unused-upstream`; `None` for an error.
    pub warning: Option<&'static str>,
}

/// Everything that is wrong with one file and those that it includes, sorted by position.
///
/// The same message at the same position is kept once, and no more than
/// [`MAX_PROBLEMS`] are kept. `Display` renders one block a problem.
#[derive(Clone, Debug)]
pub struct Problems {
    /// By the number that positions have; never empty.
    files: Vec<Arc<File>>,
    pub(super) found: Vec<Problem>,
    pub(super) more: bool,
}

/// A file that positions lead to.
#[derive(Debug)]
struct File {
    name: String,
    text: String,
}

impl File {
    fn of(source: &Source<'_>) -> Arc<Self> {
        Arc::new(Self {
            name: source.name.to_owned(),
            text: source.text.to_owned(),
        })
    }
}

impl Problems {
    /// No problems yet in this source.
    #[must_use]
    pub fn new(source: &Source<'_>) -> Self {
        Self {
            files: vec![File::of(source)],
            found: Vec::new(),
            more: false,
        }
    }

    /// The same source without any problem.
    #[must_use]
    pub fn emptied(mut self) -> Self {
        self.found.clear();
        self.more = false;
        self
    }

    /// What reports call the file that a problem is in.
    #[must_use]
    pub fn name_of(&self, problem: &Problem) -> &str {
        self.file_name(problem.position.map_or(0, |position| position.file))
    }

    /// What reports call the file with this number, as a [`Position`] has it.
    #[must_use]
    pub fn file_name(&self, file: u16) -> &str {
        let file = self.files.get(usize::from(file));
        file.map_or("", |file| &file.name)
    }

    /// What reports call all of the files, in the order of their numbers.
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// Adds another file that positions may lead to; returns its number.
    pub(super) fn add_file(&mut self, source: &Source<'_>) -> u16 {
        self.files.push(File::of(source));
        u16::try_from(self.files.len() - 1).unwrap_or(u16::MAX)
    }

    /// `routes.yaml:12`, for messages that name a second place.
    pub(super) fn shown_place(&self, position: Position) -> String {
        format!("{}:{}", self.file_name(position.file), position.line)
    }

    /// Adds a problem with the value at `path`.
    ///
    /// A path that the file does not have is shown at the nearest enclosing
    /// one, so `routes[3].auth` may name what is absent.
    pub fn add(
        &mut self,
        positions: &Positions,
        path: impl Into<String>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.place(positions, path.into(), message.into(), help, None);
    }

    /// Adds what is legal but odd, under a stable code. See [`Problems::add`].
    pub fn warn(
        &mut self,
        code: &'static str,
        positions: &Positions,
        path: impl Into<String>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.place(positions, path.into(), message.into(), help, Some(code));
    }

    fn place(
        &mut self,
        positions: &Positions,
        path: String,
        message: String,
        help: Option<String>,
        warning: Option<&'static str>,
    ) {
        self.push(Problem {
            position: positions.at(&path),
            path,
            message,
            help,
            warning,
        });
    }

    /// Adds a problem whose position is known already.
    pub fn push(&mut self, problem: Problem) {
        let twin = |other: &Problem| {
            other.position == problem.position
                && other.message == problem.message
                && (other.position.is_some() || other.path == problem.path)
        };
        if self.found.iter().any(twin) {
            return;
        }
        if self.found.len() == MAX_PROBLEMS {
            self.more = true;
            return;
        }
        let before = |other: &Problem| other.position <= problem.position;
        let index = self.found.partition_point(before);
        self.found.insert(index, problem);
    }

    /// Says that the search stopped early.
    pub(super) fn mark_more(&mut self) {
        self.more = true;
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many problems are kept, at most [`MAX_PROBLEMS`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there were more problems than are kept.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.found.iter()
    }

    /// `Ok` when nothing is wrong.
    ///
    /// # Errors
    /// The problems themselves, when there are any.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The first `count` problems on one line, and how many more there are: for a log.
    ///
    /// The file's own text is left out, long quotations included: it may hold a secret.
    #[must_use]
    pub fn brief(&self, count: usize) -> String {
        let told = self.found.iter().take(count).map(|problem| {
            let line = problem.position.map(|at| match at.file {
                0 => format!("line {}: ", at.line),
                file => format!("{}, line {}: ", Visible(self.file_name(file)), at.line),
            });
            let path = match problem.path.as_str() {
                "" => "",
                path => &format!("{}: ", Visible(path)),
            };
            let message = without_long_quotes(&problem.message);
            format!("{}{path}{}", line.unwrap_or_default(), Visible(&message))
        });
        let told: Vec<_> = told.collect();
        let rest = self.found.len() - told.len();
        let rest = match (rest, self.more) {
            (0, false) => String::new(),
            (0, true) => "; and more".into(),
            (rest, false) => format!("; and {rest} more"),
            (rest, true) => format!("; and more than {rest} more"),
        };
        told.join("; ") + &rest
    }

    /// The text of the line that a position is in.
    pub(super) fn line(&self, position: Position) -> &str {
        let index = usize::try_from(position.line).unwrap_or(usize::MAX);
        let file = self.files.get(usize::from(position.file));
        let text = file.map_or("", |file| &file.text);
        let line = text.split('\n').nth(index.saturating_sub(1));
        let line = line.unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.strip_prefix('\u{feff}').unwrap_or(line)
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Problems {}

/// What stands in backticks, unless it is long.
fn without_long_quotes(message: &str) -> String {
    let pieces = message.split('`').enumerate();
    let pieces: Vec<_> = pieces
        .map(|(index, piece)| match index % 2 {
            1 if piece.chars().count() > MAX_BRIEF_QUOTED => "…",
            _ => piece,
        })
        .collect();
    pieces.join("`")
}
