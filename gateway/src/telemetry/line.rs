//! One access line, written field by field into a buffer.
//!
//! A JSON object whose keys are known needs no serializer: keys are copied as they are, and
//! only values that came from outside are looked through for characters to escape. Beside
//! serde's derive this costs a third of the instructions.
//!
//! Keys are literals with their punctuation ([`key`]) and the methods are inlined, so that a
//! key's bytes are stores of known length rather than calls.

use std::time::{Duration, UNIX_EPOCH};

use mesh::trace::write_hex;

use super::value::{TimeKind, Value};

/// A member's name with its comma, quotation marks and colon.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(crate) use key;

/// A JSON object under way.
pub(crate) struct LineWriter<'a> {
    out: &'a mut Vec<u8>,
    time: &'a mut TimeText,
}

impl<'a> LineWriter<'a> {
    /// Begins with the time, which every line has.
    pub(crate) fn begin(out: &'a mut Vec<u8>, time: &'a mut TimeText, unix_micros: u64) -> Self {
        out.extend_from_slice(b"{\"time\":\"");
        time.write(out, unix_micros);
        out.push(b'"');
        Self { out, time }
    }

    /// Members that are the same in every line.
    #[inline]
    pub(crate) fn constant(&mut self, members: &'static str) {
        self.out.extend_from_slice(members.as_bytes());
    }

    /// A value of our own making: names from the routes file, codes, addresses.
    #[inline]
    pub(crate) fn plain(&mut self, key: &'static str, value: &str) {
        self.out.reserve(key.len() + value.len() + 2);
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
    }

    /// A value that may hold anything.
    #[inline]
    pub(crate) fn text(&mut self, key: &'static str, value: &str) {
        if needs_no_escape(value) {
            self.plain(key, value);
        } else {
            self.escaped(key, value);
        }
    }

    #[cold]
    fn escaped(&mut self, key: &'static str, value: &str) {
        self.out.extend_from_slice(key.as_bytes());
        serde_json::to_writer(&mut *self.out, value).expect("writing to memory does not fail");
    }

    /// A number.
    #[inline]
    pub(crate) fn number(&mut self, key: &'static str, value: u64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        self.out.reserve(key.len() + digits.len());
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(digits);
    }

    /// 128 bits as 32 hexadecimal digits.
    #[inline]
    pub(crate) fn hex(&mut self, key: &'static str, value: u128) {
        self.out.extend_from_slice(key.as_bytes());
        let mut text = [b'"'; 34];
        write_hex(value, &mut text[1..33]);
        self.out.extend_from_slice(&text);
    }

    /// A field that the file asks for; nothing where there is no value.
    pub(crate) fn member(&mut self, name: &str, value: &Value<'_>) {
        if matches!(value, Value::Absent) {
            return;
        }
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        match value {
            Value::Absent => {}
            Value::Number(number) => self.number("", *number),
            Value::Text(text) => self.text("", text),
            Value::Id(id) => self.hex("", *id),
            Value::Span(id) => self.plain("", &format!("{id:016x}")),
            Value::Time(kind, unix_micros) => {
                self.out.push(b'"');
                self.time.write_as(*kind, self.out, *unix_micros);
                self.out.push(b'"');
            }
        }
    }

    /// Ends the line.
    pub(crate) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

/// RFC 8259 section 7: quotation mark, reverse solidus and control characters are escaped.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch the loop becomes vector instructions"
)]
fn needs_no_escape(value: &str) -> bool {
    !value.bytes().fold(false, |found, byte| {
        found | (byte < 0x20) | (byte == b'"') | (byte == b'\\')
    })
}

/// The text of the second that was written last: most lines share it with the one before.
#[derive(Debug, Default)]
pub(crate) struct TimeText {
    second: u64,
    text: String,
}

impl TimeText {
    /// In one of the forms that a line may ask for.
    pub(super) fn write_as(&mut self, kind: TimeKind, out: &mut Vec<u8>, unix_micros: u64) {
        match kind {
            TimeKind::Rfc3339 => self.write(out, unix_micros),
            TimeKind::Common => self.write_common(out, unix_micros),
        }
    }

    /// `10/Oct/2000:13:55:36 +0000`.
    fn write_common(&mut self, out: &mut Vec<u8>, unix_micros: u64) {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        self.follow(unix_micros / 1_000_000);
        // `2000-10-10T13:55:36`; a year beyond 9999 is not to be met.
        let text = &self.text;
        let month = text[5..7].parse().unwrap_or(1_usize);
        let month = MONTHS[(month - 1).min(11)];
        for part in [
            &text[8..10],
            "/",
            month,
            "/",
            &text[..4],
            ":",
            &text[11..19],
            " +0000",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    fn follow(&mut self, second: u64) {
        if second != self.second || self.text.is_empty() {
            let time = UNIX_EPOCH + Duration::from_secs(second);
            self.text = humantime::format_rfc3339_seconds(time).to_string();
            self.text.truncate(self.text.len() - 1);
            self.second = second;
        }
    }

    /// RFC 3339 with microseconds.
    fn write(&mut self, out: &mut Vec<u8>, unix_micros: u64) {
        self.follow(unix_micros / 1_000_000);
        out.extend_from_slice(self.text.as_bytes());
        let mut fraction = *b".000000Z";
        let mut rest = unix_micros % 1_000_000;
        for digit in fraction[1..7].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
        }
        out.extend_from_slice(&fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_came_from_outside() {
        let mut out = Vec::new();
        let mut time = TimeText::default();
        let mut line = LineWriter::begin(&mut out, &mut time, 1_700_000_000_000_042);
        line.plain(key!("plain"), "a");
        line.text(key!("text"), "a\"b\\c\n\u{1}é");
        line.number(key!("number"), u64::MAX);
        line.hex(key!("hex"), 0xabc);
        line.member("absent", &Value::Absent);
        line.member("own", &Value::Text("\"\u{1b}[2J".into()));
        line.member("span", &Value::Span(0xa1));
        line.member("when", &Value::Time(TimeKind::Common, 971_186_136_000_000));
        line.end();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], "2023-11-14T22:13:20.000042Z");
        assert_eq!(value["text"], "a\"b\\c\n\u{1}é");
        assert_eq!(value["number"], u64::MAX);
        assert_eq!(value["hex"], "00000000000000000000000000000abc");
        assert_eq!(value["own"], "\"\u{1b}[2J");
        assert_eq!(value["span"], "00000000000000a1");
        assert_eq!(value["when"], "10/Oct/2000:13:55:36 +0000");
        assert_eq!(value.get("absent"), None);
        assert_eq!(out.last(), Some(&b'\n'));
    }

    #[test]
    fn the_second_changes_with_the_time() {
        let mut time = TimeText::default();
        let mut out = Vec::new();
        for micros in [0, 999_999, 1_000_000, 59_000_001] {
            time.write(&mut out, micros);
            out.push(b' ');
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:00.000000Z 1970-01-01T00:00:00.999999Z \
             1970-01-01T00:00:01.000000Z 1970-01-01T00:00:59.000001Z "
        );
    }
}
