//! Medians over rounds.

use serde::Serialize;

/// The middle and the extremes of one reading over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Summary {
    /// The middle value, or the mean of the middle two.
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Summary {
    /// `None` when there is nothing to sum up.
    pub(super) fn of(readings: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = readings.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_between_the_middle_two() {
        for (readings, (median, min, max)) in [
            (&[3.0][..], (3.0, 3.0, 3.0)),
            (&[9.0, 1.0, 2.0], (2.0, 1.0, 9.0)),
            (&[4.0, 1.0, 2.0, 100.0], (3.0, 1.0, 100.0)),
        ] {
            let expected = Summary { median, min, max };
            assert_eq!(Summary::of(readings.iter().copied()), Some(expected));
        }
        assert_eq!(Summary::of([]), None);
    }
}
