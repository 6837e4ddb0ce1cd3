//! What of a request stays the same for one user, as a number.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};

/// Where the key of a request is: requests with the same key belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The value of a header; of several the first.
    Header(HeaderName),
    /// The value of a cookie; of several with its name the first.
    Cookie(Box<str>),
    /// Who the caller is: the `sub` claim of its token.
    Subject,
}

impl HashKey {
    /// The key's hash; `None` where the request has no such key, or an empty one.
    ///
    /// All gateways come to the same number, today and after an upgrade.
    #[must_use]
    pub fn hash(&self, headers: &HeaderMap, subject: Option<&str>) -> Option<u64> {
        let value = match self {
            HashKey::Header(name) => headers.get(name)?.as_bytes(),
            HashKey::Cookie(name) => cookie(headers, name.as_bytes())?,
            HashKey::Subject => subject?.as_bytes(),
        };
        (!value.is_empty()).then(|| hash(value))
    }
}

/// The value of a cookie (RFC 6265 section 4.2.1).
fn cookie<'h>(headers: &'h HeaderMap, name: &[u8]) -> Option<&'h [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value)
    })
}

/// FNV-1a with 64 bits (draft-eastlake-fnv), its bits mixed once more.
///
/// Clients can find keys that meet: what they gain is a share of one endpoint, within the bound of
/// its load.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Spreads each bit over all others: the output function of `SplitMix64` (Steele, Lea and Flood,
/// "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
pub(super) fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_key_is_found_where_it_is_said_to_be() {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_static("ada"));
        headers.insert("x-empty", HeaderValue::from_static(""));
        headers.append(COOKIE, HeaderValue::from_static("a=1; sid=ada; sid=other"));
        headers.append(COOKIE, HeaderValue::from_static("late=ada;no"));
        let header = |name| HashKey::Header(HeaderName::from_static(name));
        let cookie = |name: &str| HashKey::Cookie(name.into());
        let ada = Some(hash(b"ada"));
        let table = [
            (header("x-user"), ada),
            (header("x-empty"), None),
            (header("x-none"), None),
            (cookie("sid"), ada),
            (cookie("late"), ada),
            (cookie("si"), None),
            (cookie("no"), None),
            (HashKey::Subject, ada),
        ];
        for (key, expected) in table {
            assert_eq!(key.hash(&headers, Some("ada")), expected, "{key:?}");
        }
        assert_eq!(HashKey::Subject.hash(&headers, None), None);
    }

    #[test]
    fn the_hash_stays_what_it_is() {
        assert_eq!(hash(b""), 0xc381_7c01_6ba4_ff30);
        assert_eq!(hash(b"ada"), 0x5b1b_2855_ac89_22ba);
        // The first output of SplitMix64 for the seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }
}
