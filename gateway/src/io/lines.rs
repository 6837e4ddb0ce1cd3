//! Header lines, onto the wire.

/// Writes a header line.
pub(crate) fn write_line(buffer: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    buffer.reserve(name.len() + value.len() + 4);
    buffer.extend_from_slice(name);
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(b"\r\n");
}

/// Writes how long a body is.
pub(crate) fn write_length(buffer: &mut Vec<u8>, length: u64) {
    let mut digits = itoa::Buffer::new();
    write_line(buffer, b"content-length", digits.format(length).as_bytes());
}
