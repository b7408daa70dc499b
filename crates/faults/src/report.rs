//! The report: a line for each kind of fault.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    fault::Fault,
    outcome::{Finding, Wrong},
    tally::Counts,
};

/// What a round came to.
pub struct Round {
    pub fault: Fault,
    pub counts: Counts,
    /// From the end of the fault to the first write that was acknowledged; `None` if none was.
    pub to_serve: Option<Duration>,
    /// How often a server that had ended by itself was started again.
    pub restarts: u64,
    pub findings: Vec<Finding>,
}

/// The table of all rounds.
pub fn table(rounds: &[Round]) -> String {
    let mut kinds: BTreeMap<Fault, Vec<&Round>> = BTreeMap::new();
    for round in rounds {
        kinds.entry(round.fault).or_default().push(round);
    }
    let mut text =
        "| fault | rounds | requests | acknowledged | unknown and resolved | lost | doubled | unequal | stuck \
                    | restarts | seconds to serve again: median | slowest |\n\
                    |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for (fault, rounds) in &kinds {
        text += &line(fault.name(), rounds);
    }
    text + &line("**all**", &rounds.iter().collect::<Vec<_>>())
}

fn line(name: &str, rounds: &[&Round]) -> String {
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(|round| of(round)).sum::<u64>();
    let found =
        |wrong: Wrong| rounds.iter().flat_map(|round| &round.findings).filter(|finding| finding.wrong == wrong).count();
    let mut seconds: Vec<f64> = rounds.iter().filter_map(|round| round.to_serve).map(|it| it.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    let at = |place: usize| seconds.get(place).map_or("–".to_owned(), |seconds| format!("{seconds:.1}"));
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        rounds.len(),
        sum(|round| round.counts.requests),
        sum(|round| round.counts.acknowledged),
        sum(|round| round.counts.resolved),
        found(Wrong::Lost),
        found(Wrong::Doubled),
        found(Wrong::Unequal),
        found(Wrong::Stuck),
        sum(|round| round.restarts),
        at(seconds.len() / 2),
        at(seconds.len().saturating_sub(1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_adds_up_the_rounds_of_a_kind() {
        let round = |seconds, findings| Round {
            fault: Fault::KillServer,
            counts: Counts { requests: 10, acknowledged: 7, resolved: 2 },
            to_serve: Some(Duration::from_secs(seconds)),
            restarts: 0,
            findings,
        };
        let lost = vec![Finding::new(Wrong::Lost, "a day")];
        let table = table(&[round(3, Vec::new()), round(1, lost), round(2, Vec::new())]);
        assert!(
            table.contains("| the server is killed | 3 | 30 | 21 | 6 | 1 | 0 | 0 | 0 | 0 | 2.0 | 3.0 |\n"),
            "{table}"
        );
        assert!(table.contains("| **all** | 3 |"), "{table}");
    }
}
