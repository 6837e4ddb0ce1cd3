//! Endpoints to draw from, with what makes a draw cost the same whatever their number.

use std::sync::Arc;

use super::Endpoint;
use super::alias::AliasTable;
use super::aperture::Opening;
use super::key::hash;

/// Turns that a round has at most; heavier weights are scaled down to it.
const TURNS_MAX: u64 = 8_192;

/// One endpoint among others.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    /// What one request under way counts here: the mean weight divided by the endpoint's own.
    pub(super) scale: f64,
}

/// What a pool is to be made ready for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uses {
    /// Turns are taken.
    pub(super) turns: bool,
    /// Parts of it are drawn from.
    pub(super) windows: bool,
}

/// Neighbours in a pool, and not all of it: so many members from one on, round its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    start: usize,
    width: usize,
}

/// Endpoints to draw from; at least one.
#[derive(Debug)]
pub(super) struct Pool {
    members: Box<[Member]>,
    /// There where the weights differ.
    alias: Option<AliasTable>,
    /// The weight of each member and of all before it; there where the weights differ and parts
    /// of the pool are drawn from.
    sums: Box<[u64]>,
    /// One round of turns, as indices; empty where nobody takes turns.
    turns: Box<[usize]>,
}

impl Pool {
    /// A pool of members and their weights, `None` when all weights are 0.
    pub(super) fn new(weighted: Vec<(Member, u64)>, uses: Uses) -> Option<Self> {
        let weighted = weighted.into_iter().filter(|(_, weight)| *weight > 0);
        let (members, weights): (Vec<_>, Vec<_>) = weighted.unzip();
        let first = *weights.first()?;
        let is_even = weights.iter().all(|&weight| weight == first);
        Some(Self {
            members: members.into(),
            alias: (!is_even).then(|| AliasTable::new(&weights)),
            sums: if uses.windows && !is_even {
                sums(&weights)
            } else {
                [].into()
            },
            turns: if uses.turns {
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
        let (low, high) = halves(random);
        if self.alias.is_some() {
            return (self.draw(low), self.draw(high));
        }
        let (first, second) = two_below(low, high, self.members.len());
        let second = self.members.get(second).unwrap_or(&self.members[first]);
        (&self.members[first], second)
    }

    /// The part of the pool that a worker draws from; `None` where that is all of it.
    ///
    /// `doublings` is for a choice that found nothing good in a narrower part.
    pub(super) fn window(&self, opening: Opening, doublings: u32) -> Option<Window> {
        let width = u64::from(opening.width) << doublings;
        let width = usize::try_from(width).unwrap_or(usize::MAX);
        (width < self.members.len()).then(|| Window {
            start: below(opening.start, self.members.len()),
            width,
        })
    }

    /// The member of a part whose turn it is.
    ///
    /// Where weights differ, turns follow the multiples of the golden ratio, which fall evenly into
    /// the members' weights however many have been taken (Knuth, "The Art of Computer
    /// Programming", volume 3, section 6.4).
    pub(super) fn turn_within(&self, window: Window, turn: u64) -> &Member {
        if self.sums.is_empty() {
            let place = turn % window.width as u64;
            return self.member_of(window, usize::try_from(place).unwrap_or(0));
        }
        let place = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.draw_within(window, u32::try_from(place).unwrap_or(0))
    }

    /// One member of a part, drawn in proportion to its weight.
    pub(super) fn draw_within(&self, window: Window, random: u32) -> &Member {
        if self.sums.is_empty() {
            return self.member_of(window, below(random, window.width));
        }
        let sum_before = |index: usize| index.checked_sub(1).map_or(0, |index| self.sums[index]);
        let all = sum_before(self.sums.len());
        let before = sum_before(window.start);
        let end = window.start + window.width;
        let within = match end.checked_sub(self.sums.len()) {
            None => sum_before(end) - before,
            Some(end) => all - before + sum_before(end),
        };
        let drawn = (u128::from(random) * u128::from(within)) >> 32;
        let place = before + u64::try_from(drawn).unwrap_or(0);
        let place = place.checked_sub(all).unwrap_or(place);
        &self.members[self.sums.partition_point(|&sum| sum <= place)]
    }

    /// Two members of a part, as [`Self::draw_two`] draws them from all.
    pub(super) fn draw_two_within(&self, window: Window, random: u64) -> (&Member, &Member) {
        let (low, high) = halves(random);
        if !self.sums.is_empty() {
            return (
                self.draw_within(window, low),
                self.draw_within(window, high),
            );
        }
        let (first, second) = two_below(low, high, window.width);
        let second = if second < window.width { second } else { first };
        (
            self.member_of(window, first),
            self.member_of(window, second),
        )
    }

    fn member_of(&self, window: Window, place: usize) -> &Member {
        let index = window.start + place;
        let index = index.checked_sub(self.members.len()).unwrap_or(index);
        &self.members[index]
    }
}

/// Puts members into the order in which parts of a pool are neighbours: the same for all gateways,
/// and one in which neighbours have nothing else in common. Addresses that are near to each other
/// are of one zone, or of one host.
pub(super) fn put_on_ring(members: &mut [(Member, u32)]) {
    members.sort_by_cached_key(|(member, _)| {
        let address = member.endpoint.address();
        (hash(member.endpoint.label.as_bytes()), address)
    });
}

fn sums(weights: &[u64]) -> Box<[u64]> {
    let mut sum = 0;
    let sums = weights.iter().map(|weight| {
        sum += weight;
        sum
    });
    sums.collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "each half is a draw of its own"
)]
fn halves(random: u64) -> (u32, u32) {
    (random as u32, (random >> 32) as u32)
}

/// Two different numbers below `count`; the second is `count` where there is but one.
fn two_below(low: u32, high: u32, count: usize) -> (usize, usize) {
    let first = below(low, count);
    let second = below(high, count.max(2) - 1);
    (first, second + usize::from(second >= first))
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
        let uses = Uses {
            turns: true,
            windows: true,
        };
        Pool::new(members.collect(), uses).unwrap()
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
