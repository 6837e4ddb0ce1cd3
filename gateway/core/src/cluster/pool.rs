//! Endpoints to draw from, with what makes a draw cost the same whatever their number.

use std::sync::Arc;

use super::Endpoint;
use super::alias::AliasTable;

/// Turns that a round has at most; heavier weights are scaled down to it.
const TURNS_MAX: u64 = 8_192;

/// One endpoint among others.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    /// What one request under way counts here: the mean weight divided by the endpoint's own.
    pub(super) scale: f64,
}

/// Endpoints to draw from; at least one.
#[derive(Debug)]
pub(super) struct Pool {
    members: Box<[Member]>,
    /// There where the weights differ.
    alias: Option<AliasTable>,
    /// One round of turns, as indices; empty where nobody takes turns.
    turns: Box<[usize]>,
}

impl Pool {
    /// A pool of members and their weights, `None` when all weights are 0.
    pub(super) fn new(weighted: Vec<(Member, u64)>, has_turns: bool) -> Option<Self> {
        let weighted = weighted.into_iter().filter(|(_, weight)| *weight > 0);
        let (members, weights): (Vec<_>, Vec<_>) = weighted.unzip();
        let first = *weights.first()?;
        let is_even = weights.iter().all(|&weight| weight == first);
        Some(Self {
            members: members.into(),
            alias: (!is_even).then(|| AliasTable::new(&weights)),
            turns: if has_turns {
                round(&weights)
            } else {
                [].into()
            },
        })
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member whose turn it is.
    pub(super) fn turn(&self, turn: u64) -> &Member {
        let place = turn % self.turns.len() as u64;
        &self.members[self.turns[usize::try_from(place).unwrap_or(0)]]
    }

    /// One member, drawn in proportion to its weight.
    pub(super) fn draw(&self, random: u32) -> &Member {
        let index = match &self.alias {
            Some(alias) => alias.draw(random),
            None => below(random, self.members.len()),
        };
        &self.members[index]
    }

    /// Two members, drawn in proportion to their weights.
    ///
    /// They differ where all weights are equal. Where not, they are drawn independently: of two
    /// endpoints each pair would otherwise be the same, and the weights would mean nothing.
    pub(super) fn draw_two(&self, random: u64) -> (&Member, &Member) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "each half is a draw of its own"
        )]
        let (low, high) = (random as u32, (random >> 32) as u32);
        if self.alias.is_some() {
            return (self.draw(low), self.draw(high));
        }
        let first = below(low, self.members.len());
        let second = below(high, self.members.len().max(2) - 1);
        let second = second + usize::from(second >= first);
        let second = self.members.get(second).unwrap_or(&self.members[first]);
        (&self.members[first], second)
    }
}

/// The high half of a product spreads a draw evenly without a division (Lemire, "Fast Random
/// Integer Generation in an Interval", ACM TOMACS 29(1), 2019).
fn below(random: u32, count: usize) -> usize {
    ((u64::from(random) * count as u64) >> 32) as usize
}

/// One round in which everybody has as many turns as its weight, each endpoint's spread as evenly
/// as can be: its turn number k is due at (k + 1/2) / weight of the round.
fn round(weights: &[u64]) -> Box<[usize]> {
    let divisor = weights
        .iter()
        .copied()
        .fold(0, greatest_common_divisor)
        .max(1);
    let sum: u64 = weights.iter().map(|weight| weight / divisor).sum();
    let turns_of = |weight: u64| match weight / divisor {
        weight if sum <= TURNS_MAX => weight,
        weight => (weight * TURNS_MAX / sum).max(1),
    };
    let mut due: Vec<_> = weights
        .iter()
        .enumerate()
        .flat_map(|(index, &weight)| {
            let turns = turns_of(weight);
            (0..turns).map(move |turn| (((2 * turn + 1) << 32) / turns, index))
        })
        .collect();
    due.sort_unstable();
    due.into_iter().map(|(_, index)| index).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::at;

    fn pool(weights: &[u64]) -> Pool {
        let members = weights.iter().zip(1..).map(|(&weight, port)| {
            let endpoint = Arc::new(Endpoint::new(at(port), 0));
            (
                Member {
                    endpoint,
                    scale: 1.0,
                },
                weight,
            )
        });
        Pool::new(members.collect(), true).unwrap()
    }

    #[test]
    fn a_round_is_smooth() {
        let table: &[(&[u64], &[usize])] = &[
            (&[1, 1, 1], &[0, 1, 2]),
            (&[5, 1, 1], &[0, 0, 0, 1, 2, 0, 0]),
            (&[4, 2], &[0, 1, 0]),
            (&[2, 0, 4], &[2, 0, 2]),
        ];
        for (weights, expected) in table {
            assert_eq!(*round(weights), **expected, "{weights:?}");
        }
    }

    #[test]
    fn a_round_has_a_bound() {
        let round = round(&[1_000_000, 999_999, 1]);
        assert!(round.len() as u64 <= TURNS_MAX + 3, "{}", round.len());
        assert!(round.contains(&2), "nobody is left out");
    }

    #[test]
    fn the_two_draws_differ_and_reach_every_endpoint() {
        let mut random = fastrand::Rng::with_seed(7);
        for count in 2..20 {
            let pool = pool(&vec![1; count]);
            let mut seen = vec![0; count];
            for _ in 0..1000 {
                let (first, second) = pool.draw_two(random.u64(..));
                let ports = [first, second].map(|it| it.endpoint.address().port());
                assert_ne!(ports[0], ports[1]);
                for port in ports {
                    seen[usize::from(port) - 1] += 1;
                }
            }
            assert!(seen.iter().all(|&hits| hits > 0), "{count}: {seen:?}");
        }
    }

    #[test]
    fn without_weight_there_is_no_draw() {
        let pool = pool(&[0, 3, 0, 1]);
        let ports = pool.members().iter().map(|it| it.endpoint.address().port());
        assert_eq!(ports.collect::<Vec<_>>(), [2, 4]);
    }
}
