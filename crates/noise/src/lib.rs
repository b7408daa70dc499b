//! Noise: differentially private counts and means of bounded integers. Pure except for the source of randomness: no
//! other I/O, no clock.
//!
//! A cell of a table is released by [`Mechanism::draw`], which adds discrete Laplace noise to a count and to two sums,
//! and [`Mechanism::decides`], which says whether the cell is published. [`Mechanism::figures`] makes means with
//! intervals from what was drawn, which costs nothing more. Everything up to the noisy integers is integer arithmetic,
//! because floating-point noise leaks the value in its low bits (Mironov, 2012, "On significance of the least
//! significant bits for differential privacy").
//!
//! Promises: the distribution is exact, not an approximation; the random bits are the operating system's unless a test
//! brings its own. Refuses parameters that spend nothing, or more than is left.

mod budget;
mod interval;
mod laplace;
mod mechanism;
mod source;
mod threshold;

pub use budget::{Budget, Delta, Epsilon, Overspent};
pub use interval::{Interval, quantile};
pub use laplace::Scale;
pub use mechanism::{Bounds, Figure, Figures, Mechanism, Noisy, Totals};
pub use source::{Os, Source};
