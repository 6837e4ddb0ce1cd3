//! Power of two choices: `p2c_ewma` and `least_request`, which differ in what an endpoint costs.
//!
//! Of two endpoints drawn at random the better one is taken: nearly as even as looking at all of
//! them, at a cost that does not grow with their number, and without the herd that follows one
//! "least loaded" (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE
//! TPDS 12(10), 2001).
//!
//! Weights count twice. Candidates are drawn in proportion to them, so that idle endpoints, which
//! all cost the same, get their shares; and requests under way are counted per weight, so that
//! busy ones do. A score divided by the weight alone would give an idle pair of 3 and 1 to the
//! heavier one always.

use super::{DRAWS_MAX, Picker};
use crate::cluster::pool::{Member, Pool};

impl Picker<'_> {
    pub(super) fn better_of_two<'v>(&mut self, pool: &'v Pool) -> Option<&'v Member> {
        for failed in 0..DRAWS_MAX / 2 {
            let (first, second) = self.draw_two(pool, failed);
            match (self.is_good(first), self.is_good(second)) {
                (true, true) => return Some(self.better(first, second)),
                (true, false) => {
                    self.see(second);
                    return Some(first);
                }
                (false, true) => {
                    self.see(first);
                    return Some(second);
                }
                (false, false) => {
                    self.see(first);
                    self.see(second);
                }
            }
        }
        None
    }

    fn better<'v>(&mut self, first: &'v Member, second: &'v Member) -> &'v Member {
        if let Some(warmer) = self.warm(first, second) {
            return warmer;
        }
        // Of equal ones the first: it was drawn by weight.
        if self.cost(second) < self.cost(first) {
            second
        } else {
            first
        }
    }
}
