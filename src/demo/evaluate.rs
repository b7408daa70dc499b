//! The utility of published statistics, measured on simulated people: how many people are covered, how large errors
//! are, whether intervals hold, and how much an attacker gains by averaging nightly reruns. Compares the mechanism of
//! requirements 177 to 186, as written and with an honest budget, with ours. All data is invented; the seed decides the
//! draws, so that a report can be repeated.

use std::{collections::BTreeMap, fmt::Write};

use domain::{
    Choice, RoleLevel, Specialty, StateCode,
    kinds::WorkProfile,
    quarter::Quarter,
    statistics::{
        plan::{BUDGET, K_MIN, Plan},
        table::{Contribution, DaySums, Table, contribution},
    },
};
use noise::{Mechanism, Source, Totals};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Exp1};
use serde_json::{Value, json};

use crate::demo::{
    fill::{ROLES, SPECIALTIES},
    hospitals::Hospital,
    people::{Choices, people},
};

/// How often each mechanism is drawn, to average over the noise.
const TIMES: u32 = 40;
/// How many nights the attacker averages.
pub const NIGHTS: u32 = 30;
/// The length of a day that requirement 185 takes as bound, in hours.
const LONGEST_DAY: f64 = 24.0;

/// The mechanisms that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Requirements 177 to 186 as written: new noise every night, ε = 1 for each of three averages.
    SeedAsWritten,
    /// The same, drawn once, with ε = 1 for all three averages together.
    SeedHonest,
    Ours,
}

impl Whose {
    /// All mechanisms, in the order of the report.
    pub const ALL: [Self; 3] = [Self::SeedAsWritten, Self::SeedHonest, Self::Ours];

    /// The name in the report.
    pub fn title(self) -> &'static str {
        match self {
            Self::SeedAsWritten => "as written, every night",
            Self::SeedHonest => "as written, ε = 1 in all, once",
            Self::Ours => "ours, ε = 1 in all, once",
        }
    }
}

/// The measured utility of one mechanism.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utility {
    /// The share of cells with people that are published, from 0 to 1.
    pub cells: f64,
    /// The share of people who are in published cells, from 0 to 1.
    pub people: f64,
    /// The mean absolute error of average overtime, in hours.
    pub error: f64,
    /// How often the interval holds the true value, from 0 to 1; `None` if the mechanism gives no interval.
    pub coverage: Option<f64>,
    /// The error that is left after averaging the answers of 1, 2, … nights, in hours.
    pub attack: [f64; NIGHTS as usize],
}

/// The evaluation with one number of people.
pub struct Evaluation {
    pub people: usize,
    /// The plan of our mechanism for this number of people.
    pub plan: Plan,
    /// The outcomes, in the order of [`Whose::ALL`].
    pub outcomes: [Utility; 3],
}

/// A source of random bits that the seed decides.
struct Seeded(StdRng);

impl Source for Seeded {
    fn bits(&mut self, count: u32) -> u64 {
        if count == 0 { 0 } else { self.0.random::<u64>() >> (64 - count) }
    }
}

/// One cell: the averages of everybody in it, in minutes a day.
#[derive(Default)]
struct Cell {
    overtime: Vec<i64>,
    planned: Vec<i64>,
}

impl Cell {
    /// The true average of overtime, in minutes.
    fn truth(&self) -> f64 {
        self.overtime.iter().sum::<i64>() as f64 / self.overtime.len() as f64
    }
}

/// Evaluates all mechanisms with one number of people, in one quarter, with people who work at these hospitals.
pub fn evaluate(seed: u64, count: usize, quarter: Quarter, plan: Plan, hospitals: &[Hospital]) -> Evaluation {
    let table = plan.tables()[0];
    let fine = cells(seed, count, quarter, Table::StateSpecialty, hospitals);
    let coarse;
    let own = if table == Table::StateSpecialty {
        &fine
    } else {
        coarse = cells(seed, count, quarter, table, hospitals);
        &coarse
    };
    let days = (quarter.last_day() - quarter.first_day()).num_days() + 1;
    let mut source = Seeded(StdRng::seed_from_u64(seed));
    let seed_at = |epsilon: f64, nightly: bool, source: &mut Seeded| {
        of_the_seed(&fine, count, LONGEST_DAY * days as f64 / epsilon, nightly, source)
    };
    let outcomes = [
        seed_at(1.0, true, &mut source),
        seed_at(1.0 / 3.0, false, &mut source),
        ours(own, count, &plan.mechanism(table, 100), false, &mut source),
    ];
    Evaluation { people: count, plan, outcomes }
}

fn cells(seed: u64, count: usize, quarter: Quarter, table: Table, hospitals: &[Hospital]) -> BTreeMap<String, Cell> {
    let choices = Choices { hospitals, specialties: SPECIALTIES, role_levels: ROLES };
    let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
    for person in people(seed, count, quarter, &choices) {
        let mut work = WorkProfile {
            hospital_id: person.hospital_id,
            specialty: Specialty::parse(person.specialty).expect("the simulator's specialties are known"),
            role_level: RoleLevel::parse(person.role_level).expect("the simulator's roles are known"),
            state_code: StateCode::parse(person.state_code),
            country_code: WorkProfile::DEFAULT_COUNTRY.to_owned(),
            time_zone: WorkProfile::DEFAULT_TIME_ZONE.to_owned(),
        };
        // The sums before and after a move.
        let (mut stays, mut goes) = (DaySums::default(), DaySums::default());
        for day in &person.days {
            let sums = if person.moved.as_ref().is_some_and(|to| to.on <= day.date) { &mut goes } else { &mut stays };
            *sums += DaySums::of(day);
        }
        let first = table.cell(&work, |_| true);
        if let Some(to) = person.moved {
            (work.hospital_id, work.state_code) = (to.hospital_id, StateCode::parse(to.state_code));
        }
        let days = [(first, stays), (table.cell(&work, |_| true), goes)];
        if let Some(Contribution { cell, overtime, planned }) = contribution(days) {
            let cell = cells.entry(cell).or_default();
            cell.overtime.push(overtime);
            cell.planned.push(planned);
        }
    }
    cells
}

/// The mechanism of requirement 182: Laplace noise of `total / n` hours on the average of each cell with at least K
/// people.
fn of_the_seed(
    cells: &BTreeMap<String, Cell>,
    count: usize,
    total: f64,
    nightly: bool,
    source: &mut Seeded,
) -> Utility {
    let published: Vec<&Cell> = cells.values().filter(|cell| cell.overtime.len() >= K_MIN as usize).collect();
    let mut attack = [0.0; NIGHTS as usize];
    for cell in &published {
        let scale = total / cell.overtime.len() as f64;
        for _ in 0..TIMES {
            let mut sum = 0.0;
            for (night, error) in (1..=NIGHTS).zip(&mut attack) {
                // Without nightly reruns, the first night's answer stays.
                if nightly || night == 1 {
                    sum += laplace(scale, source);
                }
                *error += (sum / if nightly { f64::from(night) } else { 1.0 }).abs();
            }
        }
    }
    let draws = published.len() as f64 * f64::from(TIMES);
    attack.iter_mut().for_each(|error| *error /= draws);
    Utility {
        cells: published.len() as f64 / cells.len() as f64,
        people: published.iter().map(|cell| cell.overtime.len()).sum::<usize>() as f64 / count as f64,
        error: attack[0],
        coverage: None,
        attack,
    }
}

fn laplace(scale: f64, source: &mut Seeded) -> f64 {
    let size: f64 = Exp1.sample(&mut source.0);
    if source.bits(1) == 1 { size * scale } else { -size * scale }
}

/// Our mechanism. A draw is stored, and every night gets the stored answer. With `nightly` it draws every night
/// instead, and averaging removes its noise as it does the other's.
fn ours(
    cells: &BTreeMap<String, Cell>,
    count: usize,
    mechanism: &Mechanism,
    nightly: bool,
    source: &mut Seeded,
) -> Utility {
    let (mut published, mut covered, mut error, mut held) = (0_u32, 0, 0.0, 0_u32);
    let mut attack = [0.0; NIGHTS as usize];
    for cell in cells.values() {
        let mut totals = Totals::default();
        for (overtime, planned) in cell.overtime.iter().zip(&cell.planned) {
            totals.add(mechanism, *overtime, *planned);
        }
        for _ in 0..TIMES {
            let noisy = mechanism.draw(&totals, source);
            if !mechanism.decides(&totals, &noisy) {
                continue;
            }
            let stored = mechanism.figures(&noisy, 1).overtime;
            published += 1;
            covered += cell.overtime.len();
            error += (stored.mean - cell.truth()).abs() / 60.0;
            held += u32::from(stored.interval.holds(cell.truth()));
            let mut answer = |night: u32| {
                let anew = nightly && night > 1;
                let mean = if anew {
                    mechanism.figures(&mechanism.draw(&totals, source), 1).overtime.mean
                } else {
                    stored.mean
                };
                mean - cell.truth()
            };
            let mut sum = 0.0;
            for (night, error) in (1..=NIGHTS).zip(&mut attack) {
                sum += answer(night);
                *error += (sum / f64::from(night)).abs() / 60.0;
            }
        }
    }
    let (published, times) = (f64::from(published), f64::from(TIMES));
    attack.iter_mut().for_each(|error| *error /= published);
    Utility {
        cells: published / (cells.len() as f64 * times),
        people: covered as f64 / (count as f64 * times),
        error: error / published,
        coverage: Some(f64::from(held) / published),
        attack,
    }
}

pub fn report(evaluations: &[Evaluation]) -> String {
    let mut text = format!(
        "Budget of a person and quarter: ε = {}, δ = {}; at least {K_MIN} people in a published cell.\n",
        BUDGET.epsilon,
        BUDGET.delta.value()
    );
    for Evaluation { people, plan, outcomes } in evaluations {
        let _ = writeln!(text, "\n{people} people, our plan: {}", plan.as_str());
        let _ = writeln!(
            text,
            "{:<32} {:>7} {:>8} {:>10} {:>10} {:>16}",
            "mechanism", "cells", "people", "error (h)", "intervals", "after 30 nights"
        );
        for (whose, outcome) in Whose::ALL.iter().zip(outcomes) {
            let coverage =
                outcome.coverage.map_or_else(|| "none".to_owned(), |share| format!("{:.1} %", share * 100.0));
            let _ = writeln!(
                text,
                "{:<32} {:>5.0} % {:>6.0} % {:>10.3} {:>10} {:>9.3} (÷{:.1})",
                whose.title(),
                outcome.cells * 100.0,
                outcome.people * 100.0,
                outcome.error,
                coverage,
                outcome.attack[NIGHTS as usize - 1],
                outcome.error / outcome.attack[NIGHTS as usize - 1],
            );
        }
    }
    text
}

/// The report as one object; errors are in hours.
pub fn object(evaluations: &[Evaluation]) -> Value {
    let outcome = |(whose, outcome): (&Whose, &Utility)| {
        json!({
            "mechanism": whose.title(),
            "cells": outcome.cells,
            "people": outcome.people,
            "error_h": outcome.error,
            "coverage": outcome.coverage,
            "error_after_30_nights_h": outcome.attack[NIGHTS as usize - 1],
        })
    };
    let evaluation = |Evaluation { people, plan, outcomes }: &Evaluation| {
        let outcomes: Vec<Value> = Whose::ALL.iter().zip(outcomes).map(outcome).collect();
        json!({ "people": people, "plan": plan.as_str(), "outcomes": outcomes })
    };
    let evaluations: Vec<Value> = evaluations.iter().map(evaluation).collect();
    json!({ "evaluations": evaluations })
}

/// A figure in SVG with a logarithmic scale: the error that is left when an attacker averages the answers of successive
/// nights.
pub fn figure(evaluation: &Evaluation) -> String {
    const COLOURS: [&str; 3] = ["#b3261e", "#e08a1e", "#1f6f54"];
    const LEFT: f64 = 64.0;
    const TOP: f64 = 44.0;
    const WIDTH: f64 = 420.0;
    const HEIGHT: f64 = 240.0;
    let (low, high) = (-2.0, 3.0);
    let x = |night: usize| LEFT + WIDTH * night as f64 / f64::from(NIGHTS - 1);
    let y = |hours: f64| TOP + HEIGHT * (high - hours.log10().clamp(low, high)) / (high - low);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 340\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"720\" height=\"340\" fill=\"#ffffff\"/>\n",
    );
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"24\" font-size=\"14\">Error of average overtime, by nights averaged ({} people)</text>",
        evaluation.people
    );
    for (power, label) in [(-2, "0.01 h"), (-1, "0.1 h"), (0, "1 h"), (1, "10 h"), (2, "100 h"), (3, "1000 h")] {
        let at = y(10_f64.powi(power));
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT + WIDTH,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for night in [1, 10, 20, 30] {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{night}</text>",
            x(night - 1),
            TOP + HEIGHT + 18.0
        );
    }
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\">night</text>", TOP + HEIGHT + 36.0);
    for ((whose, outcome), colour) in Whose::ALL.iter().zip(&evaluation.outcomes).zip(COLOURS) {
        let points: Vec<String> = outcome
            .attack
            .iter()
            .enumerate()
            .map(|(night, error)| format!("{:.1},{:.1}", x(night), y(*error)))
            .collect();
        let last = outcome.attack[NIGHTS as usize - 1];
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            points.join(" "),
            LEFT + WIDTH + 8.0,
            y(last) + 4.0,
            whose.title()
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::hospitals::built_in;

    #[test]
    fn ours_is_nearer_holds_its_intervals_and_does_not_wear_out() {
        let (quarter, hospitals) = ("2025-Q2".parse().expect("a quarter"), built_in());
        let found = evaluate(3, 5_000, quarter, Plan::Small, &hospitals);
        let [written, honest, ours] = &found.outcomes;
        assert!(
            written.error > 100.0 * ours.error && honest.error > written.error,
            "{found:?}",
            found = found.outcomes
        );
        let fall = written.error / written.attack[NIGHTS as usize - 1];
        assert!((4.5..6.5).contains(&fall), "averaging thirty answers of theirs gives √30: {fall}");
        let worn = |error: &f64| (error / ours.error - 1.0).abs() > 1e-9;
        assert!(ours.error > 0.0 && !ours.attack.iter().any(worn), "of ours it gives nothing: {:?}", ours.attack);
        assert!(ours.coverage.is_some_and(|share| (0.9..0.99).contains(&share)), "{:?}", ours.coverage);
        assert!(ours.people > 0.6, "{}", ours.people);
        let text = report(std::slice::from_ref(&found));
        assert!(text.contains("5000 people") && text.lines().count() == 7, "{text}");
        let json = object(std::slice::from_ref(&found));
        assert_eq!(json["evaluations"][0]["outcomes"][2]["error_h"], ours.error);
        let svg = figure(&found);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.matches("<polyline").count() == 3);
        assert_eq!(
            report(&[evaluate(3, 5_000, quarter, Plan::Small, &hospitals)]),
            text,
            "the same seed, the same report"
        );
    }

    /// Averaging gains nothing because the answer is stored, not because of how the error is counted: with a new draw
    /// every night, our noise wears out too.
    #[test]
    fn ours_would_wear_out_if_it_were_drawn_every_night() {
        let (quarter, hospitals) = ("2025-Q2".parse().expect("a quarter"), built_in());
        let table = Plan::Small.tables()[0];
        // The two largest cells are enough, because each night of each cell costs as much as a release of one cell.
        let mut all: Vec<(String, Cell)> = cells(3, 3_000, quarter, table, &hospitals).into_iter().collect();
        all.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.overtime.len()));
        let cells = all.into_iter().take(2).collect();
        let mechanism = Plan::Small.mechanism(table, 100);
        let found = ours(&cells, 3_000, &mechanism, true, &mut Seeded(StdRng::seed_from_u64(5)));
        let fall = found.error / found.attack[NIGHTS as usize - 1];
        assert!(fall > 3.0, "{fall}: {:?}", found.attack);
    }
}
