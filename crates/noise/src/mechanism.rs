//! The release of one cell: how many people there are, and the means of two of their values.
//!
//! A person's value x, in whole minutes, is clamped to bounds with middle m and radius r. With Z as discrete Laplace
//! noise, these numbers are released:
//!
//! ```text
//! ñ = n + Z(1/ε_n)     S̃ = Σ(x − m) + Z(r/ε_s)     mean = m + S̃ / max(ñ, 1), clamped
//! ```
//!
//! Adding or removing one person moves n by 1 and each sum by at most r, so that the three together are (ε_n + ε_o +
//! ε_p)-differentially private. A cell is published only if n ≥ K and ñ ≥ τ. The first condition is k-anonymity without
//! an exception. The second keeps the first from telling anything, except with probability δ (see
//! [`Mechanism::threshold`], and [`Mechanism::threshold_of_sum`] for sums of cells).

use crate::{Delta, Epsilon, Interval, Scale, Source, interval::MISSED, quantile};

/// The bounds within which a value counts, in minutes. Their middle is a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A smaller value counts as this.
    pub low: i64,
    /// A larger value counts as this.
    pub high: i64,
}

impl Bounds {
    pub const fn middle(self) -> i64 {
        (self.low + self.high) / 2
    }

    /// The most by which one person moves a sum.
    pub const fn radius(self) -> u32 {
        ((self.high - self.low) / 2) as u32
    }

    fn as_interval(self) -> Interval {
        Interval { low: self.low as f64, high: self.high as f64 }
    }
}

/// How a cell is released, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanism {
    /// The ε that the count costs.
    pub users: Epsilon,
    /// The ε that the sum of overtime costs.
    pub overtime: Epsilon,
    /// The ε that the sum of planned work costs.
    pub planned: Epsilon,
    /// The δ that the decision to publish a cell costs.
    pub delta: Delta,
    /// The δ that the decision to publish a sum of cells costs, from which the cells that are not published follow
    /// together; 0 if no sums are published.
    pub sum_delta: Delta,
    /// The smallest number of people in a published cell.
    pub k_min: u32,
    pub overtime_bounds: Bounds,
    pub planned_bounds: Bounds,
}

/// The sums over a cell's people. They never leave memory.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many people there are.
    pub users: i64,
    overtime: i64,
    planned: i64,
}

impl Totals {
    /// Adds a person, by their means in whole minutes.
    pub fn add(&mut self, mechanism: &Mechanism, overtime: i64, planned: i64) {
        let centred = |value: i64, bounds: Bounds| value.clamp(bounds.low, bounds.high) - bounds.middle();
        self.users += 1;
        self.overtime += centred(overtime, mechanism.overtime_bounds);
        self.planned += centred(planned, mechanism.planned_bounds);
    }
}

/// The noisy numbers that were drawn for a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noisy {
    pub users: i64,
    /// The noisy sum over people of their overtime minus the middle of its bounds, in minutes.
    pub overtime: i64,
    /// The same for planned work.
    pub planned: i64,
}

impl std::ops::Add for Noisy {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            users: self.users + other.users,
            overtime: self.overtime + other.overtime,
            planned: self.planned + other.planned,
        }
    }
}

/// A mean in minutes, with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    pub mean: f64,
    /// The true mean lies in this interval with 95 % probability over the noise.
    pub interval: Interval,
}

/// Everything that is published of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// The true count lies in this interval with 95 % probability over the noise.
    pub users: Interval,
    pub planned: Figure,
    /// Actual work: planned work plus overtime.
    pub actual: Figure,
    pub overtime: Figure,
}

impl Mechanism {
    /// The ε that the release of a cell spends on everybody in it.
    pub fn epsilon(&self) -> Epsilon {
        self.users + self.overtime + self.planned
    }

    /// The δ that the release of a cell spends: for the decision on the cell, and for the decision on the one sum that
    /// the cell is in.
    pub fn all_delta(&self) -> Delta {
        self.delta + self.sum_delta
    }

    fn users_scale(&self) -> Scale {
        Scale::of(1, self.users)
    }
    fn overtime_scale(&self) -> Scale {
        Scale::of(self.overtime_bounds.radius(), self.overtime)
    }
    fn planned_scale(&self) -> Scale {
        Scale::of(self.planned_bounds.radius(), self.planned)
    }

    /// Draws the noisy numbers of a cell, also of an empty one. A cell must be drawn only once, because each draw
    /// spends its price again.
    pub fn draw(&self, totals: &Totals, source: &mut impl Source) -> Noisy {
        Noisy {
            users: totals.users + self.users_scale().draw(source),
            overtime: totals.overtime + self.overtime_scale().draw(source),
            planned: totals.planned + self.planned_scale().draw(source),
        }
    }

    /// Means and intervals of what was drawn, or of the sum of `cells` draws. This costs nothing, because only noisy
    /// values are used.
    pub fn figures(&self, noisy: &Noisy, cells: u32) -> Figures {
        let overtime = (noisy.overtime, self.overtime_bounds, self.overtime_scale().value());
        let planned = (noisy.planned, self.planned_bounds, self.planned_scale().value());
        let (overtime_figure, planned_figure) =
            (self.figure(noisy.users, cells, &[overtime]), self.figure(noisy.users, cells, &[planned]));
        let mut actual = self.figure(noisy.users, cells, &[overtime, planned]);
        actual.mean = overtime_figure.mean + planned_figure.mean;
        let spread = spread(cells, &[self.users_scale().value()]);
        let users = noisy.users as f64;
        Figures {
            users: Interval { low: (users - spread).ceil().max(0.0), high: (users + spread).floor().max(0.0) },
            planned: planned_figure,
            actual,
            overtime: overtime_figure,
        }
    }

    /// The mean of a sum of values. A true mean θ is rejected if S̃ − (θ − m) ñ is larger than the noise in it, Z_s −
    /// (θ − m) Z_n, is in all but one of twenty cases. This is an exact test for each θ, so that the interval holds
    /// however small the cell is.
    fn figure(&self, users: i64, cells: u32, values: &[(i64, Bounds, f64)]) -> Figure {
        let sum: i64 = values.iter().map(|(noisy, ..)| noisy).sum();
        let low: i64 = values.iter().map(|(_, bounds, _)| bounds.low).sum();
        let high: i64 = values.iter().map(|(_, bounds, _)| bounds.high).sum();
        let middle: i64 = values.iter().map(|(_, bounds, _)| bounds.middle()).sum();
        let bounds = Bounds { low, high }.as_interval();
        let (middle, users, sum) = (middle as f64, users.max(1) as f64, sum as f64);
        let mean = (middle + sum / users).clamp(bounds.low, bounds.high);
        let excess = |theta: f64| {
            let away = theta - middle;
            let noise = values.iter().map(|(.., scale)| *scale).chain([away.abs() * self.users_scale().value()]);
            (sum - away * users).abs() - spread(cells, &noise.collect::<Vec<_>>())
        };
        Figure { mean, interval: Interval::of_accepted(mean, bounds, excess) }
    }
}

/// The size below which the sum of `cells` draws of each scale stays in all but one of twenty cases. A sum over many
/// cells is treated as normal.
fn spread(cells: u32, scales: &[f64]) -> f64 {
    const NORMAL: f64 = 1.959_964;
    match cells {
        0 | 1 => quantile(scales, MISSED),
        _ => NORMAL * (2.0 * f64::from(cells) * scales.iter().map(|scale| scale * scale).sum::<f64>()).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Seeded;

    fn mechanism(users: u32, overtime: u32, planned: u32) -> Mechanism {
        Mechanism {
            users: Epsilon::from_micros(users),
            overtime: Epsilon::from_micros(overtime),
            planned: Epsilon::from_micros(planned),
            delta: Delta::from_picos(475_000),
            sum_delta: Delta::from_picos(50_000),
            k_min: 10,
            overtime_bounds: Bounds { low: -60, high: 180 },
            planned_bounds: Bounds { low: 240, high: 720 },
        }
    }

    fn totals(mechanism: &Mechanism, users: usize, overtime: i64, planned: i64) -> Totals {
        let mut totals = Totals::default();
        (0..users).for_each(|_| totals.add(mechanism, overtime, planned));
        totals
    }

    #[test]
    fn a_person_moves_a_sum_by_the_radius_at_most() {
        let mechanism = mechanism(250_000, 300_000, 100_000);
        for (overtime, planned) in [(i64::MIN / 2, 0), (1440, 1440), (-60, 720), (60, 480)] {
            let one = totals(&mechanism, 1, overtime, planned);
            assert!(one.overtime.abs() <= 120 && one.planned.abs() <= 240);
        }
    }

    #[test]
    fn few_people_are_never_published_and_many_nearly_always() {
        let (mechanism, mut source) = (mechanism(250_000, 300_000, 100_000), Seeded::new(5));
        let published = |users: usize, source: &mut Seeded| {
            let totals = totals(&mechanism, users, 30, 480);
            (0..20_000).filter(|_| mechanism.decides(&totals, &mechanism.draw(&totals, source))).count()
        };
        assert_eq!(published(9, &mut source), 0);
        assert_eq!(published(10, &mut source), 0, "with a probability of one in two million each");
        assert!((9_000..12_000).contains(&published(66, &mut source)));
        assert!(published(110, &mut source) > 19_990);
    }

    #[test]
    fn intervals_hold_the_truth_in_nineteen_of_twenty_cases() {
        let (mechanism, mut source) = (mechanism(250_000, 300_000, 100_000), Seeded::new(11));
        for (users, overtime, planned) in [(70, 22, 490), (110, 100, 420), (600, 5, 480)] {
            const TIMES: usize = 4_000;
            let totals = totals(&mechanism, users, overtime, planned);
            let mut held = [0_usize; 4];
            for _ in 0..TIMES {
                let found = mechanism.figures(&mechanism.draw(&totals, &mut source), 1);
                let all = [
                    found.users.holds(users as f64),
                    found.overtime.interval.holds(overtime as f64),
                    found.planned.interval.holds(planned as f64),
                    found.actual.interval.holds((overtime + planned) as f64),
                ];
                for (count, holds) in held.iter_mut().zip(all) {
                    *count += usize::from(holds);
                }
                assert!(found.overtime.interval.holds(found.overtime.mean));
            }
            let shares = held.map(|count| count as f64 / TIMES as f64);
            assert!(shares.iter().all(|share| (0.94..0.96).contains(share)), "{users}: {shares:?}");
        }
    }

    #[test]
    fn intervals_of_sums_of_cells_hold_too() {
        let (mechanism, mut source) = (mechanism(250_000, 300_000, 100_000), Seeded::new(12));
        let (one, mut held) = (totals(&mechanism, 40, 45, 500), 0);
        for _ in 0..2_000 {
            let all = (0..21).fold(Noisy::default(), |sum, _| sum + mechanism.draw(&one, &mut source));
            held += usize::from(mechanism.figures(&all, 21).overtime.interval.holds(45.0));
        }
        assert!((1_880..1_920).contains(&held), "{held}");
    }
}
