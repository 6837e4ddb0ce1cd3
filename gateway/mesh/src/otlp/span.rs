//! What was done, as whoever did it knows it.

use std::borrow::Cow;

/// Bytes of a text that a client chose; what is longer is cut.
pub const TEXT_BYTES_MAX: usize = 256;

/// One thing that was done for a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Id of the whole trace; never zero.
    pub trace_id: u128,
    /// Id of this span; never zero.
    pub span_id: u64,
    /// Id of the span that caused it; `None` at the root.
    pub parent_id: Option<u64>,
    /// What it is called; of few values, never a path.
    pub name: Cow<'static, str>,
    /// Its place between two processes.
    pub kind: Kind,
    /// Microseconds since 1970.
    pub started_micros: u64,
    /// The same.
    pub ended_micros: u64,
    /// What else is known of it, by the names of the semantic conventions.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub is_error: bool,
}

/// The place of a span between two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It answers a request of another process.
    Server,
    /// It waits for another process.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

impl Value {
    /// Text that a client chose, cut to [`TEXT_BYTES_MAX`].
    #[must_use]
    pub fn foreign(text: &str) -> Self {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        Self::Text(text[..end].to_owned().into())
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Who did it: attributes such as `service.name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource(Vec<(String, String)>);

impl Resource {
    /// The process of a service.
    #[must_use]
    pub fn new(service: &str, version: &str) -> Self {
        let mut resource = Self::default();
        resource.set("service.name", service);
        resource.set("service.version", version);
        resource.set("telemetry.sdk.language", "rust");
        resource
    }

    /// Sets an attribute; one that is there already is replaced.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Sets the attributes of `OTEL_RESOURCE_ATTRIBUTES`: `name=value`, comma-separated. What has
    /// no `=` or no name is left out, as the specification of the variable allows.
    pub fn set_all(&mut self, text: &str) {
        for pair in text.split(',') {
            if let Some((name, value)) = pair.split_once('=')
                && !name.trim().is_empty()
            {
                self.set(name.trim(), value.trim());
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let attributes = self.0.iter();
        attributes.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The bits of a trace id that are random (W3C Trace Context Level 2, section 3.2.2.3: the last
/// seven bytes).
const RANDOM_BITS: u32 = 56;

/// The least value of a trace id's random bits with which it is sampled, for this share of traces,
/// 0 to 1. The rule is that of OpenTelemetry's consistent probability sampling, by which the
/// gateway chooses too.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of 2^56 lies between 0 and 2^56"
)]
pub fn ratio_threshold(ratio: f64) -> u128 {
    let all = 1_u64 << RANDOM_BITS;
    ((1.0 - ratio.clamp(0.0, 1.0)) * all as f64) as u128
}

/// Whether a trace that begins here is sampled: by its id alone, so that every process that goes
/// by the same share decides the same. Costs a comparison.
#[must_use]
pub fn is_sampled(trace_id: u128, threshold: u128) -> bool {
    trace_id & ((1 << RANDOM_BITS) - 1) >= threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_sampled_traces_is_the_ratio() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for (ratio, range) in [
            (0.0, 0..=0),
            (0.01, 60..=140),
            (0.5, 4_700..=5_300),
            (1.0, 10_000..=10_000),
        ] {
            let threshold = ratio_threshold(ratio);
            let sampled = (0..10_000).filter(|_| is_sampled(rng.u128(1..), threshold));
            let sampled = sampled.count();
            assert!(range.contains(&sampled), "{ratio}: {sampled}");
        }
        assert!(is_sampled(1 << 64, ratio_threshold(1.0)));
        assert!(!is_sampled(u128::MAX, ratio_threshold(0.0)));
    }

    #[test]
    fn the_last_word_on_an_attribute_counts() {
        let mut resource = Resource::new("a", "1");
        resource.set_all("service.name=b, team = x=y ,=z,alone,");
        resource.set("team", "q");
        let all: Vec<_> = resource.iter().collect();
        assert_eq!(
            all,
            [
                ("service.version", "1"),
                ("telemetry.sdk.language", "rust"),
                ("service.name", "b"),
                ("team", "q"),
            ]
        );
    }

    #[test]
    fn what_a_client_chose_is_cut_between_characters() {
        let Value::Text(text) = Value::foreign(&"é".repeat(200)) else {
            panic!("it is text");
        };
        assert_eq!(text.len(), TEXT_BYTES_MAX);
        let Value::Text(text) = Value::foreign(&format!("a{}", "é".repeat(200))) else {
            panic!("it is text");
        };
        assert_eq!(text.len(), TEXT_BYTES_MAX - 1);
    }
}
