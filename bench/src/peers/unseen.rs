//! Tokens that no proxy has seen, for the peers whose every request must be verified anew.
//!
//! All are minted before the first measurement. A proxy lives for one measurement, so that
//! its cache is empty at the start and the same tokens serve every round.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::identity::{Algorithm, Identities, Identity};
use super::{Present, Tokens};
use crate::output::{self, LiveLine, grouped};

/// More requests than a proxy can answer in a second on one core when it verifies a
/// signature in each: RS256 alone takes 16 µs, and the rest of a request as much.
const TOKENS_PER_SECOND: u64 = 30_000;

/// Twice the entries of the gateway's cache, with room to spare.
const TOKENS_MIN: u64 = 25_000;

/// About 80 MB of tokens, and half a minute to sign them with RSA on two cores. When a
/// measurement is so long that they come round again, each has been displaced by fifteen
/// times what the gateway's cache holds.
const TOKENS_MAX: u64 = 150_000;

/// Tokens minted between two looks at whether the run was interrupted, and by how far it is.
const BATCH: usize = 4_000;

/// The tokens of one run, for each algorithm that a peer needs them in.
#[derive(Default)]
pub(super) struct Unseen {
    rs256: Vec<String>,
    es256: Vec<String>,
    hs256: Vec<String>,
}

impl Unseen {
    /// Mints what `present` peers need in measurements of `load`, warm-up included, and `many` for
    /// those that are asked with so many.
    ///
    /// # Errors
    /// When a token cannot be signed.
    pub(super) async fn mint(
        identities: &Identities,
        present: &[Present],
        load: Duration,
        many: u32,
    ) -> anyhow::Result<Self> {
        let many = usize::try_from(many)?;
        let mut unseen = Self::default();
        for (algorithm, tokens) in [
            (Algorithm::Rs256, &mut unseen.rs256),
            (Algorithm::Es256, &mut unseen.es256),
            (Algorithm::Hs256, &mut unseen.hs256),
        ] {
            let counts = present
                .iter()
                .filter_map(|present| match present.peer.tokens {
                    Tokens::Unseen(of) if of == algorithm => Some(count_for(load)),
                    Tokens::Many(of) if of == algorithm => Some(many),
                    Tokens::Unseen(_) | Tokens::Many(_) | Tokens::Same(_) => None,
                });
            if let Some(count) = counts.max() {
                *tokens = mint_all(identities.of(algorithm), count).await?;
            }
        }
        Ok(unseen)
    }

    /// The tokens of an algorithm; none unless a peer needs them.
    pub(super) fn of(&self, algorithm: Algorithm) -> &[String] {
        match algorithm {
            Algorithm::Rs256 => &self.rs256,
            Algorithm::Es256 => &self.es256,
            Algorithm::Hs256 => &self.hs256,
        }
    }
}

/// So many that no token comes twice in one measurement, unless that is very long.
fn count_for(load: Duration) -> usize {
    let millis = u64::try_from(load.as_millis()).unwrap_or(u64::MAX);
    let count = millis.saturating_mul(TOKENS_PER_SECOND) / 1_000;
    usize::try_from(count.clamp(TOKENS_MIN, TOKENS_MAX)).unwrap_or(usize::MAX)
}

async fn mint_all(identity: &Identity, count: usize) -> anyhow::Result<Vec<String>> {
    let name = identity.algorithm.as_str();
    output::note(&format!(
        "minting {} {name} tokens, another for each request",
        grouped(count as u64)
    ));
    let line = LiveLine::new();
    let mut tokens = Vec::with_capacity(count);
    while tokens.len() < count {
        let end = (tokens.len() + BATCH).min(count);
        mint_batch(identity, tokens.len()..end, &mut tokens)?;
        line.show(&format!("{} minted", grouped(tokens.len() as u64)));
        // Ctrl-C is heard here.
        tokio::task::yield_now().await;
    }
    line.clear();
    Ok(tokens)
}

/// On all cores: an RSA signature costs fifteen times what verifying it does.
fn mint_batch(
    identity: &Identity,
    numbers: std::ops::Range<usize>,
    tokens: &mut Vec<String>,
) -> anyhow::Result<()> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let numbers: Vec<usize> = numbers.collect();
    let minted = thread::scope(|scope| {
        let minting: Vec<_> = numbers
            .chunks(numbers.len().div_ceil(threads).max(1))
            .map(|numbers| {
                scope.spawn(move || -> anyhow::Result<Vec<String>> {
                    numbers
                        .iter()
                        .map(|&number| identity.mint(number))
                        .collect()
                })
            })
            .collect();
        let results = minting.into_iter().map(|thread| {
            thread
                .join()
                .ok()
                .context("a thread that minted tokens died")?
        });
        results.collect::<anyhow::Result<Vec<_>>>()
    })?;
    tokens.extend(minted.into_iter().flatten());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::peers::gateway;

    #[test]
    fn count_grows_with_the_load_within_its_bounds() {
        for (load, expected) in [
            (Duration::ZERO, 25_000),
            (Duration::from_secs(2), 60_000),
            (Duration::from_secs(4), 120_000),
            (Duration::from_hours(2), 150_000),
        ] {
            assert_eq!(count_for(load), expected, "{load:?}");
        }
    }

    #[tokio::test]
    async fn every_token_is_minted_once_and_only_where_needed() {
        let directory = tempfile::tempdir().unwrap();
        let identities = Identities::create(directory.path()).unwrap();
        let present = [&gateway::ES256_UNCACHED, &gateway::MANY_TOKENS].map(|peer| Present {
            peer,
            program: directory.path().to_owned(),
        });
        let unseen = Unseen::mint(&identities, &present, Duration::ZERO, 10).await;
        let unseen = unseen.unwrap();
        let tokens: BTreeSet<_> = unseen.of(Algorithm::Es256).iter().collect();
        assert_eq!(tokens.len(), 25_000);
        assert!(!tokens.contains(&identities.of(Algorithm::Es256).token));
        assert_eq!(unseen.of(Algorithm::Hs256).len(), 10);
        assert!(unseen.of(Algorithm::Rs256).is_empty());
    }
}
