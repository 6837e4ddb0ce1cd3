//! Whether two sets of readings differ by more than chance (Mann and Whitney, "On a Test of
//! Whether one of Two Random Variables is Stochastically Larger than the Other", 1947): by ranks
//! alone, since nobody knows how throughput is distributed.

/// Pairs up to which the distribution is counted out instead of taken for normal.
const MAX_EXACT_PAIRS: usize = 400;

/// How likely readings at least so far apart are when both sets come from the same distribution,
/// two-sided. 1 when a set is empty.
pub(super) fn p_value(old: &[f64], new: &[f64]) -> f64 {
    let pairs = old.len() * new.len();
    if pairs == 0 {
        return 1.0;
    }
    let mut ties = false;
    let mut doubled_u = 0;
    for one in old {
        for other in new {
            match one.total_cmp(other) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    ties = true;
                    doubled_u += 1;
                }
                std::cmp::Ordering::Greater => doubled_u += 2,
            }
        }
    }
    // Both tails are alike: the one that is less likely.
    let doubled_u = doubled_u.min(2 * pairs - doubled_u);
    if ties || pairs > MAX_EXACT_PAIRS {
        return approximate(old, new, doubled_u);
    }
    exact(old.len(), new.len(), doubled_u / 2)
}

/// Twice the share of all orders of the readings in which at most `u` pairs are inverted.
fn exact(old: usize, new: usize, u: usize) -> f64 {
    // ways[i][k]: orders of i old readings and the new ones so far with k pairs inverted. They
    // follow counts(i, j, k) = counts(i - 1, j, k - j) + counts(i, j - 1, k).
    let mut ways = vec![vec![0.0; old * new + 1]; old + 1];
    for counts in &mut ways {
        counts[0] = 1.0;
    }
    for taken in 1..=new {
        for nth in 1..=old {
            for inverted in taken..=old * new {
                let fewer = ways[nth - 1][inverted - taken];
                ways[nth][inverted] += fewer;
            }
        }
    }
    let all: f64 = ways[old].iter().sum();
    let tail: f64 = ways[old][..=u].iter().sum();
    (2.0 * tail / all).min(1.0)
}

/// By the normal distribution, with the variance that ties leave.
#[expect(clippy::cast_precision_loss, reason = "counts of samples are small")]
fn approximate(old: &[f64], new: &[f64], doubled_u: usize) -> f64 {
    let (n, m) = (old.len() as f64, new.len() as f64);
    let mut all: Vec<f64> = old.iter().chain(new).copied().collect();
    all.sort_by(f64::total_cmp);
    let runs = all.chunk_by(|one, other| one.total_cmp(other).is_eq());
    let tied: f64 = runs
        .map(|run| run.len() as f64)
        .map(|length| length.powi(3) - length)
        .sum();
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - tied / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    // Half a step, since the counted values are whole.
    let distance = (n * m / 2.0 - doubled_u as f64 / 2.0 - 0.5).max(0.0);
    erfc(distance / variance.sqrt() / std::f64::consts::SQRT_2).min(1.0)
}

/// Abramowitz and Stegun, formula 7.1.26: within 1.5e-7, for `x` from 0 on.
fn erfc(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] = [
        1.061_405_429,
        -1.453_152_027,
        1.421_413_741,
        -0.284_496_736,
        0.254_829_592,
    ];
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial = COEFFICIENTS
        .iter()
        .fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    polynomial * (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-4, "{value} is not {expected}");
    }

    #[test]
    fn small_sets_are_counted_out() {
        let low = [1.0, 2.0, 3.0, 4.0, 5.0];
        let high = [6.0, 7.0, 8.0, 9.0, 10.0];
        // Two of the 252 ways to choose five of ten.
        close(p_value(&low, &high), 2.0 / 252.0);
        close(p_value(&high, &low), 2.0 / 252.0);
        // One pair inverted: the orders with none and with one, on both sides.
        close(
            p_value(&[1.0, 2.0, 3.0, 4.0, 6.0], &[5.0, 7.0, 8.0, 9.0, 10.0]),
            4.0 / 252.0,
        );
        close(p_value(&[1.0, 3.0], &[2.0]), 1.0);
        close(p_value(&[], &low), 1.0);
    }

    #[test]
    fn large_sets_and_ties_are_taken_for_normal() {
        let count = |from: u32| (from..from + 30).map(f64::from).collect::<Vec<_>>();
        assert!(p_value(&count(0), &count(30)) < 1e-9);
        close(p_value(&count(0), &count(0)), 1.0);
        close(p_value(&[1.0; 9], &[1.0; 9]), 1.0);
        // By the same formula with the error function of Python's `math`.
        close(
            p_value(
                &[1.0, 2.0, 2.0, 3.0, 4.0, 5.0],
                &[2.0, 4.0, 5.0, 6.0, 7.0, 8.0],
            ),
            0.062_73,
        );
    }

    #[test]
    fn error_function_is_that_of_the_tables() {
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.479_500),
            (1.0, 0.157_299),
            (2.0, 0.004_678),
        ] {
            close(erfc(x), expected);
        }
    }
}
