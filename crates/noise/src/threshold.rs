//! When a cell is published, and when a sum of cells is published whose cells are not.
//!
//! Both must pass two thresholds: at least K people, without an exception, and a noisy count of at least τ. The first
//! alone would tell whether the K-th person is there. The second makes a decision that depends on that person rarer
//! than δ.

use crate::{Mechanism, Noisy, Totals};

impl Mechanism {
    /// The smallest noisy count of a published cell: τ = K + ⌈ln(1 / (δ (1 + e^−ε))) / ε⌉. A cell of K people, which
    /// would not be published with one person less, reaches it with probability δ at most: P(Z ≥ t) = e^−εt / (1 +
    /// e^−ε).
    pub fn threshold(&self) -> i64 {
        let epsilon = self.users.value();
        let beyond = |size: f64| (-epsilon * size).exp() / (1.0 + (-epsilon).exp());
        let mut above = ((1.0 / (self.delta.value() * (1.0 + (-epsilon).exp()))).ln() / epsilon).ceil();
        while beyond(above) > self.delta.value() {
            above += 1.0;
        }
        i64::from(self.k_min) + above as i64
    }

    /// Whether a cell is published.
    pub fn decides(&self, totals: &Totals, noisy: &Noisy) -> bool {
        totals.users >= i64::from(self.k_min) && noisy.users >= self.threshold()
    }

    /// The smallest noisy count of so many cells together, so that nobody who works out their sum learns of a set of
    /// fewer than K people: K plus the smallest t with P(Z₁ + … + Zₘ ≥ t) ≤ [`Mechanism::sum_delta`]. `None` if no δ is
    /// kept for such decisions.
    pub fn threshold_of_sum(&self, cells: u32) -> Option<i64> {
        let delta = self.sum_delta.value();
        if delta <= 0.0 || cells == 0 {
            return None;
        }
        let ratio = (-self.users.value()).exp();
        // A sum beyond so many scales has a probability far below any δ.
        let reach = (f64::from(64 + 4 * cells) / self.users.value()).ceil() as usize;
        let odds = probabilities_of_sum(ratio, cells, reach);
        let mut beyond = 0.0;
        for (at, probability) in odds.iter().enumerate().rev() {
            beyond += probability;
            if beyond > delta {
                let least = i64::try_from(at + 1).ok()? - i64::try_from(reach).ok()?;
                return Some(i64::from(self.k_min) + least);
            }
        }
        None
    }

    /// Whether the sum of so many cells, none of which is published, may become known. `people` is its true number of
    /// people.
    pub fn decides_sum(&self, people: i64, noisy: i64, cells: u32) -> bool {
        people >= i64::from(self.k_min) && self.threshold_of_sum(cells).is_some_and(|least| noisy >= least)
    }
}

/// The probabilities of the sum of `cells` draws with P(x) ∝ ratio^|x|, from `-reach` to `reach`. A convolution with
/// that distribution is one running sum from the left and one from the right. All terms are positive, so that nothing
/// cancels.
fn probabilities_of_sum(ratio: f64, cells: u32, reach: usize) -> Vec<f64> {
    let scale = (1.0 - ratio) / (1.0 + ratio);
    let mut odds = vec![0.0; 2 * reach + 1];
    odds[reach] = 1.0;
    for _ in 0..cells {
        let mut next: Vec<f64> = odds.iter().map(|own| -own).collect();
        let mut sum = 0.0;
        for (own, next) in odds.iter().zip(&mut next) {
            sum = own + ratio * sum;
            *next += sum;
        }
        sum = 0.0;
        for (own, next) in odds.iter().zip(&mut next).rev() {
            sum = own + ratio * sum;
            *next = scale * (*next + sum);
        }
        odds = next;
    }
    odds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bounds, Delta, Epsilon, Scale, source::tests::Seeded};

    fn mechanism(users: u32, sum_delta: u64) -> Mechanism {
        Mechanism {
            users: Epsilon::from_micros(users),
            overtime: Epsilon::from_micros(300_000),
            planned: Epsilon::from_micros(100_000),
            delta: Delta::from_picos(475_000),
            sum_delta: Delta::from_picos(sum_delta),
            k_min: 10,
            overtime_bounds: Bounds { low: -60, high: 180 },
            planned_bounds: Bounds { low: 240, high: 720 },
        }
    }

    #[test]
    fn thresholds_of_cells_are_those_of_the_design() {
        assert_eq!(mechanism(250_000, 0).threshold(), 66);
        assert_eq!(mechanism(150_000, 0).threshold(), 103);
    }

    #[test]
    fn a_sum_of_one_cell_has_the_threshold_of_a_cell() {
        for users in [25_000, 150_000, 250_000, 400_000, 900_000] {
            let found = mechanism(users, 475_000);
            assert_eq!(found.threshold_of_sum(1), Some(found.threshold()), "{users}");
        }
        assert_eq!(mechanism(250_000, 0).threshold_of_sum(3), None, "nothing is kept for it");
        assert_eq!(mechanism(250_000, 50_000).threshold_of_sum(0), None);
    }

    /// At a δ that draws can reach, the threshold is the smallest that so few draws pass.
    #[test]
    fn a_sum_of_cells_passes_as_seldom_as_its_delta_says() {
        const TIMES: usize = 100_000;
        let mut source = Seeded::new(21);
        for cells in [2, 6, 21] {
            let found = mechanism(250_000, 1_000_000_000);
            let above = found.threshold_of_sum(cells).expect("kept for it") - 10;
            let mut beyond = [0_usize; 2];
            for _ in 0..TIMES {
                let sum: i64 = (0..cells).map(|_| Scale::of(1, found.users).draw(&mut source)).sum();
                beyond[0] += usize::from(sum >= above);
                beyond[1] += usize::from(sum >= above - 4);
            }
            let shares = beyond.map(|count| count as f64 / TIMES as f64);
            assert!(shares[0] <= 0.001_4 && shares[1] > 0.001, "{cells}: {shares:?}");
        }
    }

    #[test]
    fn both_gates_of_a_sum_hold() {
        let found = mechanism(250_000, 50_000);
        let least = found.threshold_of_sum(18).expect("kept for it");
        assert!(least > found.threshold(), "{least}");
        assert!(found.decides_sum(10, least, 18));
        assert!(!found.decides_sum(9, least + 1_000, 18), "fewer than K people, whatever the noise says");
        assert!(!found.decides_sum(1_000, least - 1, 18), "many people, and a count that could be of few");
        let mut odds = probabilities_of_sum(0.5, 2, 40);
        let all: f64 = odds.iter().sum();
        assert!((all - 1.0).abs() < 1e-9, "{all}");
        odds.reverse();
        assert!(odds.iter().zip(probabilities_of_sum(0.5, 2, 40)).all(|(one, other)| (one - other).abs() < 1e-12));
    }
}
