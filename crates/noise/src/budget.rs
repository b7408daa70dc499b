//! Budgets: ε in millionths and δ in parts of 10¹², so that sums are exact.

use std::{fmt, iter::Sum, ops::Add};

/// A privacy loss ε, in millionths: exact, and added up by basic composition (Dwork, Roth 2014, theorem 3.16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epsilon(u32);

impl Epsilon {
    /// How many millionths 1 has.
    pub const ONE: u32 = 1_000_000;

    pub const fn from_micros(micros: u32) -> Self {
        Self(micros)
    }

    pub const fn micros(self) -> u32 {
        self.0
    }

    /// As a number, for formulas and documents.
    pub fn value(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ONE)
    }

    /// `percent` percent of this ε, rounded down.
    pub const fn percent(self, percent: u32) -> Self {
        Self((self.0 as u64 * percent as u64 / 100) as u32)
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value())
    }
}

impl Add for Epsilon {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Epsilon {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self(0), Add::add)
    }
}

/// A probability δ that the bound of ε does not hold, in parts of 10¹².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delta(u64);

impl Delta {
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    pub const fn picos(self) -> u64 {
        self.0
    }

    pub fn value(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// `percent` percent of this δ, rounded down.
    pub const fn percent(self, percent: u32) -> Self {
        Self(self.0 / 100 * percent as u64)
    }
}

impl Add for Delta {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// The most that may be spent on one person in one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub epsilon: Epsilon,
    pub delta: Delta,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the budget does not suffice: ε = {left} is left, and {wanted} was asked for")]
pub struct Overspent {
    /// What is left of ε.
    pub left: Epsilon,
    /// The ε that was asked for.
    pub wanted: Epsilon,
}

impl Budget {
    /// Takes a part of the budget, and returns what is left. A person is in each table once, so that what is spent on
    /// the tables adds up.
    pub fn spend(self, epsilon: Epsilon, delta: Delta) -> Result<Self, Overspent> {
        let left = self.epsilon.0.checked_sub(epsilon.0).zip(self.delta.0.checked_sub(delta.0));
        let (left, delta) = left.ok_or(Overspent { left: self.epsilon, wanted: epsilon })?;
        Ok(Self { epsilon: Epsilon(left), delta: Delta(delta) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_order_of_spending_exceeds_the_budget(parts in prop::collection::vec((0..400_000_u32, 0..600_000_u64), 0..12)) {
            let whole = Budget { epsilon: Epsilon::from_micros(1_000_000), delta: Delta::from_picos(1_000_000) };
            let (mut left, mut spent) = (whole, (Epsilon::default(), Delta::default()));
            for (epsilon, delta) in parts {
                let (epsilon, delta) = (Epsilon::from_micros(epsilon), Delta::from_picos(delta));
                if let Ok(rest) = left.spend(epsilon, delta) {
                    left = rest;
                    spent = (spent.0 + epsilon, spent.1 + delta);
                }
            }
            prop_assert!(spent.0 <= whole.epsilon && spent.1 <= whole.delta);
            prop_assert_eq!((spent.0 + left.epsilon, spent.1 + left.delta), (whole.epsilon, whole.delta));
        }
    }

    #[test]
    fn what_is_refused_says_what_is_left() {
        let left = Budget { epsilon: Epsilon::from_micros(350_000), delta: Delta::from_picos(1) };
        let refused = left.spend(Epsilon::from_micros(650_000), Delta::default()).expect_err("refused");
        assert!(refused.to_string().contains("0.35 is left"), "{refused}");
        assert!(left.spend(Epsilon::default(), Delta::from_picos(2)).is_err());
    }
}
