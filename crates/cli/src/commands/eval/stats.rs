//! How sure a number of passes makes.

/// The quantile of the normal distribution for 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// Below this, a difference is called significant.
pub(super) const ALPHA: f64 = 0.05;
/// How much more likely another table may be by rounding, and still count as equally likely.
const ROUNDING: f64 = 1e-9;

/// The Wilson interval of a rate at 95 %: where the true rate lies most likely, for any number of tries.
pub(super) fn wilson(passed: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (float(of), float(passed.min(of)) / float(of));
    let z2 = Z * Z;
    let middle = p + z2 / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z2 / n;
    (((middle - spread) / whole).max(0.0), ((middle + spread) / whole).min(1.0))
}

/// Fisher's exact test, two-sided: how likely such a difference, or a larger one, is when nothing changed.
pub(super) fn fisher(before: (u64, u64), after: (u64, u64)) -> f64 {
    let ((a, n1), (b, n2)) = (before, after);
    let (a, b) = (a.min(n1), b.min(n2));
    let passed = a + b;
    if n1 == 0 || n2 == 0 {
        return 1.0;
    }
    let logs = logs(n1 + n2);
    let choose = |n: u64, k: u64| logs[index(n)] - logs[index(k)] - logs[index(n - k)];
    let chance = |x: u64| (choose(n1, x) + choose(n2, passed - x) - choose(n1 + n2, passed)).exp();
    let seen = chance(a) * (1.0 + ROUNDING);
    let (least, most) = (passed.saturating_sub(n2), passed.min(n1));
    (least..=most).map(chance).filter(|p| *p <= seen).sum::<f64>().min(1.0)
}

/// The logarithms of the factorials up to `n`.
fn logs(n: u64) -> Vec<f64> {
    let mut logs = vec![0.0];
    let mut sum = 0.0;
    for k in 1..=n {
        sum += float(k).ln();
        logs.push(sum);
    }
    logs
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expect: f64) {
        assert!((got - expect).abs() < 1e-4, "{got} is not {expect}");
    }

    #[test]
    fn intervals_are_those_of_the_books() {
        let (low, high) = wilson(8, 10);
        near(low, 0.4902);
        near(high, 0.9433);
        let (low, high) = wilson(0, 10);
        near(low, 0.0);
        near(high, 0.2775);
        let (low, high) = wilson(10, 10);
        near(low, 0.7225);
        near(high, 1.0);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn the_exact_test_is_that_of_the_books() {
        // The lady and the tea.
        near(fisher((3, 4), (1, 4)), 0.4857);
        near(fisher((4, 4), (0, 4)), 0.0286);
        near(fisher((1, 10), (9, 10)), 0.001_093);
        near(fisher((5, 5), (5, 5)), 1.0);
        near(fisher((0, 0), (5, 5)), 1.0);
        near(fisher((1, 1), (0, 1)), 1.0);
    }
}
