//! What client and upstreams agree on: how an order is asked for, and what it looks like.

/// Orders are below this path, by their number.
pub(crate) const PATH: &str = "/orders/";
/// Bytes of an answer's body.
pub(crate) const BODY_SIZE: usize = 2048;

/// The number in a target.
pub(crate) fn number(target: &str) -> Option<u64> {
    target.strip_prefix(PATH)?.parse().ok()
}

/// The body of the answer about this order: no other order's, and wrong as soon as a byte is
/// missing.
pub(crate) fn body(number: u64) -> String {
    let mut text = format!("order {number}\n").repeat(BODY_SIZE / 8);
    text.truncate(BODY_SIZE);
    text
}
