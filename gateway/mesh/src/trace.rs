//! W3C Trace Context, header `traceparent`
//! (<https://www.w3.org/TR/trace-context/>, section 3.2). Nothing here allocates.
//! The headers of Zipkin are in [`b3`].

pub mod b3;

use fastrand::Rng;

/// Length of a `traceparent` of version 00, in bytes.
pub const ENCODED_BYTES: usize = 55;

/// The flag that says the caller may have recorded this trace; the only one that
/// version 00 defines.
pub const SAMPLED: u8 = 0x01;

/// A position in a trace: which trace, and which span of it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Id of the whole trace; never zero.
    pub trace_id: u128,
    /// Id of the span that sends the request; never zero.
    pub parent_id: u64,
    /// Flags as they came; see [`SAMPLED`].
    pub flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` value.
    ///
    /// Strict, as the specification asks: version `ff`, upper-case digits, zero
    /// ids and a version 00 of any other length than [`ENCODED_BYTES`] are `None`.
    /// Of a later version the first 55 bytes count, and more may follow after a
    /// dash.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(ENCODED_BYTES)?;
        if [known[2], known[35], known[52]] != *b"---" {
            return None;
        }
        match (read_hex(&known[..2])?, rest.first()) {
            (0xff, _) => return None,
            (_, None) | (1.., Some(b'-')) => {}
            (_, Some(_)) => return None,
        }
        let trace_id = read_hex(&known[3..35])?;
        let parent_id = u64::try_from(read_hex(&known[36..52])?).ok()?;
        let flags = u8::try_from(read_hex(&known[53..])?).ok()?;
        (trace_id != 0 && parent_id != 0).then_some(Self {
            trace_id,
            parent_id,
            flags,
        })
    }

    /// The first position of a new trace, sampled: its first hop writes a log line.
    pub fn root(rng: &mut Rng) -> Self {
        Self {
            trace_id: rng.u128(1..),
            parent_id: rng.u64(1..),
            flags: SAMPLED,
        }
    }

    /// The next position in the same trace.
    ///
    /// Flags other than [`SAMPLED`] are cleared: version 00 has a sender set
    /// unknown ones to zero.
    #[must_use]
    pub fn child(&self, rng: &mut Rng) -> Self {
        Self {
            trace_id: self.trace_id,
            parent_id: rng.u64(1..),
            flags: self.flags & SAMPLED,
        }
    }

    /// Whether the caller may have recorded this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The value of `traceparent`, version 00.
    #[must_use]
    pub fn encode(&self) -> [u8; ENCODED_BYTES] {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(self.trace_id, &mut value[3..35]);
        write_hex(self.parent_id.into(), &mut value[36..52]);
        write_hex(self.flags.into(), &mut value[53..]);
        value
    }
}

/// Writes the low digits of `number`, lower case, as many as `digits` holds: an even number of up
/// to 32.
pub fn write_hex(number: u128, digits: &mut [u8]) {
    // Of fixed length and without a branch or a table this becomes vector instructions.
    let mut all = [0; 32];
    for (pair, byte) in all.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = b'0' + nibble + u8::from(nibble > 9) * (b'a' - b'9' - 1);
        }
    }
    digits.copy_from_slice(&all[all.len() - digits.len()..]);
}

/// Reads up to 32 lower-case hex digits.
fn read_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_value_survives_the_round_trip() {
        let context = TraceContext::parse(VALID.as_bytes()).unwrap();
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.parent_id, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(context.flags, SAMPLED);
        assert_eq!(context.encode(), VALID.as_bytes());
    }

    #[test]
    fn what_the_specification_refuses_is_refused() {
        let valid_tail = &VALID[2..];
        let cases = [
            (VALID.to_owned(), true),
            (format!("cc{valid_tail}"), true),
            (format!("01{valid_tail}-what-the-future-holds"), true),
            (format!("01{valid_tail}-"), true),
            (format!("01{valid_tail}.x"), false),
            (format!("ff{valid_tail}"), false),
            (format!("ff{valid_tail}-x"), false),
            (format!("0{valid_tail}"), false),
            (format!("{VALID}-x"), false),
            (format!("{VALID} "), false),
            (format!(" {VALID}"), false),
            (VALID[..54].to_owned(), false),
            (String::new(), false),
            (VALID.to_uppercase(), false),
            (VALID.replace('-', "_"), false),
            (VALID.replace("4bf9", "4bF9"), false),
            (VALID.replace("4bf9", "4bg9"), false),
            (VALID.replace("-01", "-0x"), false),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01".into(),
                false,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01".into(),
                false,
            ),
        ];
        for (value, accepted) in cases {
            assert_eq!(
                TraceContext::parse(value.as_bytes()).is_some(),
                accepted,
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_child_keeps_the_trace_and_clears_flags_that_version_00_does_not_know() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = Rng::with_seed(seed);
        let root = TraceContext::root(&mut rng);
        assert_eq!(TraceContext::parse(&root.encode()), Some(root));
        let child = TraceContext {
            flags: 0xff,
            ..root
        }
        .child(&mut rng);
        assert_eq!(child.trace_id, root.trace_id);
        assert_ne!(child.parent_id, root.parent_id);
        assert_eq!(child.flags, SAMPLED);
    }
}
