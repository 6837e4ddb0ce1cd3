//! A line as text with fields in it: `%{method} %{path}`.

use super::field::{Field, UnknownField};

/// Bytes of a template.
pub const TEMPLATE_BYTES_MAX: usize = 4 * 1024;
/// Fields of a template or of a list of them.
pub const FIELDS_MAX: usize = 64;

/// The Common Log Format of NCSA httpd; the name of the user is left out.
pub const COMMON: &str = "%{client} - - [%{time_common}] \"%{method} %{target} %{protocol}\" \
                          %{status} %{bytes_sent}";
/// The same with two headers, as Apache has it.
pub const COMBINED: &str = "%{client} - - [%{time_common}] \"%{method} %{target} %{protocol}\" \
                            %{status} %{bytes_sent} \"%{referer}\" \"%{user_agent}\"";

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands in every line.
    Literal(Box<str>),
    /// A field's value.
    Value {
        /// Whose.
        field: Field,
        /// Whether it stands between quotation marks. Where it does not, its spaces are escaped
        /// too, so that no client makes two values of one.
        is_quoted: bool,
    },
}

impl Piece {
    /// The field that it shows.
    #[must_use]
    pub fn field(&self) -> Option<&Field> {
        match self {
            Self::Literal(_) => None,
            Self::Value { field, .. } => Some(field),
        }
    }
}

/// Why text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A percent sign that begins nothing.
    #[error("`{0}` is not a field")]
    Percent(String),
    /// The brace is not closed.
    #[error("`{0}` has no closing brace")]
    Unclosed(String),
    /// No such field.
    #[error("{0}")]
    Field(#[from] UnknownField),
    /// A line break or another control character.
    #[error("a control character is in it")]
    Control,
    /// There is a bound on its length.
    #[error("the template is longer than {TEMPLATE_BYTES_MAX} bytes")]
    TooLong,
    /// There is a bound on their number.
    #[error("there are more than {FIELDS_MAX} fields")]
    TooMany,
    /// All lines would be the same.
    #[error("no field is in it")]
    NoField,
}

impl TemplateError {
    /// What to write instead.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Percent(found) => match of_apache(found) {
                Some(name) => format!("write `%{{{name}}}`: fields have names here"),
                None => "write `%{status}` for a field, and `%%` for a percent sign".into(),
            },
            Self::Unclosed(_) => "write it as in `%{status}`".into(),
            Self::Field(error) => error.help(),
            Self::Control => "a template is one line; its end is added".into(),
            Self::TooLong | Self::TooMany => "leave something out".into(),
            Self::NoField => "write at least one, such as `%{status}`".into(),
        }
    }
}

/// What a letter of Apache's `LogFormat` is called here.
fn of_apache(found: &str) -> Option<&'static str> {
    let letter = found.trim_start_matches(['%', '>', '<']);
    Some(match letter {
        "h" | "a" => "client",
        "t" => "time_common",
        "r" => "method} %{target} %{protocol",
        "s" => "status",
        "b" | "B" | "O" => "bytes_sent",
        "I" => "bytes_received",
        "D" | "T" => "duration_us",
        "U" => "path",
        "q" => "query",
        "m" => "method",
        "H" => "protocol",
        "v" | "V" => "host",
        "u" => "subject",
        _ => return None,
    })
}

/// Reads a template.
///
/// `%{name}` is a field, `%%` a percent sign, and all else stands for itself.
///
/// # Errors
/// [`TemplateError`]: what is wrong first.
pub fn parse(text: &str) -> Result<Box<[Piece]>, TemplateError> {
    if text.len() > TEMPLATE_BYTES_MAX {
        return Err(TemplateError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(TemplateError::Control);
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let (mut rest, mut is_quoted, mut fields) = (text, false, 0);
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        is_quoted ^= !before.matches('"').count().is_multiple_of(2);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let Some(named) = after.strip_prefix('{') else {
            return Err(TemplateError::Percent(beginning(after)));
        };
        let Some((name, after)) = named.split_once('}') else {
            return Err(TemplateError::Unclosed(beginning(after)));
        };
        let field = Field::named(name)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
        }
        pieces.push(Piece::Value { field, is_quoted });
        fields += 1;
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    match fields {
        0 => Err(TemplateError::NoField),
        1..=FIELDS_MAX => Ok(pieces.into()),
        _ => Err(TemplateError::TooMany),
    }
}

/// The percent sign with the word behind it.
fn beginning(after: &str) -> String {
    const SHOWN_MAX: usize = 20;
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '%' | ']');
    let word = after.split(is_end).next().unwrap_or_default();
    let shown: String = word.chars().take(SHOWN_MAX).collect();
    format!("%{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Err(error) => format!("{error} | {}", error.help()),
            Ok(pieces) => {
                let pieces = pieces.iter().map(|piece| match piece {
                    Piece::Literal(text) => format!("<{text}>"),
                    Piece::Value { field, is_quoted } => {
                        let quotes = if *is_quoted { "\"" } else { "" };
                        format!("{quotes}{}{quotes}", field.name())
                    }
                });
                pieces.collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn a_template_is_text_with_fields_in_it() {
        for (text, expected) in [
            ("%{status}", "status"),
            ("a %{status}%% b", "<a > status <% b>"),
            ("%{method}%{path}", "method path"),
            ("\"%{path}\" %{host}", "<\"> \"path\" <\" > host"),
            ("{%{status}}", "<{> status <}>"),
            ("%{request_header.x-a}", "request_header.x-a"),
            (
                "",
                "no field is in it | write at least one, such as `%{status}`",
            ),
            (
                "%{stauts}",
                "no field is called `stauts` | did you mean `status`?",
            ),
            ("%{}", "no field is called ``"),
            (
                "%{status",
                "`%{status` has no closing brace | write it as in `%{status}`",
            ),
            (
                "100%",
                "`%` is not a field | write `%{status}` for a field, and `%%` for a percent sign",
            ),
            (
                "%h %l",
                "`%h` is not a field | write `%{client}`: fields have names here",
            ),
            (
                "%>s",
                "`%>s` is not a field | write `%{status}`: fields have names here",
            ),
            (
                "%{status}\n",
                "a control character is in it | a template is one line; its end is added",
            ),
        ] {
            let shown = shown(text);
            assert!(shown.starts_with(expected), "{text}: {shown}");
        }
    }

    #[test]
    fn templates_are_bounded() {
        let long = format!("%{{status}}{}", "a".repeat(TEMPLATE_BYTES_MAX));
        assert_eq!(parse(&long), Err(TemplateError::TooLong));
        assert!(parse(&"%{status}".repeat(FIELDS_MAX)).is_ok());
        let many = "%{status}".repeat(FIELDS_MAX + 1);
        assert_eq!(parse(&many), Err(TemplateError::TooMany));
    }

    #[test]
    fn the_named_templates_are_good() {
        for text in [COMMON, COMBINED] {
            parse(text).unwrap();
        }
    }
}
