//! Two independent implementations of the same distribution draw as we do: OpenDP's, and that of `prio` (divviup/libprio-rs).

use std::collections::BTreeMap;

use dashu::{integer::UBig, rational::RBig};
use noise::{Os, Scale};
use opendp::traits::samplers::sample_discrete_laplace;
use prio::dp::{Rational, distributions::DiscreteLaplace};
use rand::{SeedableRng, distr::Distribution, rngs::StdRng};

const DRAWS: u32 = 100_000;
const SCALES: [(u64, u64); 5] = [(1, 2), (1, 1), (7, 2), (5, 1), (400, 1)];

/// How far two samples of the same size are apart, as a normal deviate (two-sample chi-square).
fn distance(scale: f64, one: impl Iterator<Item = i64>, other: impl Iterator<Item = i64>) -> f64 {
    let width = ((scale / 4.0).ceil() as i64).max(1);
    let mut counts: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    one.for_each(|draw| counts.entry(draw.div_euclid(width)).or_default().0 += 1.0);
    other.for_each(|draw| counts.entry(draw.div_euclid(width)).or_default().1 += 1.0);
    let (mut chi, mut degrees) = (0.0, 0.0_f64);
    let mut rest = (0.0, 0.0);
    for (a, b) in counts.into_values() {
        rest = (rest.0 + a, rest.1 + b);
        if rest.0 + rest.1 >= 40.0 {
            let difference: f64 = rest.0 - rest.1;
            chi += difference * difference / (rest.0 + rest.1);
            degrees += 1.0;
            rest = (0.0, 0.0);
        }
    }
    let part: f64 = 2.0 / (9.0 * degrees);
    ((chi / degrees).cbrt() - (1.0 - part)) / part.sqrt()
}

fn ours(scale: Scale) -> impl Iterator<Item = i64> {
    let mut source = Os::new();
    (0..DRAWS).map(move |_| scale.draw(&mut source))
}

#[test]
fn opendp_draws_alike() {
    for (numerator, denominator) in SCALES {
        let scale = Scale::new(numerator, denominator);
        let theirs = RBig::from_parts(UBig::from(numerator).into(), UBig::from(denominator));
        let theirs = (0..DRAWS).map(|_| {
            let draw = sample_discrete_laplace(theirs.clone()).expect("drawn");
            i64::try_from(draw).expect("small")
        });
        let found = distance(scale.value(), ours(scale), theirs);
        assert!(found < 4.5, "{scale:?}: {found}");
    }
}

#[test]
fn prio_draws_alike() {
    let mut rng = StdRng::seed_from_u64(7);
    for (numerator, denominator) in SCALES {
        let scale = Scale::new(numerator, denominator);
        let theirs = DiscreteLaplace::new(Rational::from_unsigned(numerator, denominator).expect("a fraction"));
        let theirs = theirs.expect("a scale");
        let theirs = (0..DRAWS).map(|_| i64::try_from(theirs.sample(&mut rng)).expect("small"));
        let found = distance(scale.value(), ours(scale), theirs);
        assert!(found < 4.5, "{scale:?}: {found}");
    }
}

#[test]
fn what_is_not_alike_is_noticed() {
    assert!(distance(5.0, ours(Scale::new(5, 1)), ours(Scale::new(11, 2))) > 4.5);
}
