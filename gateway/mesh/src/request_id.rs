//! The id that one request carries through every hop.

use std::fmt;

use fastrand::Rng;
use http::HeaderValue;

/// Longest id that is taken over from a trusted hop, in bytes.
pub const MAX_BYTES: usize = 128;

/// A request id of our own making: 32 lower-case hex digits, 128 random bits.
///
/// An id that a trusted hop sent is kept as it came, if it [`is_acceptable`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// A new id. The generator need not be cryptographic: the id names a
    /// request in logs and proves nothing.
    pub fn random(rng: &mut Rng) -> Self {
        let mut digits = [0; 32];
        crate::trace::write_hex(rng.u128(..), &mut digits);
        Self(digits)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }

    /// The id as the value of `x-request-id`.
    #[must_use]
    pub fn to_header_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hex digits are valid in a header")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// Whether an id that a trusted hop sent may be kept: 1 to [`MAX_BYTES`] bytes of
/// `[A-Za-z0-9._:/+=@-]`.
///
/// Nothing in that set needs an escape in JSON, in a header or in a log line.
#[must_use]
pub fn is_acceptable(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:/+=@-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_is_32_lower_case_hex_digits_and_acceptable() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = Rng::with_seed(seed);
        let id = RequestId::random(&mut rng);
        assert_eq!(id.as_str().len(), 32);
        assert!(
            id.as_str()
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert!(is_acceptable(id.as_str().as_bytes()));
        assert_eq!(id.to_header_value(), id.as_str());
        assert_ne!(id, RequestId::random(&mut rng));
    }

    #[test]
    fn only_short_ids_of_harmless_bytes_are_acceptable() {
        let longest = "a".repeat(MAX_BYTES);
        let too_long = "a".repeat(MAX_BYTES + 1);
        let cases: [(&[u8], bool); 12] = [
            (b"a", true),
            (b"AZaz09._:/+=@-", true),
            (longest.as_bytes(), true),
            (too_long.as_bytes(), false),
            (b"", false),
            (b"a b", false),
            (b"a\nb", false),
            (b"a\"b", false),
            (b"a,b", false),
            (b"a%b", false),
            (b"a\0", false),
            ("ä".as_bytes(), false),
        ];
        for (id, expected) in cases {
            assert_eq!(
                is_acceptable(id),
                expected,
                "{:?}",
                String::from_utf8_lossy(id)
            );
        }
    }
}
