//! Filters: which of a person's records an export or a deletion is about. Pure, and the same for both.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    Body, Fault, Kind,
    deletion::Scope,
    kinds::{KINDS, kind},
};

/// Which records are meant. What is absent narrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The first day, for kinds with days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NaiveDate>,
    /// The last day, for kinds with days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NaiveDate>,
    /// Kinds, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// A type of test, for kinds that have such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_type: Option<String>,
}

impl Filter {
    /// The filter of `sessions_only`: the kinds that are sessions, on any day.
    pub fn sessions() -> Self {
        let names = KINDS.iter().filter(|kind| kind.is_session()).map(|kind| kind.name().to_owned());
        Self { kinds: Some(names.collect()), ..Self::default() }
    }

    /// What it means together with the scope of a request, or what is wrong with it.
    pub fn settled(self, scope: Scope) -> Result<Self, Vec<Fault>> {
        let mut faults: Vec<Fault> = self.faults().into_iter().map(|fault| fault.within("filters")).collect();
        match scope {
            Scope::Full if !self.is_empty() => faults.push(Fault::new("filters", "cannot narrow `full`")),
            Scope::Partial if self.is_empty() => faults.push(Fault::new("filters", "is required for `partial`")),
            Scope::SessionsOnly if self.kinds.is_some() => {
                faults.push(Fault::new("filters.kinds", "is settled by `sessions_only`"));
            }
            _ => {}
        }
        match scope {
            _ if !faults.is_empty() => Err(faults),
            Scope::SessionsOnly => Ok(Self { kinds: Self::sessions().kinds, ..self }),
            Scope::Full | Scope::Partial => Ok(self),
        }
    }

    /// Whether it narrows anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            faults.push(Fault::new("from", "must not lie after `to`"));
        }
        for (number, name) in self.kinds.iter().flatten().enumerate() {
            if kind(name).is_none() {
                faults.push(Fault::new(format!("kinds[{number}]"), "is not a kind of record"));
            }
        }
        if self.kinds.as_ref().is_some_and(Vec::is_empty) {
            faults.push(Fault::new("kinds", "must name at least one kind"));
        }
        faults
    }

    /// Whether records of this kind can be meant at all: a filter by day or by test means only kinds that have them.
    pub fn may_mean(&self, kind: &dyn Kind) -> bool {
        let named = self.kinds.as_ref().is_none_or(|names| names.iter().any(|name| name == kind.name()));
        let dated = self.from.is_none() && self.to.is_none() || kind.is_dated();
        named && dated && (self.test_type.is_none() || kind.is_session())
    }

    /// Whether a record is meant.
    pub fn means(&self, kind: &dyn Kind, body: &Body) -> bool {
        let inside = kind
            .date(body)
            .is_none_or(|date| self.from.is_none_or(|from| from <= date) && self.to.is_none_or(|to| date <= to));
        let tested = self.test_type.is_none() || self.test_type == kind.test_type(body);
        self.may_mean(kind) && inside && tested
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Source,
        kinds::{CONTACT, Contact, Shape, WORK_DAY, WorkDay},
    };

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn day(text: &str) -> Body {
        WorkDay { date: date(text), planned_minutes: 480, actual_minutes: 500, source: Source::Manual }.to_body()
    }

    #[test]
    fn a_filter_means_what_every_part_of_it_means() {
        let march = Filter { from: Some(date("2026-03-01")), to: Some(date("2026-03-31")), ..Filter::default() };
        assert!(march.means(WORK_DAY, &day("2026-03-01")) && march.means(WORK_DAY, &day("2026-03-31")));
        assert!(!march.means(WORK_DAY, &day("2026-02-28")) && !march.means(WORK_DAY, &day("2026-04-01")));
        let contact = Contact { email: "anna@klinik.example".to_owned() }.to_body();
        assert!(!march.means(CONTACT, &contact), "what has no day lies in no range");
        assert!(Filter::default().means(CONTACT, &contact));
        let days = Filter { kinds: Some(vec!["work_day".to_owned()]), ..Filter::default() };
        assert!(days.means(WORK_DAY, &day("2020-01-01")) && !days.means(CONTACT, &contact));
        let tests = Filter { test_type: Some("pure_tone".to_owned()), ..Filter::default() };
        assert!(!tests.means(WORK_DAY, &day("2026-03-01")), "what is no test is not of a type");
    }

    #[test]
    fn faults_name_the_part() {
        let filter = Filter {
            from: Some(date("2026-03-02")),
            to: Some(date("2026-03-01")),
            kinds: Some(vec!["work_day".to_owned(), "moods".to_owned()]),
            test_type: None,
        };
        let fields: Vec<String> = filter.faults().into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["from", "kinds[1]"]);
        assert_eq!(Filter { kinds: Some(Vec::new()), ..Filter::default() }.faults().len(), 1);
    }
}
