//! A table from the hash of a key to an endpoint that changes little when endpoints come and go.

use super::key::{hash, mix};

/// Slots of a table: a prime, so that every step visits all of them, and a hundred times as many
/// as 655 endpoints, for which load then differs by about a hundredth. 128 KiB a table.
const SLOTS: usize = 65_537;
/// A slot that is still free, and more endpoints than a table can tell apart.
pub(super) const ENDPOINTS_MAX: usize = u16::MAX as usize;

/// A lookup table as in Maglev (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
/// Balancer", NSDI 2016, section 3.4), with weights.
///
/// Each endpoint has an order of its own in which it would like the slots; they take turns, an
/// endpoint of half the weight half as often, until no slot is left.
#[derive(Debug)]
pub(super) struct Maglev {
    slots: Box<[u16]>,
}

impl Maglev {
    /// A table for endpoints with these names and weights, in any order; at least one, at most
    /// [`ENDPOINTS_MAX`].
    pub(super) fn new<'n>(endpoints: impl Iterator<Item = (&'n str, u32)>) -> Self {
        let mut orders: Vec<_> = endpoints
            .zip(0..)
            .map(|((name, weight), index)| Order::new(name, weight, index))
            .collect();
        // Who comes first matters, and must not depend on the order of discovery's answer.
        orders.sort_unstable_by_key(|order| (order.name_hash, order.index));
        let weight_max = orders.iter().map(|it| it.weight).max().unwrap_or(1);
        let mut slots = vec![u16::MAX; SLOTS];
        let mut free = SLOTS;
        'rounds: loop {
            for order in &mut orders {
                order.credit += order.weight;
                if order.credit < weight_max {
                    continue;
                }
                order.credit -= weight_max;
                let slot = order.next_free(&slots);
                slots[slot] = order.index;
                free -= 1;
                if free == 0 {
                    break 'rounds;
                }
            }
        }
        Self {
            slots: slots.into(),
        }
    }

    /// The endpoints for a key, the best one first; each later one is what the key would go to
    /// by another hash of it, and may be one of the earlier.
    pub(super) fn candidates(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        let hashes = std::iter::successors(Some(key), |&key| Some(mix(key)));
        hashes.map(|hash| {
            // The high half of the product spreads as well as a remainder, without a division.
            let slot = ((hash >> 32) * SLOTS as u64) >> 32;
            usize::from(self.slots[usize::try_from(slot).unwrap_or(0)])
        })
    }
}

/// The order in which one endpoint would like the slots.
struct Order {
    index: u16,
    name_hash: u64,
    next: usize,
    step: usize,
    weight: u64,
    credit: u64,
}

impl Order {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both are below the number of slots"
    )]
    fn new(name: &str, weight: u32, index: u16) -> Self {
        let name_hash = hash(name.as_bytes());
        Self {
            index,
            name_hash,
            next: (name_hash % SLOTS as u64) as usize,
            step: (mix(name_hash) % (SLOTS as u64 - 1)) as usize + 1,
            weight: u64::from(weight),
            credit: 0,
        }
    }

    fn next_free(&mut self, slots: &[u16]) -> usize {
        loop {
            let slot = self.next;
            self.next = (slot + self.step) % SLOTS;
            if slots[slot] == u16::MAX {
                return slot;
            }
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

    fn names(count: usize) -> Vec<String> {
        (0..count)
            .map(|index| format!("10.0.{}.{}:80", index / 256, index % 256))
            .collect()
    }

    fn owners<'n>(endpoints: &[(&'n str, u32)]) -> Vec<&'n str> {
        let table = Maglev::new(endpoints.iter().copied());
        table
            .slots
            .iter()
            .map(|&index| endpoints[usize::from(index)].0)
            .collect()
    }

    /// The share of slots that belong to somebody else, of those whose owner stayed.
    fn moved(before: &[&str], after: &[&str], gone: Option<&str>) -> f64 {
        let stayed = before
            .iter()
            .zip(after)
            .filter(|(before, _)| Some(**before) != gone);
        let moved = stayed.filter(|(before, after)| before != after).count();
        moved as f64 / SLOTS as f64
    }

    #[test]
    fn few_keys_move_when_an_endpoint_goes_or_comes() {
        for count in [3, 10, 100] {
            let names = names(count + 1);
            let all: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
            let (few, many) = (owners(&all[..count]), owners(&all));
            let added = moved(&few, &many, None);
            let gone = names.last().map(|name| &**name);
            let removed = moved(&many, &few, gone);
            assert!(
                added < 1.0 / (count + 1) as f64 + 0.03,
                "{count} endpoints and one more: {added}"
            );
            assert!(removed < 0.03, "{count} endpoints and one less: {removed}");
        }
    }

    #[test]
    fn load_is_in_proportion_to_the_weights() {
        let names = names(10);
        let weighted: Vec<_> = names
            .iter()
            .map(|name| &**name)
            .zip([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
            .collect();
        let owners = owners(&weighted);
        for (name, weight) in weighted {
            let slots = owners.iter().filter(|owner| **owner == name).count() as f64;
            let expected = SLOTS as f64 * f64::from(weight) / 55.0;
            assert!(
                (slots / expected - 1.0).abs() < 0.01,
                "{weight}: {slots} {expected}"
            );
        }
    }

    #[test]
    fn the_order_of_the_endpoints_does_not_matter() {
        let names = names(20);
        let mut all: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
        let forward = owners(&all);
        all.reverse();
        assert_eq!(forward, owners(&all));
    }
}
