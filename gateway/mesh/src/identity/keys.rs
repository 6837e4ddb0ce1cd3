//! The public keys of all gateway processes, as far as they are known.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use tokio::time::Instant;

/// How long keys stay whose process no longer answers, or is no longer listed: a name with many
/// addresses need not list them all in each answer.
const KEEP: Duration = Duration::from_hours(1);
/// Processes whose keys are held.
const PROCESSES_MAX: usize = 64;
/// Keys of one process; a gateway has at most five.
const KEYS_MAX: usize = 16;

/// Keys by their ids.
pub(super) type Ring = HashMap<Box<str>, Arc<DecodingKey>>;

/// The keys of each process, by its address.
#[derive(Default)]
pub(super) struct Keys {
    processes: Vec<Process>,
}

struct Process {
    address: SocketAddr,
    keys: Ring,
    answered_at: Instant,
}

impl Keys {
    /// Takes in what a process published. Keys that it no longer publishes are gone at once.
    pub(super) fn learn(&mut self, address: SocketAddr, keys: Ring, now: Instant) {
        self.processes.retain(|process| process.address != address);
        self.processes.push(Process {
            address,
            keys,
            answered_at: now,
        });
    }

    /// Forgets processes that have not answered for long, and the oldest of too many.
    pub(super) fn forget(&mut self, now: Instant) {
        let is_fresh = |process: &Process| now.duration_since(process.answered_at) < KEEP;
        self.processes.retain(is_fresh);
        // In the order in which they answered.
        let surplus = self.processes.len().saturating_sub(PROCESSES_MAX);
        self.processes.drain(..surplus);
    }

    /// All keys.
    pub(super) fn ring(&self) -> Ring {
        let keys = self.processes.iter().flat_map(|process| &process.keys);
        keys.map(|(id, key)| (id.clone(), Arc::clone(key)))
            .collect()
    }
}

/// Reads a JWK set. What is no key for ES256 with an id is left out.
pub(super) fn read(document: &[u8]) -> Result<Ring, serde_json::Error> {
    let set: JwkSet = serde_json::from_slice(document)?;
    Ok(set.keys.iter().take(KEYS_MAX).filter_map(key).collect())
}

fn key(jwk: &Jwk) -> Option<(Box<str>, Arc<DecodingKey>)> {
    let AlgorithmParameters::EllipticCurve(parameters) = &jwk.algorithm else {
        return None;
    };
    if parameters.curve != EllipticCurve::P256 {
        return None;
    }
    let id = jwk.common.key_id.as_deref()?;
    Some((id.into(), Arc::new(DecodingKey::from_jwk(jwk).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn ring(id: &str) -> Ring {
        let set = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"{id}","x":"{X}","y":"{Y}"}}]}}"#
        );
        read(set.as_bytes()).unwrap()
    }

    fn ids(keys: &Keys) -> Vec<String> {
        let mut ids: Vec<_> = keys.ring().keys().map(ToString::to_string).collect();
        ids.sort();
        ids
    }

    fn address(number: usize) -> SocketAddr {
        let number = u8::try_from(number).unwrap();
        SocketAddr::from(([10, 0, 0, number], 80))
    }

    #[test]
    fn what_is_no_key_for_es256_with_an_id_is_left_out() {
        let set = format!(
            r#"{{"keys":[
                {{"kty":"EC","crv":"P-256","kid":"good","x":"{X}","y":"{Y}"}},
                {{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"}},
                {{"kty":"EC","crv":"P-384","kid":"curve","x":"{X}","y":"{Y}"}},
                {{"kty":"EC","crv":"P-256","kid":"text","x":"?","y":"{Y}"}},
                {{"kty":"oct","kid":"secret","k":"AAAA"}},
                {{"kty":"RSA","kid":"rsa","n":"AQAB","e":"AQAB"}}
            ]}}"#
        );
        let ring = read(set.as_bytes()).unwrap();
        assert_eq!(ring.keys().map(|id| &**id).collect::<Vec<_>>(), ["good"]);
        for document in ["", "[]", "{}", "<html>", r#"{"keys":5}"#] {
            assert!(read(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn the_keys_are_those_of_all_processes_and_a_key_taken_back_is_gone_at_once() {
        let now = Instant::now();
        let mut keys = Keys::default();
        keys.learn(address(1), ring("a"), now);
        keys.learn(address(2), ring("b"), now);
        assert_eq!(ids(&keys), ["a", "b"]);
        keys.learn(address(1), ring("c"), now);
        assert_eq!(ids(&keys), ["b", "c"]);
    }

    #[test]
    fn a_process_that_does_not_answer_keeps_its_keys_for_an_hour() {
        let now = Instant::now();
        let mut keys = Keys::default();
        keys.learn(address(1), ring("a"), now);
        keys.learn(address(2), ring("b"), now + Duration::from_secs(1));
        keys.forget(now + KEEP - Duration::from_secs(1));
        assert_eq!(ids(&keys), ["a", "b"]);
        keys.forget(now + KEEP);
        assert_eq!(ids(&keys), ["b"]);
    }

    #[test]
    fn of_too_many_processes_those_stay_that_answered_last() {
        let now = Instant::now();
        let mut keys = Keys::default();
        for number in 0..=PROCESSES_MAX {
            keys.learn(address(number), ring(&format!("{number:02}")), now);
        }
        keys.learn(address(1), ring("again"), now);
        keys.forget(now);
        let ids = ids(&keys);
        assert_eq!(ids.len(), PROCESSES_MAX);
        assert_eq!((&*ids[0], &*ids[PROCESSES_MAX - 1]), ("02", "again"));
    }
}
