//! Draws in proportion to weights, at a cost that does not grow with their number.

/// A table for one draw in constant time (Walker 1977, in the form of Vose, "A Linear Algorithm
/// for Generating Random Numbers with a Given Distribution", IEEE TSE 17(9), 1991).
///
/// Each slot has the same width; it belongs to its own index up to a threshold, and to one other
/// beyond it. 8 bytes a slot.
#[derive(Debug)]
pub(super) struct AliasTable {
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// In units of 2^-32 of the slot's width.
    threshold: u32,
    other: u32,
}

impl AliasTable {
    /// A table of weights that are not all 0, at most `u32::MAX` of them.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded by the table's length"
    )]
    pub(super) fn new(weights: &[u64]) -> Self {
        let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        let count = weights.len();
        // Scaled so that the mean is `sum`.
        let mut left: Vec<u128> = weights
            .iter()
            .map(|&weight| u128::from(weight) * count as u128)
            .collect();
        let mut slots: Vec<_> = (0..count as u32)
            .map(|other| Slot {
                threshold: u32::MAX,
                other,
            })
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..count).partition(|&index| left[index] < sum);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            slots[poor] = Slot {
                threshold: ((left[poor] << 32) / sum) as u32,
                other: rich as u32,
            };
            left[rich] -= sum - left[poor];
            if left[rich] < sum {
                large.pop();
                small.push(rich);
            }
        }
        Self {
            slots: slots.into(),
        }
    }

    /// The index that 32 random bits stand for.
    pub(super) fn draw(&self, random: u32) -> usize {
        // The high half of the product is the slot, the low one the place within it (Lemire, "Fast
        // Random Integer Generation in an Interval", ACM TOMACS 29(1), 2019).
        let product = u64::from(random) * self.slots.len() as u64;
        let index = (product >> 32) as usize;
        let slot = self.slots[index];
        let is_own = product & u64::from(u32::MAX) < u64::from(slot.threshold);
        if is_own || slot.threshold == u32::MAX {
            index
        } else {
            slot.other as usize
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    reason = "the numbers of a test are small"
)]
mod tests {
    use super::*;

    const DRAWS: u32 = 200_000;

    #[test]
    fn draws_come_in_proportion() {
        let mut random = fastrand::Rng::with_seed(7);
        let table: &[&[u64]] = &[&[1], &[1, 1], &[3, 1], &[0, 5, 0], &[1, 2, 3, 4, 1_000_000]];
        for weights in table {
            let alias = AliasTable::new(weights);
            let mut hits = vec![0_u32; weights.len()];
            for _ in 0..DRAWS {
                hits[alias.draw(random.u32(..))] += 1;
            }
            let sum: u64 = weights.iter().sum();
            for (&weight, &hits) in weights.iter().zip(&hits) {
                let expected = f64::from(DRAWS) * weight as f64 / sum as f64;
                let error = (f64::from(hits) - expected).abs();
                assert!(
                    error <= 5.0 * expected.sqrt(),
                    "{weights:?}: {hits} {expected}"
                );
            }
        }
    }

    #[test]
    fn every_draw_is_an_index() {
        let alias = AliasTable::new(&[7, 0, 1]);
        for random in [0, 1, u32::MAX / 2, u32::MAX] {
            assert_ne!(alias.draw(random), 1);
        }
    }
}
