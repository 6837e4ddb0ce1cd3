//! Draws from the part of a large set that a worker uses, which is wider the more has failed.
//!
//! A choice that finds nothing good looks in twice as much of the set, and then in twice as much
//! again: endpoints that are left out, or tried, do not keep it in a window that has no other.

use super::{Balancer, Choice, Picker};
use crate::cluster::aperture::{Opening, Sightings};
use crate::cluster::pool::{Member, Pool, Window};
use crate::cluster::view::View;

impl Balancer {
    /// Whether of so many endpoints a worker may use a part.
    pub(in crate::cluster) fn has_windows(&self, endpoints: usize) -> bool {
        let is_keyed = self.key().is_some();
        self.aperture
            .is_some_and(|rules| !is_keyed && endpoints as u64 > u64::from(rules.endpoints_min))
    }

    /// The part that this choice is made in; `None` for all.
    pub(super) fn opening(&self, view: &View, choice: &Choice<'_>) -> Option<Opening> {
        let (rules, vantage) = (self.aperture?, choice.vantage.as_ref()?);
        let is_large = self.has_windows(view.all.members().len());
        is_large.then(|| vantage.open(rules, choice.now))
    }
}

impl Picker<'_> {
    /// One member, drawn in proportion to its weight, after so many draws that found nothing good.
    pub(super) fn draw<'v>(&mut self, pool: &'v Pool, failed: u32) -> &'v Member {
        let random = self.dice.half();
        match self.window(pool, failed) {
            Some(window) => {
                self.seen.drawn += 1;
                pool.draw_within(window, random)
            }
            None => pool.draw(random),
        }
    }

    /// Two members, drawn in proportion to their weights, after so many draws in vain.
    pub(super) fn draw_two<'v>(&mut self, pool: &'v Pool, failed: u32) -> (&'v Member, &'v Member) {
        let random = self.dice.next();
        match self.window(pool, failed) {
            Some(window) => {
                self.seen.drawn += 2;
                pool.draw_two_within(window, random)
            }
            None => pool.draw_two(random),
        }
    }

    /// The member whose turn it is.
    pub(super) fn due<'v>(&mut self, pool: &'v Pool) -> &'v Member {
        let turn = self.choice.turn;
        match self.window(pool, 0) {
            Some(window) => {
                self.seen.drawn += 1;
                pool.turn_within(window, turn)
            }
            None => pool.turn(turn),
        }
    }

    fn window(&self, pool: &Pool, failed: u32) -> Option<Window> {
        pool.window(self.opening?, failed)
    }

    /// Takes note of a member that was drawn in vain: left out, unless it is only tried already.
    pub(super) fn see(&mut self, member: &Member) {
        self.seen.left_out += u32::from(!self.is_healthy(member));
    }

    /// Lets the worker's next windows know what this choice saw.
    pub(super) fn count(&self) {
        if let (Some(_), Some(vantage)) = (self.opening, &self.choice.vantage) {
            let Sightings { drawn, left_out } = self.seen;
            let left_out = left_out.min(drawn);
            vantage.aperture.count(Sightings { drawn, left_out });
        }
    }
}
