//! What to do about text that is not YAML, and where.

use serde_saphyr::granit_parser::{ErrorKind as Kind, Marker};

/// Where the mistake is, as line and column from 1, where that is not where reading stopped.
///
/// A tab below a value counts to the parser as a part of the value, and a quote that is not closed
/// ends at the next one, many lines further down.
pub(super) fn place(kind: &Kind, text: &str, stopped: &Marker) -> Option<(usize, usize)> {
    let lines = || (1..).zip(text.lines());
    if is_tab(kind) {
        let is_indented_by_tab = |line: &str| {
            let content = line.trim_start();
            !content.is_empty() && line[..line.len() - content.len()].contains('\t')
        };
        let mut below = lines().skip(stopped.line().saturating_sub(1));
        let (number, line) = below.find(|(_, line)| is_indented_by_tab(line))?;
        let column = line.chars().position(|character| character == '\t')?;
        return Some((number, column + 1));
    }
    if !is_quote(kind) {
        return None;
    }
    let is_open = |line: &str| {
        let code = line.split(" #").next().unwrap_or_default();
        !code.trim_start().starts_with('#') && code.matches('"').count() % 2 == 1
    };
    let mut open = lines()
        .take(stopped.line())
        .filter(|(_, line)| is_open(line));
    let (number, line) = open.next()?;
    // With two of them a text over several lines is meant, and the mistake is elsewhere.
    if open.next().is_some() {
        return None;
    }
    let before = line.rfind('"').map(|quote| &line[..quote])?;
    Some((number, before.chars().count() + 1))
}

fn is_tab(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::TabNotAllowed
            | Kind::TabInBlockIndentation
            | Kind::TabInIndentation
            | Kind::TabInPlainScalar
            | Kind::TabAtBlockScalarStart
    )
}

fn is_quote(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::UnclosedQuotedScalar
            | Kind::InvalidTrailingSingleQuotedScalar
            | Kind::InvalidTrailingDoubleQuotedScalar
    )
}

/// The remedy for a mistake found in line `number` (from 1) of the text.
pub(super) fn remedy(kind: &Kind, text: &str, number: usize) -> &'static str {
    let line = text.lines().nth(number.saturating_sub(1));
    let line = line.unwrap_or_default();
    match kind {
        _ if line.contains("${") && (line.contains("{$") || in_flow(line)) => {
            "inside `[…]` or `{…}` a `${…}` needs quotes: `\"${NAME}\"`"
        }
        _ if text.lines().any(|line| line.starts_with("<<<<<<< ")) => {
            "resolve the merge conflict: take the `<<<<<<<` line and its companions out"
        }
        kind if is_tab(kind) => "indent with spaces, not with tabs",
        kind if is_quote(kind) => "close the quote, and put the whole text inside it",
        Kind::UnknownQuotedScalarEscape | Kind::InvalidQuotedScalarHexEscape => {
            "use single quotes: they leave `\\` alone"
        }
        Kind::UnclosedFlowCollection { .. }
        | Kind::MismatchedFlowCollectionEnd { .. }
        | Kind::MisplacedFlowCollectionEnd
        | Kind::UnexpectedEofFlowMapping
        | Kind::UnexpectedEofFlowSequence
        | Kind::ExpectedFlowMappingSeparator
        | Kind::ExpectedFlowSequenceSeparator => {
            "balance the brackets, and put a comma between two items"
        }
        Kind::UnexpectedCharacter { character } if character.is_control() => {
            "remove the control character; the file must be plain UTF-8 text"
        }
        Kind::UnexpectedCharacter { .. } => "quote text that starts with this character",
        Kind::InvalidColonPlacement => {
            "close the `[` or `{` further up, and quote text that holds a `:`"
        }
        Kind::MappingValueNotAllowed => {
            "quote text that holds `: `, and indent a map below its key"
        }
        Kind::ExpectedBlockMappingKey
        | Kind::ExpectedBlockSequenceEntry
        | Kind::BlockSequenceEntryNotAllowed
        | Kind::InvalidIndentation
        | Kind::SimpleKeyExpected
        | Kind::InvalidSimpleKey => {
            "indent the keys of a map, and the `-` of a list, by the same number of spaces; each \
             key ends with `: `"
        }
        Kind::RecursionLimitExceeded => "close what is open further up, or flatten it",
        _ => "check the quotes, brackets and indentation of this line and the one above",
    }
}

fn in_flow(line: &str) -> bool {
    match (line.find(['[', '{']), line.find("${")) {
        (Some(bracket), Some(variable)) => bracket < variable,
        _ => false,
    }
}
