//! The value of a field that the file asks for, and how it stands in a template's line.
//!
//! Values come from clients, and lines are read by programs and on terminals: whatever is not a
//! printable character of ASCII is escaped, and so are the characters that would end a value.

use std::borrow::Cow;
use std::io::Write as _;

use super::line::TimeText;

/// What a field is in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Nothing: no member in JSON, `-` in a template.
    Absent,
    Number(u64),
    /// May hold anything.
    Text(Cow<'a, str>),
    /// 128 bits.
    Id(u128),
    /// 64 bits.
    Span(u64),
    /// Microseconds since 1970.
    Time(TimeKind, u64),
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeKind {
    Rfc3339,
    Common,
}

impl<'a> Value<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A number that there may not be.
    pub(crate) fn number(number: Option<u64>) -> Self {
        number.map_or(Self::Absent, Self::Number)
    }

    /// Text that there may not be.
    pub(crate) fn of(text: Option<&'a str>) -> Self {
        text.map_or(Self::Absent, Self::text)
    }

    /// Writes it into a template's line.
    pub(crate) fn write(&self, out: &mut Vec<u8>, time: &mut TimeText, is_quoted: bool) {
        let written = match self {
            Self::Absent => {
                out.push(b'-');
                Ok(())
            }
            Self::Number(number) => write!(out, "{number}"),
            Self::Id(id) => write!(out, "{id:032x}"),
            Self::Span(id) => write!(out, "{id:016x}"),
            Self::Time(kind, unix_micros) => {
                time.write_as(*kind, out, *unix_micros);
                Ok(())
            }
            Self::Text(text) => {
                escape(text, out, is_quoted);
                Ok(())
            }
        };
        written.expect("writing to memory does not fail");
    }
}

/// As nginx does by default, and spaces too where nothing else says where the value ends.
fn escape(text: &str, out: &mut Vec<u8>, is_quoted: bool) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if text.is_empty() {
        out.push(b'-');
    }
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'!'..=b'~' => out.push(byte),
            b' ' if is_quoted => out.push(byte),
            _ => {
                let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&digits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value<'_>, is_quoted: bool) -> String {
        let mut out = Vec::new();
        value.write(&mut out, &mut TimeText::default(), is_quoted);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_text_ends_its_value_or_its_line() {
        for (text, quoted, bare) in [
            ("", "-", "-"),
            ("curl/8.5", "curl/8.5", "curl/8.5"),
            ("a b", "a b", "a\\x20b"),
            ("a\" 200 \"b", "a\\\" 200 \\\"b", "a\\\"\\x20200\\x20\\\"b"),
            ("a\\\"b", "a\\\\\\\"b", "a\\\\\\\"b"),
            ("a\r\nb", "a\\x0d\\x0ab", "a\\x0d\\x0ab"),
            ("\u{1b}[2J", "\\x1b[2J", "\\x1b[2J"),
            ("\u{7f}\u{85}", "\\x7f\\xc2\\x85", "\\x7f\\xc2\\x85"),
            ("é", "\\xc3\\xa9", "\\xc3\\xa9"),
            ("\u{2028}", "\\xe2\\x80\\xa8", "\\xe2\\x80\\xa8"),
        ] {
            assert_eq!(written(&Value::text(text), true), quoted, "{text:?}");
            assert_eq!(written(&Value::text(text), false), bare, "{text:?}");
        }
    }

    #[test]
    fn every_kind_of_value_is_one_word() {
        for (value, expected) in [
            (Value::Absent, "-"),
            (Value::Number(7), "7"),
            (Value::Id(0xabc), "00000000000000000000000000000abc"),
            (Value::Span(0xabc), "0000000000000abc"),
            (
                Value::Time(TimeKind::Rfc3339, 971_186_136_000_007),
                "2000-10-10T13:55:36.000007Z",
            ),
        ] {
            assert_eq!(written(&value, false), expected);
        }
    }
}
