//! Exact discrete Laplace noise: P(x) ∝ exp(−|x| / scale) on all integers.
//!
//! Algorithms 1 and 2 of Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (2020): only
//! uniform integers and comparisons, so that what is drawn has exactly this distribution. A sum that one person moves
//! by at most `s` and noise of scale `s / ε` together are ε-differentially private.

use crate::{Epsilon, Source};

/// The scale of the noise, a positive fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    numerator: u64,
    denominator: u64,
}

impl Scale {
    /// Makes a scale from a fraction.
    ///
    /// # Panics
    /// If one of the two is 0, or the numerator is not below 2³².
    pub fn new(numerator: u64, denominator: u64) -> Self {
        assert!(numerator > 0 && denominator > 0, "a scale is positive");
        let common = gcd(numerator, denominator);
        let (numerator, denominator) = (numerator / common, denominator / common);
        assert!(numerator < 1 << 32, "a scale's numerator is below 2^32");
        Self { numerator, denominator }
    }

    /// The scale for a value that one person moves by at most `sensitivity`.
    pub fn of(sensitivity: u32, epsilon: Epsilon) -> Self {
        Self::new(u64::from(sensitivity) * u64::from(Epsilon::ONE), u64::from(epsilon.micros()))
    }

    /// As a number, for intervals and documents.
    pub fn value(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    pub fn draw(self, source: &mut impl Source) -> i64 {
        loop {
            // |x| · denominator + a remainder is geometric with ratio exp(−1/numerator). It is drawn in two parts: a
            // part below the numerator, by rejection, and a number of whole numerators.
            let part = source.below(self.numerator);
            if !bernoulli_exp(part, self.numerator, source) {
                continue;
            }
            let mut wholes = 0_u64;
            while bernoulli_exp(1, 1, source) {
                wholes += 1;
            }
            let size =
                (u128::from(part) + u128::from(self.numerator) * u128::from(wholes)) / u128::from(self.denominator);
            let size = i64::try_from(size).expect("a draw of more than 2^63 does not happen");
            let negative = source.bits(1) == 1;
            // Zero has two signs, and would come twice as often without this line.
            if negative && size == 0 {
                continue;
            }
            return if negative { -size } else { size };
        }
    }
}

/// True with probability exp(−numerator/denominator); the fraction is at most 1.
fn bernoulli_exp(numerator: u64, denominator: u64, source: &mut impl Source) -> bool {
    let mut k = 1_u64;
    loop {
        let bound = denominator.checked_mul(k).expect("so many successes in a row do not happen");
        if source.below(bound) >= numerator {
            return k % 2 == 1;
        }
        k += 1;
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::source::tests::Seeded;

    /// P(x) for a scale.
    fn pmf(scale: f64, x: i64) -> f64 {
        let ratio = (-1.0 / scale).exp();
        (1.0 - ratio) / (1.0 + ratio) * (-(x.unsigned_abs() as f64) / scale).exp()
    }

    /// P(≤ x).
    fn cdf(scale: f64, x: i64) -> f64 {
        let ratio = (-1.0 / scale).exp();
        if x >= 0 {
            1.0 - (-(x as f64 + 1.0) / scale).exp() / (1.0 + ratio)
        } else {
            (x as f64 / scale).exp() / (1.0 + ratio)
        }
    }

    /// How far a sample is from the distribution, as a normal deviate (Wilson and Hilferty's for chi-square).
    fn distance(scale: f64, draws: impl Iterator<Item = i64>) -> f64 {
        const CELLS: i64 = 40;
        let width = ((scale / 4.0).ceil() as i64).max(1);
        let (mut seen, mut total) = (BTreeMap::new(), 0.0);
        for draw in draws {
            *seen.entry(draw.div_euclid(width).clamp(-CELLS, CELLS)).or_insert(0.0) += 1.0;
            total += 1.0;
        }
        let (mut chi, mut degrees, mut observed, mut expected) = (0.0, -1.0, 0.0, 0.0);
        for cell in -CELLS..=CELLS {
            let low = if cell == -CELLS { 0.0 } else { cdf(scale, cell * width - 1) };
            let high = if cell == CELLS { 1.0 } else { cdf(scale, (cell + 1) * width - 1) };
            observed += seen.get(&cell).copied().unwrap_or(0.0);
            expected += (high - low) * total;
            if expected >= 20.0 {
                chi += (observed - expected) * (observed - expected) / expected;
                degrees += 1.0;
                (observed, expected) = (0.0, 0.0);
            }
        }
        let part: f64 = 2.0 / (9.0 * degrees);
        ((chi / degrees).cbrt() - (1.0 - part)) / part.sqrt()
    }

    const SCALES: [(u64, u64); 9] = [
        (1, 3),
        (1, 1),
        (7, 2),
        (4, 1),
        (5, 1),
        (400, 1),
        (2400, 1),
        (600_000_000, 999_983),
        (3_200_000_000, 1_000_001),
    ];

    #[test]
    fn draws_have_the_distribution_at_whole_fractional_and_large_scales() {
        for (numerator, denominator) in SCALES {
            let scale = Scale::new(numerator, denominator);
            let mut source = Seeded::new(numerator + denominator);
            let found = distance(scale.value(), (0..400_000).map(|_| scale.draw(&mut source)));
            assert!(found < 3.5, "scale {}: {found}", scale.value());
        }
    }

    #[test]
    fn the_test_of_the_distribution_notices_small_faults() {
        let mut source = Seeded::new(1);
        // Three faults: zero with both of its signs, rounding instead of exactness, and a scale that is off by a
        // fiftieth.
        let two_zeros = |source: &mut Seeded| loop {
            let draw = Scale::new(5, 1).draw(source);
            if draw == 0 || source.bits(1) == 1 {
                return draw;
            }
        };
        assert!(distance(5.0, (0..400_000).map(|_| two_zeros(&mut source))) > 10.0);
        assert!(distance(5.0, (0..400_000).map(|_| Scale::new(51, 10).draw(&mut source))) > 5.0);
        let float = |source: &mut Seeded| {
            let uniform = (source.bits(53) as f64 + 0.5) / 2_f64.powi(53) - 0.5;
            (-uniform.signum() * (1.0 - 2.0 * uniform.abs()).ln()).round() as i64
        };
        assert!(distance(1.0, (0..400_000).map(|_| float(&mut source))) > 5.0);
    }

    /// A tape of bits that is read once. Bits beyond its end are made up, and it is noted that they were read.
    struct Tape<'a> {
        bits: &'a [bool],
        at: usize,
        beyond: Option<Seeded>,
    }

    impl Source for Tape<'_> {
        fn bits(&mut self, count: u32) -> u64 {
            let mut value = 0;
            for _ in 0..count {
                let bit = match self.bits.get(self.at) {
                    Some(bit) => u64::from(*bit),
                    None => self.beyond.get_or_insert_with(|| Seeded::new(7)).bits(1),
                };
                self.at += 1;
                value = value << 1 | bit;
            }
            value
        }
    }

    /// The exact probability of each draw that tapes of `length` bits decide, and the probability that they leave
    /// undecided.
    fn enumerate(scale: Scale, length: usize) -> (BTreeMap<i64, f64>, f64) {
        let (mut found, mut open) = (BTreeMap::new(), 0.0);
        let mut tapes = vec![Vec::new()];
        while let Some(tape) = tapes.pop() {
            let mut source = Tape { bits: &tape, at: 0, beyond: None };
            let draw = scale.draw(&mut source);
            let weight = 0.5_f64.powi(i32::try_from(tape.len()).expect("short"));
            if source.beyond.is_none() {
                *found.entry(draw).or_insert(0.0) += weight;
            } else if tape.len() == length {
                open += weight;
            } else {
                tapes.extend([false, true].map(|bit| [&tape[..], &[bit]].concat()));
            }
        }
        (found, open)
    }

    #[test]
    fn every_tape_of_bits_together_gives_the_distribution() {
        for (numerator, denominator, undecided) in [(1, 1, 0.11), (1, 2, 0.11), (2, 1, 0.3), (3, 2, 0.4)] {
            let scale = Scale::new(numerator, denominator);
            let (found, open) = enumerate(scale, 20);
            assert!(open < undecided, "{open} is left open at {scale:?}");
            for x in -3..=3 {
                let (low, exact) = (found.get(&x).copied().unwrap_or(0.0), pmf(scale.value(), x));
                assert!(
                    (low - 1e-12..=low + open + 1e-12).contains(&exact),
                    "{x} at {scale:?}: {low}, {exact}, {open}"
                );
            }
            let sum: f64 = found.values().sum();
            assert!((sum + open - 1.0).abs() < 1e-9);
            // Both signs come from equally many tapes.
            for x in 1..=3 {
                assert_eq!(found.get(&x), found.get(&-x));
            }
        }
    }

    /// The largest ratio between the frequencies of the same output for two neighbours, among outputs that came often
    /// enough.
    fn ratio(draw: impl Fn(&mut Seeded) -> i64) -> f64 {
        const DRAWS: u32 = 1_000_000;
        let histogram = |seed: u64, value: i64| {
            let (mut source, mut seen) = (Seeded::new(seed), BTreeMap::<i64, f64>::new());
            for _ in 0..DRAWS {
                *seen.entry(value + draw(&mut source)).or_insert(0.0) += 1.0;
            }
            seen
        };
        let (one, other) = (histogram(1, 100), histogram(2, 101));
        let often = |output: &&i64| one[*output] >= 20_000.0;
        let ratios = one.keys().filter(often).map(|output| {
            let other: f64 = other.get(output).copied().unwrap_or(0.5);
            (one[output] / other).max(other / one[output])
        });
        ratios.fold(0.0, f64::max)
    }

    #[test]
    fn neighbours_give_the_same_output_about_as_often() {
        let epsilon: f64 = 0.25;
        let allowed = epsilon.exp() * 1.05;
        assert!(ratio(|source| Scale::new(4, 1).draw(source)) < allowed);
        // Broken samplers: half the noise; even numbers only; zero twice as often.
        assert!(ratio(|source| Scale::new(2, 1).draw(source)) > allowed);
        assert!(ratio(|source| Scale::new(4, 1).draw(source) & !1) > allowed);
        let zeros = |source: &mut Seeded| loop {
            let draw = Scale::new(4, 1).draw(source);
            if draw == 0 || source.bits(1) == 1 {
                return draw;
            }
        };
        assert!(ratio(zeros) > allowed);
    }
}
