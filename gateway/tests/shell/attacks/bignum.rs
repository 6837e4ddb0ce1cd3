//! Large numbers as bytes of a fixed length.

use std::fmt::Write as _;

use num_bigint::BigUint;

/// A number written in hexadecimal.
pub(super) fn number(hex: &str) -> BigUint {
    BigUint::parse_bytes(hex.as_bytes(), 16).expect("hexadecimal digits")
}

/// Bytes written in hexadecimal, leading zeros kept.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    fixed(&number(hex), hex.len() / 2)
}

/// Two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a string takes all");
        digits
    })
}

/// Big-endian, with as many leading zeros as it takes.
pub(super) fn fixed(number: &BigUint, length: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let zeros = length
        .checked_sub(bytes.len())
        .expect("the number fits its field");
    [vec![0; zeros], bytes].concat()
}
