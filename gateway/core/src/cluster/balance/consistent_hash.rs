//! `consistent_hash`: requests of one key go to one endpoint, as long as it can bear them.
//!
//! The table is Maglev's; the bound on an endpoint's load is that of Mirrokni, Thorup and
//! Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018: with a factor of 1.25 no
//! endpoint has more than 1.25 times the mean of the requests under way, rounded up, whatever the
//! keys are. What is beyond goes to the key's next endpoint, which is again the same for the same
//! key.

use super::{ConsistentHash, Origin, Picker};
use crate::cluster::pool::{Member, Pool};
use crate::cluster::view::Hashed;

/// Endpoints of a key that are looked at before its request is balanced without it.
const CANDIDATES_MAX: usize = 32;

impl Picker<'_> {
    pub(super) fn by_key<'v>(
        &mut self,
        hash: &ConsistentHash,
        hashed: &Hashed,
        pool: &'v Pool,
    ) -> Option<(Origin, &'v Member)> {
        let Some(key) = self.choice.key else {
            let member = self.better_of_two(pool)?;
            return Some((Origin::KeyMissing, member));
        };
        let members = pool.members();
        #[expect(
            clippy::cast_precision_loss,
            reason = "there are fewer endpoints than 2^52"
        )]
        let mean = (f64::from(hashed.total.get()) + 1.0) / members.len() as f64;
        let bound = mean * f64::from(hash.load_percent_max) / 100.0;
        let candidates = hashed.table.candidates(key).take(CANDIDATES_MAX);
        for (place, index) in candidates.enumerate() {
            let member = &members[index];
            // With the scale of its weight, each endpoint is held against the same bound.
            let in_flight = f64::from(member.endpoint.load.in_flight());
            let is_full = in_flight + 1.0 > (bound / member.scale).ceil();
            if !is_full && self.is_good(member) {
                let origin = match place {
                    0 => Origin::KeyHome,
                    _ => Origin::KeyElsewhere,
                };
                return Some((origin, member));
            }
        }
        let member = self.better_of_two(pool)?;
        Some((Origin::KeyElsewhere, member))
    }
}
