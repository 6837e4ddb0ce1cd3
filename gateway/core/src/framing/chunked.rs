//! The chunked transfer coding (RFC 9112 section 7.1), told apart from what it carries.

use super::{HeadLimits, Step};

/// Extensions carry nothing for us; a kilobyte of them is already odd.
const EXTENSION_BYTES_MAX: u32 = 1024;
/// 15 hexadecimal digits stay below 2^60.
const SIZE_DIGITS_MAX: u32 = 15;

#[derive(Clone, Copy, Debug)]
enum State {
    Size { value: u64, digits: u32 },
    Extension { value: u64, bytes: u32 },
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

/// Position within one chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    trailer_bytes: usize,
    trailers: usize,
}

impl Default for Chunked {
    fn default() -> Self {
        Self {
            state: State::Size {
                value: 0,
                digits: 0,
            },
            trailer_bytes: 0,
            trailers: 0,
        }
    }
}

impl Chunked {
    /// Whether the next byte is of a chunk's content.
    pub(super) fn is_in_data(&self) -> bool {
        matches!(self.state, State::Data(_))
    }

    /// What the first bytes are, of one kind and of this body, and whether it ends with them.
    pub(super) fn step(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<(Step, bool), ()> {
        if let State::Data(left) = self.state {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let left = left - length as u64;
            self.state = if left == 0 {
                State::DataCr
            } else {
                State::Data(left)
            };
            return Ok((Step::Data { length }, false));
        }
        for (at, &byte) in bytes.iter().enumerate() {
            let step = Step::Delimiter { length: at + 1 };
            match self.delimiter(byte, limits)? {
                None => return Ok((step, true)),
                Some(next) => self.state = next,
            }
            if matches!(self.state, State::Data(_)) {
                return Ok((step, false));
            }
        }
        Ok((
            Step::Delimiter {
                length: bytes.len(),
            },
            false,
        ))
    }

    /// One byte of framing; `None` after the last one.
    fn delimiter(&mut self, byte: u8, limits: &HeadLimits) -> Result<Option<State>, ()> {
        Ok(Some(match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(());
                }
                let digit = u64::from(char::from(byte).to_digit(16).ok_or(())?);
                State::Size {
                    value: value * 16 + digit,
                    digits: digits + 1,
                }
            }
            (State::Size { digits: 0, .. }, _) => return Err(()),
            (State::Size { value, .. } | State::Extension { value, .. }, b'\r') => {
                State::SizeLf(value)
            }
            (State::Size { value, .. }, b';') => State::Extension { value, bytes: 0 },
            (State::Extension { value, bytes }, _) => {
                if bytes == EXTENSION_BYTES_MAX || is_control(byte) {
                    return Err(());
                }
                State::Extension {
                    value,
                    bytes: bytes + 1,
                }
            }
            (State::SizeLf(0) | State::TrailerLf, b'\n') => State::TrailerStart,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size {
                value: 0,
                digits: 0,
            },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => return Ok(None),
            // A trailer line begins with a name: no folding (RFC 9112 section 5.2), no blank.
            (State::TrailerStart, _) if super::METHOD_CHARACTERS[byte as usize] => {
                self.trailers += 1;
                if self.trailers > limits.headers_max {
                    return Err(());
                }
                self.count_trailer_byte(limits)?;
                State::Trailer
            }
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, _) if !is_control(byte) => {
                self.count_trailer_byte(limits)?;
                State::Trailer
            }
            _ => return Err(()),
        }))
    }

    fn count_trailer_byte(&mut self, limits: &HeadLimits) -> Result<(), ()> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > limits.head_bytes_max {
            return Err(());
        }
        Ok(())
    }
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}
