//! Intervals for the noise: where a true value lies, given what was published, with 95 % probability over the noise
//! alone.
//!
//! The intervals say nothing about sampling, because the people who take part are the whole and not a sample.

/// The probability with which an interval may miss the true value.
pub(crate) const MISSED: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    pub fn holds(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The interval of the values within `bounds` that a test does not reject, around `middle`, which it does not
    /// reject. `excess` is positive for a rejected value, and grows with the distance from the middle.
    pub(crate) fn of_accepted(middle: f64, bounds: Self, excess: impl Fn(f64) -> f64) -> Self {
        let middle = middle.clamp(bounds.low, bounds.high);
        let end = |bound: f64| {
            if excess(bound) <= 0.0 {
                return bound;
            }
            let (mut inside, mut outside) = (middle, bound);
            for _ in 0..30 {
                let half = (inside + outside) / 2.0;
                if excess(half) <= 0.0 { inside = half } else { outside = half }
            }
            outside
        };
        Self { low: end(bounds.low), high: end(bounds.high) }
    }
}

/// The size that the absolute value of a sum of independent Laplace variables with these scales exceeds with
/// probability `missed`. At scales of 4 and more the discrete variables are as good as continuous ones.
pub fn quantile(scales: &[f64], missed: f64) -> f64 {
    let mut scales: Vec<f64> = scales.iter().copied().filter(|scale| *scale > 0.0).collect();
    scales.sort_by(f64::total_cmp);
    // The formula divides by differences of scales, so equal scales are moved apart by a thousandth.
    for at in 1..scales.len() {
        scales[at] = scales[at].max(scales[at - 1] * 1.001);
    }
    let weight = |own: f64| {
        let others = scales.iter().filter(|other| **other != own);
        others.map(|other| own * own / (own * own - other * other)).product::<f64>()
    };
    // By partial fractions of the characteristic function, 1 / ∏(1 + aᵢ²t²).
    let weights: Vec<(f64, f64)> = scales.iter().map(|scale| (*scale, weight(*scale))).collect();
    let beyond = |size: f64| weights.iter().map(|(scale, weight)| weight * (-size / scale).exp()).sum::<f64>();
    let (mut low, mut high) = (0.0, 40.0 * scales.iter().sum::<f64>());
    for _ in 0..50 {
        let half = (low + high) / 2.0;
        if beyond(half) > missed { low = half } else { high = half }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scale, source::tests::Seeded};

    #[test]
    fn quantiles_of_sums_are_where_draws_are() {
        assert!((quantile(&[4.0], 0.05) - 4.0 * 20_f64.ln()).abs() < 1e-6);
        let mut source = Seeded::new(3);
        for scales in [vec![400, 6], vec![400, 400], vec![400, 2400, 100], vec![30, 31, 32]] {
            let of = |scale: &u64| Scale::new(*scale, 1);
            let all: Vec<Scale> = scales.iter().map(of).collect();
            let bound = quantile(&all.iter().map(|scale| scale.value()).collect::<Vec<_>>(), MISSED);
            let beyond = (0..100_000)
                .filter(|_| all.iter().map(|scale| scale.draw(&mut source)).sum::<i64>().unsigned_abs() as f64 > bound);
            let missed = beyond.count() as f64 / 100_000.0;
            assert!((0.047..0.053).contains(&missed), "{scales:?}: {missed}");
        }
    }
}
