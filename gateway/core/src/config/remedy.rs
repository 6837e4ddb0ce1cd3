//! What to do about text that is not YAML.

use serde_saphyr::granit_parser::ErrorKind as Kind;

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
        Kind::TabNotAllowed
        | Kind::TabInBlockIndentation
        | Kind::TabInIndentation
        | Kind::TabInPlainScalar
        | Kind::TabAtBlockScalarStart => "indent with spaces, not with tabs",
        Kind::UnclosedQuotedScalar
        | Kind::InvalidTrailingSingleQuotedScalar
        | Kind::InvalidTrailingDoubleQuotedScalar => {
            "close the quote, and put the whole text inside it"
        }
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
