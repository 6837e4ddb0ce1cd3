//! What is wrong with a file, all of it, and how it is shown.

use std::fmt;

use super::{Positions, Source};

/// Problems kept for one file; what comes after is only counted as "more".
pub const MAX_PROBLEMS: usize = 100;

/// Characters of a source line that a report shows.
const MAX_LINE_SHOWN: usize = 120;

/// Longest piece of a value in [`Problems::brief`], in characters; keys and tokens are longer.
const MAX_BRIEF_QUOTED: usize = 30;

/// A place in the file, counted in characters from 1, as editors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
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
}

/// Everything that is wrong with one file, sorted by position.
///
/// The same message at the same position is kept once, and no more than
/// [`MAX_PROBLEMS`] are kept. `Display` renders one block a problem.
#[derive(Clone, Debug)]
pub struct Problems {
    name: String,
    text: String,
    found: Vec<Problem>,
    more: bool,
}

impl Problems {
    /// No problems yet in this source.
    #[must_use]
    pub fn new(source: &Source<'_>) -> Self {
        Self {
            name: source.name.to_owned(),
            text: source.text.to_owned(),
            found: Vec::new(),
            more: false,
        }
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
        let path = path.into();
        self.push(Problem {
            position: positions.at(&path),
            path,
            message: message.into(),
            help,
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
            let line = problem.position.map(|at| format!("line {}: ", at.line));
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

    fn render(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        writeln!(f, "error: {}", Visible(&problem.message))?;
        let Some(position) = problem.position else {
            writeln!(f, "  --> {}{}", Visible(&self.name), Place(&problem.path))?;
            return render_help(f, 1, problem.help.iter().flat_map(|help| help.lines()));
        };
        let number = position.line.to_string();
        let margin = number.len();
        writeln!(
            f,
            "{:margin$}--> {}:{}:{}{}",
            "",
            Visible(&self.name),
            position.line,
            position.column,
            Place(&problem.path),
        )?;
        let line = self.line(position.line);
        let excerpt = Excerpt::of(line, position);
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{number} | {}", excerpt.text)?;
        write!(
            f,
            "{:margin$} | {:indent$}{:^<length$}",
            "",
            "",
            "",
            indent = excerpt.indent,
            length = excerpt.length,
        )?;
        let mut help = problem.help.as_deref().unwrap_or_default().lines();
        if let Some(first) = help.next() {
            write!(f, " {}", Visible(first))?;
        }
        writeln!(f)?;
        render_help(f, margin, help)
    }

    fn line(&self, number: u32) -> &str {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let line = self.text.split('\n').nth(index.saturating_sub(1));
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

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.found.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.render(f, problem)?;
        }
        if self.more {
            writeln!(f, "\nand more problems; mend these first")?;
        }
        Ok(())
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

fn render_help<'h>(
    f: &mut fmt::Formatter<'_>,
    margin: usize,
    lines: impl Iterator<Item = &'h str>,
) -> fmt::Result {
    for line in lines {
        writeln!(f, "{:margin$} = {}", "", Visible(line))?;
    }
    Ok(())
}

/// The part of a source line around a position, one column a character.
struct Excerpt {
    text: String,
    indent: usize,
    length: usize,
}

impl Excerpt {
    fn of(line: &str, position: Position) -> Self {
        let column = usize::try_from(position.column - position.column.min(1)).unwrap_or(0);
        let length = usize::try_from(position.length).unwrap_or(1);
        let skipped = if column < MAX_LINE_SHOWN {
            0
        } else {
            column - MAX_LINE_SHOWN / 2
        };
        let text: String = line
            .chars()
            .skip(skipped)
            .take(MAX_LINE_SHOWN)
            .map(one_column)
            .collect();
        let indent = column - skipped;
        let shown = text.chars().count();
        Self {
            length: length.min(shown.saturating_sub(indent)).max(1),
            text: text.trim_end().to_owned(),
            indent,
        }
    }
}

/// A file may hold anything: keep tabs from moving the underline, and control
/// characters from reaching the terminal.
fn one_column(character: char) -> char {
    match character {
        '\t' => ' ',
        character if hidden(character) => '\u{fffd}',
        character => character,
    }
}

/// Control characters, and those that reorder or hide the text around them.
fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if hidden(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                fmt::Write::write_char(f, character)?;
            }
        }
        Ok(())
    }
}

struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", Visible(self.0))
    }
}
