//! Whose requests go first when an upstream cannot take all of them.
//!
//! Each priority may fill a limit up to a share of its own, so that what is left above that share
//! is kept for those before it: the reserved headroom of Google's "criticality" (Site Reliability
//! Engineering, 2016, chapter 21) and of trunk reservation in telephony, which needs no queue.

/// How important a route's requests are, the most important first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// What everything else is there for.
    Critical,
    /// Before the usual.
    High,
    /// The usual.
    #[default]
    Normal,
    /// What can be done later.
    Low,
}

impl Priority {
    /// All, the most important first, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// The word of the routes file and of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// How much of a limit it may fill where all priorities are in use, in percent.
    fn percent(self) -> u32 {
        match self {
            Self::Critical => 100,
            Self::High => 90,
            Self::Normal => 80,
            Self::Low => 60,
        }
    }
}

/// How much of an upstream's limits each priority may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorityShares {
    highest: Priority,
}

impl Default for PriorityShares {
    /// Nothing is kept for what is more important than normal.
    fn default() -> Self {
        Self::below(Priority::Normal)
    }
}

impl PriorityShares {
    /// The shares of an upstream whose most important requests have this priority: they may fill
    /// the whole, for room that is kept for nobody would be lost.
    #[must_use]
    pub fn below(highest: Priority) -> Self {
        Self { highest }
    }

    /// How many of a limit's requests there may be for one more of this priority to be let in,
    /// rounded up: where there is room for one there is room for any.
    #[must_use]
    pub fn room(self, limit: u32, priority: Priority) -> u32 {
        if priority <= self.highest {
            return limit;
        }
        let part = u64::from(limit) * u64::from(priority.percent());
        let part = part.div_ceil(u64::from(self.highest.percent()));
        u32::try_from(part).unwrap_or(limit)
    }

    /// The same for each priority.
    #[must_use]
    pub fn rooms(self, limit: u32) -> [u32; Priority::ALL.len()] {
        Priority::ALL.map(|priority| self.room(limit, priority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_has_the_least_room_and_the_most_important_has_all() {
        for (highest, limit, rooms) in [
            (Priority::Critical, 100, [100, 90, 80, 60]),
            (Priority::High, 90, [90, 90, 80, 60]),
            (Priority::Normal, 100, [100, 100, 100, 75]),
            (Priority::Low, 100, [100, 100, 100, 100]),
            (Priority::Critical, 1, [1, 1, 1, 1]),
            (Priority::Critical, 3, [3, 3, 3, 2]),
            (
                Priority::Critical,
                u32::MAX,
                [u32::MAX, 3_865_470_566, 3_435_973_836, 2_576_980_377],
            ),
        ] {
            let shares = PriorityShares::below(highest);
            assert_eq!(shares.rooms(limit), rooms, "{highest:?} {limit}");
        }
        assert_eq!(PriorityShares::default().room(7, Priority::Normal), 7);
    }
}
