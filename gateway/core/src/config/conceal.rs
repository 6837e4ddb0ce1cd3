//! Keeping what variables hold out of messages: it may be a secret.

use super::tree::{Node, Value};

/// Shorter texts than this stand in ordinary sentences too.
const MIN_SECRET: usize = 4;

/// Puts `${NAME}` in the place of what the variable holds.
///
/// Types quote what they refuse in backticks, often cut short, so a quoted
/// piece of the value goes as well. A message that then still shows the
/// beginning of the value is replaced altogether. Values of fewer than
/// [`MIN_SECRET`] bytes are only looked for in backticks.
pub(super) fn conceal(node: &Node, message: &str) -> String {
    let Value::Scalar(scalar) = &node.value else {
        return message.to_owned();
    };
    let (Some(written), secret) = (&scalar.written, scalar.text.as_str()) else {
        return message.to_owned();
    };
    let is_secret = |piece: &str| {
        let piece = piece.trim_end_matches('…');
        let holds = secret.len() >= MIN_SECRET && piece.contains(secret);
        !piece.is_empty() && (holds || secret.contains(piece))
    };
    let pieces = message.split('`').enumerate();
    let pieces: Vec<_> = pieces
        .map(|(index, piece)| match index % 2 {
            1 if is_secret(piece) => written,
            _ => piece,
        })
        .collect();
    let shown = pieces.join("`");
    if secret.len() < MIN_SECRET {
        return shown;
    }
    let shown = shown.replace(secret, written);
    let start: String = secret.chars().take(2 * MIN_SECRET).collect();
    if !written.contains(&start) && shown.contains(&start) {
        return format!("the value of `{written}` is refused");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::problem::Position;
    use super::super::tree::{Node, Scalar, Value};
    use super::conceal;

    #[test]
    fn what_a_variable_holds_is_not_shown_whole_or_in_part() {
        let position = Position {
            file: 0,
            line: 1,
            column: 1,
            length: 1,
        };
        for (secret, message, expected) in [
            (
                "hunter2",
                "`hunter2` is no duration",
                "`${S}` is no duration",
            ),
            ("hunter2", "`hunt…` is no `10s`", "`${S}` is no `10s`"),
            ("hunter2", "bad: hunter2!", "bad: ${S}!"),
            ("hunter2", "bad: `x hunter2`", "bad: `${S}`"),
            (
                "hunter2hunter2",
                "bad: hunter2h",
                "the value of `${S}` is refused",
            ),
            (
                "1",
                "`1` is no duration, `1m` is",
                "`${S}` is no duration, `1m` is",
            ),
            ("", "`` is no duration", "`` is no duration"),
        ] {
            let node = Node {
                position,
                value: Value::Scalar(Scalar {
                    text: secret.to_owned(),
                    is_plain: true,
                    written: Some("${S}".to_owned()),
                }),
            };
            assert_eq!(conceal(&node, message), expected, "{secret}");
        }
    }
}
