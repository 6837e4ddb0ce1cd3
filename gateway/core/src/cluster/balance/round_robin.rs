//! `round_robin`: each endpoint in its turn, those of more weight more often.
//!
//! A round is laid out once for each snapshot of the endpoints, smoothly: an endpoint of weight 5
//! beside two of weight 1 has its turns between theirs. Each worker goes through it with a counter
//! of its own, so that workers share nothing. In a window the turns go round the window.

use super::{DRAWS_MAX, Picker};
use crate::cluster::pool::{Member, Pool};

impl Picker<'_> {
    pub(super) fn next_in_turn<'v>(&mut self, pool: &'v Pool) -> Option<&'v Member> {
        let due = self.due(pool);
        if self.is_good(due) {
            if self.balancer.slow_start == 0 {
                return Some(due);
            }
            let (other, spare) = self.draw_two(pool, 0);
            let other = if std::ptr::eq(other, due) {
                spare
            } else {
                other
            };
            return match self.warm(due, other) {
                Some(warmer) if self.is_good(warmer) => Some(warmer),
                _ => Some(due),
            };
        }
        // Not the next one in the round: it would bear the whole load of the one that is out.
        self.see(due);
        for failed in 0..DRAWS_MAX {
            let drawn = self.draw(pool, failed / 2);
            if self.is_good(drawn) {
                return Some(drawn);
            }
            self.see(drawn);
        }
        None
    }
}
