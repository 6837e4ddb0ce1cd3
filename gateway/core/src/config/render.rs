//! How problems are shown: in the manner of rustc, for people.

use std::fmt;

use super::problem::{Position, Problem, Problems};

/// Characters of a source line that a report shows.
const MAX_LINE_SHOWN: usize = 120;

/// Escape sequences around the parts of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    error: &'static str,
    warning: &'static str,
    frame: &'static str,
    strong: &'static str,
    end: &'static str,
}

impl Palette {
    /// No colours: for files, pipes and logs.
    pub const PLAIN: Self = Self {
        error: "",
        warning: "",
        frame: "",
        strong: "",
        end: "",
    };
    /// The colours of rustc, by their ANSI numbers (ECMA-48 section 8.3.117): a terminal's own
    /// settings say what they look like.
    pub const ANSI: Self = Self {
        error: "\u{1b}[1;31m",
        warning: "\u{1b}[1;33m",
        frame: "\u{1b}[1;34m",
        strong: "\u{1b}[1m",
        end: "\u{1b}[0m",
    };
}

/// Problems in certain colours; see [`Problems::shown`].
#[derive(Clone, Copy, Debug)]
pub struct Shown<'p> {
    problems: &'p Problems,
    palette: Palette,
}

impl Problems {
    /// The problems in these colours, one block a problem. `Display` of the problems themselves
    /// has none.
    #[must_use]
    pub fn shown(&self, palette: Palette) -> Shown<'_> {
        Shown {
            problems: self,
            palette,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown(Palette::PLAIN).fmt(f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.found.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.render(f, problem)?;
        }
        if self.problems.more {
            writeln!(f, "\nand more problems; mend these first")?;
        }
        Ok(())
    }
}

impl Shown<'_> {
    fn render(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        let Palette { strong, end, .. } = self.palette;
        let colour = self.head(f, problem)?;
        writeln!(f, "{strong}: {}{end}", Visible(&problem.message))?;
        let help = problem.help.iter().flat_map(|help| help.lines());
        let place = Place(&problem.path);
        if let Some(position) = problem.position {
            return self.excerpt(f, position, place, colour, help);
        }
        writeln!(f, "  --> {}{place}", Visible(self.problems.file_name(0)))?;
        self.help(f, 1, help)
    }

    /// What kind of problem it is; returns the colour of its kind.
    fn head(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> Result<&str, fmt::Error> {
        let Palette {
            error,
            warning,
            end,
            ..
        } = self.palette;
        match problem.warning {
            None => write!(f, "{error}error{end}")?,
            Some(code) => write!(f, "{warning}warning[{code}]{end}")?,
        }
        Ok(if problem.warning.is_some() {
            warning
        } else {
            error
        })
    }

    fn excerpt<'h>(
        &self,
        f: &mut fmt::Formatter<'_>,
        position: Position,
        place: Place<'_>,
        colour: &str,
        mut help: impl Iterator<Item = &'h str>,
    ) -> fmt::Result {
        let Palette { frame, end, .. } = self.palette;
        let number = position.line.to_string();
        let margin = number.len();
        let (line, column) = (position.line, position.column);
        let name = Visible(self.problems.file_name(position.file));
        writeln!(
            f,
            "{:margin$}{frame}-->{end} {name}:{line}:{column}{place}",
            ""
        )?;
        let excerpt = Excerpt::of(self.problems.line(position), position);
        writeln!(f, "{:margin$} {frame}|{end}", "")?;
        writeln!(f, "{frame}{number} |{end} {}", excerpt.text)?;
        write!(
            f,
            "{:margin$} {frame}|{end} {:indent$}{colour}{:^<length$}",
            "",
            "",
            "",
            indent = excerpt.indent,
            length = excerpt.length,
        )?;
        if let Some(first) = help.next() {
            write!(f, " help: {}", Visible(first))?;
        }
        writeln!(f, "{end}")?;
        self.help(f, margin, help)
    }

    fn help<'h>(
        &self,
        f: &mut fmt::Formatter<'_>,
        margin: usize,
        lines: impl Iterator<Item = &'h str>,
    ) -> fmt::Result {
        let Palette { frame, end, .. } = self.palette;
        for line in lines {
            writeln!(f, "{:margin$} {frame}={end} help: {}", "", Visible(line))?;
        }
        Ok(())
    }
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

/// Text without what could move, hide or colour it: what came from outside, for a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Visible<'a>(pub &'a str);

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

#[derive(Clone, Copy)]
struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", Visible(self.0))
    }
}
