//! The routes file as text becomes a typed value, or a list of everything
//! that is wrong with it.
//!
//! [`decode`] reads YAML into any type with a derived `Deserialize` and
//! reports all problems at once, each with line, column, path and, where
//! there is one, the near miss. [`decode_data`] does the same for documents that
//! programs write.
//!
//! # What a file may say
//! YAML 1.2 in UTF-8 with its core schema (so `yes` is text), one document,
//! at most [`MAX_FILE_BYTES`], [`MAX_DEPTH`] and [`MAX_NODES`]. Anchors and
//! aliases work; tags and merge keys are refused. In values `${NAME}` and
//! `${NAME:-default}` stand for variables and `$$` for a `$`. A value without
//! quotes may become a number or a boolean by its variable, but never a list
//! or a map; what a variable holds is not expanded again.
//!
//! # How to write a type
//! - `#[derive(Deserialize)] #[serde(deny_unknown_fields)]` structs; absent
//!   keys by `#[serde(default)]` or `Option`. Unknown keys are always refused.
//!   A key without a value is an error, also for an `Option`; `null` is not.
//! - Externally tagged enums (serde's default): a variant without content is
//!   a word, `auth: none`; others are a map of one key, `{jwt: main}`.
//! - [`TextOr`] for a word or a map. Not `untagged`, `flatten` or `tag`: serde
//!   buffers their values, which loses positions and unknown keys.
//! - Types that parse text call `deserialize_str` and fail with
//!   `Error::custom`. What follows the first `"; "` of the message is shown
//!   as the help. An example in backticks lets the search for further
//!   problems go on (see [`decode`]).

mod access;
mod conceal;
mod error;
mod expand;
mod include;
mod merge;
mod near;
mod node_decoder;
mod parse;
mod positions;
mod problem;
mod remedy;
mod render;
mod session;
mod stand_in;
#[cfg(test)]
mod tests;
mod text_or;
mod tree;

use serde::de::DeserializeOwned;

pub use include::{Files, INCLUDE, MAX_INCLUDE_DEPTH, MAX_INCLUDED_FILES, NoFiles, Unmatched};
pub use merge::Sections;
pub use near::near;
pub use parse::{Bounds, MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES};
pub use positions::{Leaf, Positions, item, join};
pub use problem::{MAX_PROBLEMS, Position, Problem, Problems};
pub use render::{Palette, Shown, Visible};
pub use text_or::TextOr;

/// A file that was read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// How reports call the file, commonly its path.
    pub name: &'a str,
    /// All of its text; a byte order mark at the start is skipped.
    pub text: &'a str,
}

/// Decodes a file, replacing variables by what `variables` says.
///
/// The derived code gives up at the first bad value. So each bad value is
/// noted, and the file decoded again with that value left out of its list or
/// map, or a stand-in put in its place in its struct, until nothing new is
/// found. A stand-in never leaves this function: any problem is an error.
/// A type that accepts none of the stand-ins hides problems only in the
/// structs around it, and only until the bad value is mended.
///
/// Messages show the names of variables and not what they hold, except that
/// a value of up to three characters is not told from ordinary words.
///
/// # Errors
/// Everything that is wrong with the file, up to [`MAX_PROBLEMS`].
pub fn decode<T: DeserializeOwned>(
    source: Source<'_>,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<(T, Positions), Problems> {
    let partial = decode_partial(source, variables)?;
    partial.problems.into_result()?;
    Ok((partial.value, partial.positions))
}

/// Decodes a document that is data rather than configuration: its bounds are the caller's, and
/// a `$` in it is a `$`, because no variables are replaced. JSON is read as the YAML that it is.
///
/// # Errors
/// Everything that is wrong with it, up to [`MAX_PROBLEMS`]; fewer where the document is so
/// large that looking for more would take long.
pub fn decode_data<T: DeserializeOwned>(
    source: Source<'_>,
    bounds: Bounds,
) -> Result<(T, Positions), Problems> {
    let partial = decode_within(source, bounds, &mut expand::Expander::none())?;
    partial.problems.into_result()?;
    Ok((partial.value, partial.positions))
}

/// A file that was read as far as it can be.
#[derive(Debug)]
pub struct Partial<T> {
    /// What the file says, but for `unsound`.
    pub value: T,
    /// Where it says it.
    pub positions: Positions,
    /// What is wrong so far.
    pub problems: Problems,
    /// Paths at which the value holds a stand-in, or leaves out an entry.
    pub unsound: Vec<String>,
    /// Patterns that no file to include matches.
    pub unmatched: Vec<Unmatched>,
}

impl<T> Partial<T> {
    /// Whether what the value has at `path` may not be what the file says.
    #[must_use]
    pub fn is_unsound(&self, path: &str) -> bool {
        self.unsound.iter().any(|bad| {
            bad == path || positions::is_below(bad, path) || positions::is_below(path, bad)
        })
    }
}

/// Decodes a file for checks of its meaning, which then run although something in it is
/// already known to be wrong. See [`decode`].
///
/// # Errors
/// Everything that is wrong, when no value could be made.
pub fn decode_partial<T: DeserializeOwned>(
    source: Source<'_>,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<Partial<T>, Problems> {
    let mut expander = expand::Expander::new(variables);
    decode_within(source, Bounds::FILE, &mut expander)
}

/// The same for a file that may include others, which become one with it before it is decoded.
///
/// What a file includes stands in its list `include`, and `sections` says what becomes of keys
/// that several files have. The bounds of [`Bounds::FILE`] hold for all files together.
///
/// # Errors
/// Everything that is wrong, when a file is missing or is not YAML, or no value could be made.
pub fn decode_included<T: DeserializeOwned>(
    source: Source<'_>,
    files: &dyn Files,
    sections: &Sections,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<Partial<T>, Problems> {
    let mut expander = expand::Expander::new(variables);
    let (parts, mut problems) = include::read_all(source, files, &mut expander);
    let root = parts
        .roots
        .map(|it| merge::merge(it, sections, &mut problems));
    let mut partial = decode_root(root, problems)?;
    partial.unmatched = parts.unmatched;
    Ok(partial)
}

fn decode_within<T: DeserializeOwned>(
    source: Source<'_>,
    bounds: Bounds,
    expander: &mut expand::Expander<'_>,
) -> Result<Partial<T>, Problems> {
    let mut problems = Problems::new(&source);
    let part = parse::Part::default();
    let root = parse::parse(source.text, part, bounds, expander, &mut problems);
    decode_root(root, problems)
}

fn decode_root<T: DeserializeOwned>(
    root: Option<tree::Node>,
    mut problems: Problems,
) -> Result<Partial<T>, Problems> {
    let Some(root) = root else {
        return Err(problems);
    };
    match session::decode(&root, &mut problems) {
        Some((value, unsound)) => Ok(Partial {
            value,
            positions: Positions::of(root),
            problems,
            unsound,
            unmatched: Vec::new(),
        }),
        None => Err(problems),
    }
}
