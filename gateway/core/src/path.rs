//! The clean path: one spelling on which the gateway and every upstream agree.
//!
//! A rule that holds for `/admin` is worth nothing when the upstream also
//! serves `/admin` under the names `//admin`, `/x/../admin` or `/%61dmin`. So a
//! path is brought into one form before anything looks at it, that same form is
//! forwarded, and whatever has no form that all upstreams read alike is refused.
//!
//! **Normalised** (RFC 3986, sections 6.2.2.1 and 6.2.2.2), because every
//! upstream reads both spellings as one:
//! - the escape of an unreserved character is decoded: `/%7Euser` is `/~user`;
//! - the hex digits of every other escape are upper case: `/a%2b` is `/a%2B`;
//! - a character that RFC 3986 does not allow in a path, yet browsers send
//!   (`|`, `[`, `]`, `{`, `"`, …), is escaped: `/a|b` is `/a%7Cb`.
//!
//! **Refused** with 400, see [`PathError`]: dot segments, empty segments,
//! encoded slashes, backslashes, control characters, broken escapes, bytes
//! beyond ASCII, `#` and `?`. We refuse rather than merge or resolve them: some
//! upstreams collapse `//`, decode `%2F` or resolve `..`, others do not, some do
//! it before and some after their own access rules. Whichever reading the
//! gateway chose, it would be wrong in front of one of them.
//!
//! **Matched alike, forwarded as written**: the escape of a delimiter that a
//! segment may also hold bare (`! $ & ' ( ) * + , ; = : @`). RFC 3986, section
//! 2.2 keeps `%3A` and `:` apart, so the gateway must not rewrite one into the
//! other; most upstreams decode both, so a route for `/v1/items:batch` must also
//! catch `/v1/items%3Abatch`. See [`CleanPath::matching`].
//!
//! Path parameters are literal text: `/users;v=2` is neither `/users` nor below
//! it. An upstream that drops them (Java servlet containers do) must not rely on
//! a gateway rule for `/users` alone. What such an upstream would resolve into a
//! dot or an empty segment (`/..;/`, `/;x/`) is refused.
//!
//! Escapes are decoded once: `%252E` is the three characters `%2E`, everywhere.

use std::borrow::Cow;

/// Why a path is refused. Each is answered with 400 and the reason code `path_invalid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathError {
    /// The path does not begin with `/`; the asterisk form (`OPTIONS *`) too.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// A `.` or `..` segment, bare, encoded, or with parameters (`..;x`).
    #[error("the path has a `.` or `..` segment; send it resolved")]
    DotSegment,
    /// A segment without text before the last one: `//`, or `/;x/`.
    #[error("the path has an empty segment; send single slashes")]
    EmptySegment,
    /// `%2F`: a slash to some upstreams, data to others.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// `%5C`: a slash to some upstreams, data to others.
    #[error("the path has an encoded backslash")]
    EncodedBackslash,
    /// A bare `\`, which RFC 3986 does not allow and some upstreams read as `/`.
    #[error("the path has a backslash")]
    Backslash,
    /// NUL, another control character or DEL, bare or encoded.
    #[error("the path has a control character")]
    ControlCharacter,
    /// A `%` without two hex digits after it.
    #[error("the path has a `%` without two hex digits; send a literal one as `%25`")]
    InvalidEscape,
    /// A byte above 0x7F.
    #[error("the path has a byte beyond ASCII; send it percent-encoded")]
    NotAscii,
    /// A `#`: fragments are never sent (RFC 9112, section 3.2).
    #[error("the path has a `#`; send a literal one as `%23`")]
    Fragment,
    /// A `?`: the query is not a part of the path.
    #[error("the path has a `?`; send a literal one as `%3F`")]
    Query,
}

impl PathError {
    /// The stable word for it, which the access log has as the refusal's detail.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_not_absolute",
            Self::DotSegment => "path_dot_segment",
            Self::EmptySegment => "path_empty_segment",
            Self::EncodedSlash => "path_encoded_slash",
            Self::EncodedBackslash => "path_encoded_backslash",
            Self::Backslash => "path_backslash",
            Self::ControlCharacter => "path_control_character",
            Self::InvalidEscape => "path_invalid_escape",
            Self::NotAscii => "path_not_ascii",
            Self::Fragment => "path_fragment",
            Self::Query => "path_query",
        }
    }
}

/// A path in its one accepted spelling; see the [module](self).
///
/// It begins with `/`, is ASCII, and has no dot segment and no empty segment
/// but a last one (a trailing slash).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanPath<'a> {
    forwarded: Cow<'a, str>,
    /// Set only where it differs from `forwarded`.
    matching: Option<String>,
}

impl<'a> CleanPath<'a> {
    /// Checks and normalises the path of a request target, without its query.
    ///
    /// One pass and no allocation for a path that is clean already. The length
    /// is bounded by the caller (the limit on the request target).
    ///
    /// `*` is refused: `OPTIONS *` asks about the server, not about a resource
    /// (RFC 9110, section 9.3.7), so it is answered before routing.
    ///
    /// # Errors
    /// The first [`PathError`] found.
    pub fn parse(raw: &'a str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        let seen = scan(raw.as_bytes())?;
        let forwarded = if seen.rewrite {
            Cow::Owned(normalise(raw))
        } else {
            Cow::Borrowed(raw)
        };
        if seen.rewrite || seen.odd_segment {
            check_segments(&forwarded)?;
        }
        let matching = seen.delimiter_escape.then(|| decode_delimiters(&forwarded));
        if let Some(matching) = &matching {
            check_segments(matching)?;
        }
        Ok(Self {
            forwarded,
            matching,
        })
    }

    /// The path to forward and to log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.forwarded
    }

    /// The path to match routes against: [`as_str`](Self::as_str) with escaped
    /// delimiters (`%3A`) decoded. Never forwarded.
    #[must_use]
    pub fn matching(&self) -> &str {
        self.matching.as_deref().unwrap_or(&self.forwarded)
    }

    /// Whether the path to forward differs from the path received.
    #[must_use]
    pub fn is_rewritten(&self) -> bool {
        matches!(self.forwarded, Cow::Owned(_))
    }
}

/// What one byte of a path means to the scan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Unreserved,
    /// A delimiter that a segment may hold: sub-delims, `:` and `@`.
    Delimiter,
    Slash,
    Percent,
    /// Visible ASCII outside RFC 3986's path grammar; travels escaped.
    Foreign,
    Refused(PathError),
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Refused(PathError::NotAscii); 256];
    let mut index = 0;
    while index < 128 {
        #[expect(clippy::cast_possible_truncation, reason = "index is below 128")]
        let byte = index as u8;
        classes[index] = class_of(byte);
        index += 1;
    }
    classes
};

const fn class_of(byte: u8) -> Class {
    match byte {
        0..=0x1F | 0x7F => Class::Refused(PathError::ControlCharacter),
        b'\\' => Class::Refused(PathError::Backslash),
        b'#' => Class::Refused(PathError::Fragment),
        b'?' => Class::Refused(PathError::Query),
        b'/' => Class::Slash,
        b'%' => Class::Percent,
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Class::Unreserved,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':'
        | b'@' => Class::Delimiter,
        _ => Class::Foreign,
    }
}

fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

/// What the scan found in a path without refused bytes.
#[derive(Default)]
struct Seen {
    rewrite: bool,
    delimiter_escape: bool,
    /// A segment begins in a way that needs a closer look.
    odd_segment: bool,
}

fn scan(path: &[u8]) -> Result<Seen, PathError> {
    let mut seen = Seen::default();
    let mut at = 0;
    while at < path.len() {
        match class(path[at]) {
            Class::Unreserved | Class::Delimiter => {}
            Class::Slash => {
                seen.odd_segment |= matches!(path.get(at + 1), Some(b'/' | b'.' | b';'));
            }
            Class::Foreign => seen.rewrite = true,
            Class::Refused(error) => return Err(error),
            Class::Percent => {
                let decoded = decode(path, at).ok_or(PathError::InvalidEscape)?;
                scan_escape(decoded, &mut seen)?;
                seen.rewrite |= path[at + 1..=at + 2].iter().any(u8::is_ascii_lowercase);
                at += 2;
            }
        }
        at += 1;
    }
    Ok(seen)
}

fn scan_escape(decoded: u8, seen: &mut Seen) -> Result<(), PathError> {
    match (decoded, class(decoded)) {
        (b'/', _) => return Err(PathError::EncodedSlash),
        (b'\\', _) => return Err(PathError::EncodedBackslash),
        (_, Class::Refused(PathError::ControlCharacter)) => {
            return Err(PathError::ControlCharacter);
        }
        (_, Class::Unreserved) => seen.rewrite = true,
        (_, Class::Delimiter) => seen.delimiter_escape = true,
        _ => {}
    }
    Ok(())
}

/// The byte that the escape at `at` stands for; `None` without two hex digits.
fn decode(path: &[u8], at: usize) -> Option<u8> {
    let high = hex_value(*path.get(at + 1)?)?;
    let low = hex_value(*path.get(at + 2)?)?;
    Some(high << 4 | low)
}

/// The value of one hex digit of either case.
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Rewrites a scanned path into its normal form.
fn normalise(raw: &str) -> String {
    let path = raw.as_bytes();
    let mut clean = String::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let (byte, escaped) = match decode(path, at) {
            Some(decoded) if path[at] == b'%' => (decoded, true),
            _ => (path[at], false),
        };
        match class(byte) {
            Class::Unreserved => clean.push(char::from(byte)),
            Class::Slash | Class::Delimiter if !escaped => clean.push(char::from(byte)),
            _ => push_escape(&mut clean, byte),
        }
        at += if escaped { 3 } else { 1 };
    }
    clean
}

fn push_escape(text: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(HEX[usize::from(byte >> 4)]));
    text.push(char::from(HEX[usize::from(byte & 0x0F)]));
}

/// Decodes the escapes of delimiters in a normalised path, and no others.
fn decode_delimiters(normalised: &str) -> String {
    let path = normalised.as_bytes();
    let mut matching = String::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match decode(path, at) {
            Some(byte) if path[at] == b'%' && class(byte) == Class::Delimiter => {
                matching.push(char::from(byte));
                at += 3;
            }
            _ => {
                matching.push(char::from(path[at]));
                at += 1;
            }
        }
    }
    matching
}

/// Refuses segments that upstreams resolve or collapse, each in its own way.
fn check_segments(normalised: &str) -> Result<(), PathError> {
    let mut segments = normalised[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        // Servlet containers drop `;…` before they resolve dots and slashes.
        match segment.split(';').next().unwrap_or(segment) {
            "." | ".." => return Err(PathError::DotSegment),
            "" if !is_last => return Err(PathError::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_path_is_borrowed_and_unchanged() {
        for raw in [
            "/",
            "/users",
            "/users/",
            "/users/7/orders",
            "/.well-known/jwks.json",
            "/...",
            "/a/..b/.c/d..",
            "/v1/items:batch",
            "/users;v=2/a,b",
            "/app/;session=1",
            "/~u/!$&'()*+,;=:@",
            "/caf%C3%A9/%20%25%3F%23",
            "/%252E%252E/a",
        ] {
            let path = CleanPath::parse(raw).expect(raw);
            assert_eq!(path.as_str(), raw);
            assert!(!path.is_rewritten(), "{raw}");
            assert!(matches!(path.forwarded, Cow::Borrowed(_)), "{raw}");
        }
    }

    #[test]
    fn equivalent_spellings_become_one() {
        for (raw, clean) in [
            ("/%75sers", "/users"),
            ("/%7euser/%7E", "/~user/~"),
            ("/a%2b", "/a%2B"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a|b[c]{d}\"^`<>", "/a%7Cb%5Bc%5D%7Bd%7D%22%5E%60%3C%3E"),
            ("/a b", "/a%20b"),
            ("/%2ea", "/.a"),
            ("/%41%3a", "/A%3A"),
        ] {
            let path = CleanPath::parse(raw).expect(raw);
            assert_eq!(path.as_str(), clean, "{raw}");
            assert!(path.is_rewritten(), "{raw}");
            let again = CleanPath::parse(clean).expect(clean);
            assert_eq!(again.as_str(), clean, "normal form is stable");
            assert!(!again.is_rewritten(), "{clean}");
        }
    }

    #[test]
    fn an_escaped_delimiter_matches_as_bare_and_is_forwarded_as_written() {
        for (raw, forwarded, matching) in [
            ("/items%3Abatch", "/items%3Abatch", "/items:batch"),
            ("/items%3abatch", "/items%3Abatch", "/items:batch"),
            ("/a%2Cb%20c", "/a%2Cb%20c", "/a,b%20c"),
            ("/%253A", "/%253A", "/%253A"),
        ] {
            let path = CleanPath::parse(raw).expect(raw);
            assert_eq!(path.as_str(), forwarded);
            assert_eq!(path.matching(), matching);
        }
    }

    #[test]
    fn what_upstreams_read_differently_is_refused() {
        use PathError as E;
        for (raw, error) in [
            ("", E::NotAbsolute),
            ("*", E::NotAbsolute),
            ("users", E::NotAbsolute),
            ("http://host/users", E::NotAbsolute),
            ("/.", E::DotSegment),
            ("/..", E::DotSegment),
            ("/a/./b", E::DotSegment),
            ("/a/../b", E::DotSegment),
            ("/a/..", E::DotSegment),
            ("/a/../", E::DotSegment),
            ("/%2e%2e/a", E::DotSegment),
            ("/a/%2E", E::DotSegment),
            ("/a/.%2e/b", E::DotSegment),
            ("/a/..;x/b", E::DotSegment),
            ("/a/..%3Bx/b", E::DotSegment),
            ("/a/.;/b", E::DotSegment),
            ("//", E::EmptySegment),
            ("//a", E::EmptySegment),
            ("/a//b", E::EmptySegment),
            ("/a//", E::EmptySegment),
            ("/;x/a", E::EmptySegment),
            ("/%3Bx/a", E::EmptySegment),
            ("/a%2fb", E::EncodedSlash),
            ("/a%2Fb", E::EncodedSlash),
            ("/a%5cb", E::EncodedBackslash),
            ("/a%5Cb", E::EncodedBackslash),
            ("/a\\b", E::Backslash),
            ("/a\0", E::ControlCharacter),
            ("/a\r\n", E::ControlCharacter),
            ("/a\x7f", E::ControlCharacter),
            ("/a%00", E::ControlCharacter),
            ("/a%0d%0a", E::ControlCharacter),
            ("/a%7f", E::ControlCharacter),
            ("/a%", E::InvalidEscape),
            ("/a%4", E::InvalidEscape),
            ("/a%zz", E::InvalidEscape),
            ("/a%u0041", E::InvalidEscape),
            ("/a%+1", E::InvalidEscape),
            ("/caf\u{e9}", E::NotAscii),
            ("/a#b", E::Fragment),
            ("/a?b", E::Query),
        ] {
            assert_eq!(CleanPath::parse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn every_clean_path_holds_the_invariants_whatever_the_input() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let pieces = [
            "/", ".", "..", "%2e", "%2F", "%5c", "%3b", ";", "a", "B", "%61", "%", "%0", "%C3",
            "|", ":", "%3A", "\\", "#", "é", "\t", "%25", "2e",
        ];
        for _ in 0..20_000 {
            let raw: String = std::iter::once("/")
                .chain((0..random.usize(..8)).map(|_| pieces[random.usize(..pieces.len())]))
                .collect();
            let Ok(path) = CleanPath::parse(&raw) else {
                continue;
            };
            for text in [path.as_str(), path.matching()] {
                let context = format!("seed {seed}: {raw:?} became {text:?}");
                assert!(text.is_ascii() && text.starts_with('/'), "{context}");
                assert!(!text.contains("//"), "{context}");
                assert!(!text.split('/').any(|s| s == "." || s == ".."), "{context}");
                assert!(!text.contains(['\\', '#', '?']), "{context}");
            }
            let again = CleanPath::parse(path.as_str()).expect("a clean path parses");
            assert_eq!(again.as_str(), path.as_str(), "seed {seed}: {raw:?}");
            assert_eq!(again.matching(), path.matching(), "seed {seed}: {raw:?}");
        }
    }
}
