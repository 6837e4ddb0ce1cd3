//! One message head: limits, lines, and what its headers say about the body.

use super::Role;
use super::lines::colon;
use crate::words::reason::Reason;

/// Bounds of a message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head; default 65,536.
    pub head_bytes_max: usize,
    /// Header lines; default 100.
    pub headers_max: usize,
    /// Bytes of the request target; default 8,192.
    pub target_bytes_max: usize,
}

impl HeadLimits {
    /// What holds where nothing else is said.
    pub const DEFAULT: Self = Self {
        head_bytes_max: 64 * 1024,
        headers_max: 100,
        target_bytes_max: 8 * 1024,
    };
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How the body of a message is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Sized(u64),
    Chunked,
    UntilClose,
    Interim,
}

/// The characters of a token (RFC 9110 section 5.6.2): methods and header names.
pub const METHOD_CHARACTERS: [bool; 256] = characters(b"!#$%&'*+-.^_`|~");

/// The characters of a request target (RFC 3986), and the few more that browsers send as they are.
const TARGET_CHARACTERS: [bool; 256] = characters(b"-._~:/?[]@!$&'()*+,;=%|{}");

const fn characters(beside_alphanumeric: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = u8::MAX;
    while byte > 0 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte -= 1;
    }
    let mut index = 0;
    while index < beside_alphanumeric.len() {
        table[beside_alphanumeric[index] as usize] = true;
        index += 1;
    }
    table
}

/// The longest method taken; the standard ones have seven characters at most.
const METHOD_BYTES_MAX: usize = 32;
/// A number with more digits does not fit 64 bits.
const CONTENT_LENGTH_DIGITS_MAX: usize = 19;

/// Reads a head line by line; keeps its place when the head arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    /// Start of the line being read.
    line_start: usize,
    /// Everything before this offset holds no LF after `line_start`.
    searched: usize,
    lines: usize,
    is_http_10: bool,
    body_of_status: Option<Body>,
    content_length: Option<u64>,
    is_chunked: bool,
}

impl HeadScanner {
    /// Whether nothing has been read.
    pub(super) fn is_fresh(&self) -> bool {
        self.searched == 0
    }

    /// Looks at a head that begins at `bytes[0]`.
    ///
    /// `None` means incomplete: call again with the same bytes and more.
    pub(super) fn scan(
        &mut self,
        bytes: &[u8],
        role: Role,
        limits: &HeadLimits,
    ) -> Result<Option<(usize, Body)>, Reason> {
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let line_end = self.searched + found;
            if line_end >= limits.head_bytes_max {
                return Err(too_large(role, self.lines));
            }
            let line = &bytes[self.line_start..line_end];
            self.line_start = line_end + 1;
            self.searched = line_end + 1;
            // A bare LF is a line end to some readers only (RFC 9112 section 2.2).
            let Some((b'\r', line)) = line.split_last() else {
                return Err(malformed(role, self.lines));
            };
            if line.is_empty() {
                match self.lines {
                    // One empty line before a request is let through (RFC 9112 section 2.2).
                    0 if role == Role::Request && line_end == 1 => continue,
                    0 => return Err(malformed(role, 0)),
                    _ => return Ok(Some((line_end + 1, self.body(role)?))),
                }
            }
            self.lines += 1;
            match (self.lines, role) {
                (1, Role::Request) => self.request_line(line, limits)?,
                (1, Role::Response) => self.status_line(line)?,
                _ => self.header_line(line, role, limits)?,
            }
        }
        if bytes.len() > limits.head_bytes_max {
            return Err(too_large(role, self.lines));
        }
        self.searched = bytes.len();
        Ok(None)
    }

    fn request_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), Reason> {
        let malformed = Reason::RequestLineMalformed;
        let space = memchr::memchr(b' ', line).ok_or(malformed)?;
        let (method, rest) = (&line[..space], &line[space + 1..]);
        let space = memchr::memrchr(b' ', rest).ok_or(malformed)?;
        let (target, version) = (&rest[..space], &rest[space + 1..]);
        if method.is_empty() || method.len() > METHOD_BYTES_MAX {
            return Err(malformed);
        }
        if !method.iter().all(|&byte| METHOD_CHARACTERS[byte as usize]) {
            return Err(malformed);
        }
        if target.len() > limits.target_bytes_max {
            return Err(Reason::TargetTooLong);
        }
        if !target.iter().all(|&byte| TARGET_CHARACTERS[byte as usize]) {
            return Err(malformed);
        }
        self.is_http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ if version.starts_with(b"HTTP/") => return Err(Reason::VersionNotSupported),
            _ => return Err(malformed),
        };
        match target {
            [b'/', ..] => Ok(()),
            _ if method == b"CONNECT" => Err(Reason::MethodNotSupported),
            b"*" if method == b"OPTIONS" => Ok(()),
            // The absolute form is rare enough for a full parse.
            _ => match http::Uri::try_from(target) {
                Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) => Ok(()),
                _ => Err(malformed),
            },
        }
    }

    fn status_line(&mut self, line: &[u8]) -> Result<(), Reason> {
        let invalid = Reason::UpstreamInvalidResponse;
        self.is_http_10 = match line.get(..9) {
            Some(b"HTTP/1.1 ") => false,
            Some(b"HTTP/1.0 ") => true,
            _ => return Err(invalid),
        };
        let status = line.get(9..12).ok_or(invalid)?;
        if !status.iter().all(u8::is_ascii_digit) || !matches!(line.get(12), None | Some(b' ')) {
            return Err(invalid);
        }
        self.body_of_status = match status {
            [b'1', ..] => Some(Body::Interim),
            b"204" | b"304" => Some(Body::None),
            _ => None,
        };
        Ok(())
    }

    fn header_line(&mut self, line: &[u8], role: Role, limits: &HeadLimits) -> Result<(), Reason> {
        // The first line is not a header.
        if self.lines - 1 > limits.headers_max {
            return Err(match role {
                Role::Request => Reason::TooManyHeaders,
                Role::Response => Reason::UpstreamInvalidResponse,
            });
        }
        let malformed = malformed(role, self.lines);
        // A blank before the name is folding, one before the colon is refused too
        // (RFC 9112 sections 5.1 and 5.2): neither is a token character.
        // Those of a request are looked at where they become names and values; those of an answer go
        // on as they are.
        let colon = match role {
            Role::Request => colon(line),
            Role::Response => end_of_token(line).filter(|&end| end > 0 && line[end] == b':'),
        };
        let colon = colon.ok_or(malformed)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if role == Role::Response && has_control(value) {
            return Err(malformed);
        }
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value, role),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding(value, role)
            }
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8], role: Role) -> Result<(), Reason> {
        let invalid = refusal(role, Reason::ContentLengthInvalid);
        let digits = value.trim_ascii();
        // One header, one number: not even an equal second one, nor a list.
        if self.content_length.is_some()
            || digits.is_empty()
            || digits.len() > CONTENT_LENGTH_DIGITS_MAX
        {
            return Err(invalid);
        }
        let mut length = 0_u64;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(invalid);
            }
            length = length
                .checked_mul(10)
                .and_then(|length| length.checked_add(u64::from(digit - b'0')))
                .ok_or(invalid)?;
        }
        self.content_length = Some(length);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8], role: Role) -> Result<(), Reason> {
        let is_odd = self.is_chunked
            || self.is_http_10
            || !value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        if is_odd {
            return Err(refusal(role, Reason::TransferEncodingInvalid));
        }
        self.is_chunked = true;
        Ok(())
    }

    /// RFC 9112 section 6.3, with every ambiguity refused.
    fn body(&self, role: Role) -> Result<Body, Reason> {
        if self.is_chunked && self.content_length.is_some() {
            return Err(refusal(role, Reason::FramingConflict));
        }
        if let Some(body) = self.body_of_status {
            return Ok(body);
        }
        Ok(match (self.is_chunked, self.content_length, role) {
            (true, _, _) => Body::Chunked,
            (false, Some(length), _) => Body::Sized(length),
            (false, None, Role::Request) => Body::None,
            (false, None, Role::Response) => Body::UntilClose,
        })
    }
}

/// Where the first character stands that no token has.
fn end_of_token(line: &[u8]) -> Option<usize> {
    let is_outside = |&byte: &u8| !METHOD_CHARACTERS[byte as usize];
    line.iter().position(is_outside)
}

/// Control characters other than a tab have no place in a value (RFC 9110 section 5.5).
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch in the loop this becomes a handful of vector instructions"
)]
fn has_control(value: &[u8]) -> bool {
    value.iter().fold(false, |found, &byte| {
        found | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f)
    })
}

fn malformed(role: Role, lines: usize) -> Reason {
    match (role, lines) {
        (Role::Response, _) => Reason::UpstreamInvalidResponse,
        (Role::Request, 0) => Reason::RequestLineMalformed,
        (Role::Request, _) => Reason::HeaderMalformed,
    }
}

fn too_large(role: Role, lines: usize) -> Reason {
    match (role, lines) {
        (Role::Response, _) => Reason::UpstreamInvalidResponse,
        // A request line that fills the whole head is a target that is too long.
        (Role::Request, 0) => Reason::TargetTooLong,
        (Role::Request, _) => Reason::HeadTooLarge,
    }
}

fn refusal(role: Role, reason: Reason) -> Reason {
    match role {
        Role::Request => reason,
        Role::Response => Reason::UpstreamInvalidResponse,
    }
}
