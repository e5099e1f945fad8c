//! Recomputing a value before it is needed, so that not everybody who reads it finds it stale at the same moment.
//!
//! Method: XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015).

/// Whether a caller that reads a value at `now` is to make a new one, which is good until `end` and took `cost` to make, all
/// in microseconds. `beta` says how early on the whole: 1 is right where recomputing is as dear as it was. `random` is from
/// above 0 to 1.
pub fn is_due(now: i64, end: i64, cost: i64, beta: f64, random: f64) -> bool {
    let head_start = -(cost as f64) * beta * random.ln();
    now as f64 + head_start >= end as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from above 0 to 1: a linear congruential generator (Knuth's MMIX), from a fixed seed.
    fn randoms() -> impl Iterator<Item = f64> {
        let next =
            |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        std::iter::successors(Some(42_u64), next).map(|state| ((state >> 11) + 1) as f64 / (1_u64 << 53) as f64)
    }

    /// The share of callers that make a new value, if they come `before` microseconds before the end.
    fn share(before: i64, cost: i64, beta: f64) -> f64 {
        let count = 100_000;
        let due =
            randoms().skip(1).take(count).filter(|random| is_due(1_000_000 - before, 1_000_000, cost, beta, *random));
        due.count() as f64 / count as f64
    }

    #[test]
    fn the_chance_falls_off_exponentially_with_the_time_that_is_left() {
        for (before, cost, beta) in [(100, 100, 1.0), (200, 100, 1.0), (200, 100, 2.0), (50, 100, 1.0)] {
            let expected = (-(before as f64) / (cost as f64 * beta)).exp();
            let got = share(before, cost, beta);
            assert!((got - expected).abs() < 0.01, "{before} {cost} {beta}: {got} instead of {expected}");
        }
    }

    #[test]
    fn at_the_end_it_is_certain_and_without_beta_or_cost_never_before() {
        assert_eq!(share(0, 100, 1.0), 1.0);
        assert_eq!(share(1, 100, 0.0), 0.0);
        assert_eq!(share(1, 0, 1.0), 0.0);
    }
}
