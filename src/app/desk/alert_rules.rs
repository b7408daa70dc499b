//! The rules by which patterns in the log raise alerts: a file of JSON, or the one that is built in. Refuses, by name, what is no rule.

use std::path::Path;

use chrono::TimeDelta;
use domain::{EVENT_TYPES, desk::alert::Severity, json};
use serde::Deserialize;

use crate::data::place::PlaceError;

/// What an event is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The session of whoever acted.
    Session,
    /// The person whom it is about.
    Subject,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Events.
    #[default]
    Events,
    /// The people whom they are about.
    People,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, which alerts carry.
    pub name: String,
    /// What it means, in words; for readers of the file.
    #[serde(default)]
    pub about: String,
    /// The type of the events.
    pub event: String,
    /// Only of this kind: of record, or of what was read.
    #[serde(default)]
    pub kind: Option<String>,
    /// Only of somebody in one of these roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What they are counted under.
    pub by: By,
    /// What is counted.
    #[serde(default)]
    pub count: Count,
    /// How many are too many.
    pub at_least: u32,
    /// Within so many seconds.
    pub within_s: u32,
    /// How bad it is.
    pub severity: Severity,
    /// For how long the account is suspended that did it; not at all where absent.
    #[serde(default)]
    pub suspend_s: Option<u32>,
}

/// All rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// One after the other.
    pub rules: Vec<Rule>,
}

const LONGEST: u32 = 7 * 24 * 3600;

impl Rules {
    /// The rules that are built in.
    pub fn built_in() -> Self {
        Self::parse(include_str!("alert_rules.json")).expect("the rules that are built in are rules")
    }

    /// The rules of a file.
    pub fn read(path: &Path) -> Result<Self, PlaceError> {
        let text = std::fs::read_to_string(path).map_err(|error| PlaceError::Io(path.into(), error))?;
        Self::parse(&text).map_err(|fault| PlaceError::Malformed(path.into(), fault))
    }

    fn parse(text: &str) -> Result<Self, String> {
        json::check(text)?;
        let rules: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for rule in &rules.rules {
            let fail = |fault: &str| Err(format!("rule `{}`: {fault}", rule.name));
            if rule.name.is_empty() || !rule.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                return fail("a name is lower-case letters and underscores");
            }
            if !EVENT_TYPES.contains(&rule.event.as_str()) {
                return fail("`event` is no type of event");
            }
            if let Some(role) = rule.roles.iter().find(|role| context::Role::parse(role).is_none()) {
                return fail(&format!("`{role}` is no role"));
            }
            if rule.at_least == 0 || !(1..=LONGEST).contains(&rule.within_s) {
                return fail("`at_least` must be 1 or more, `within_s` 1 to 604800");
            }
            if rule.suspend_s.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
                return fail("`suspend_s` must be 1 to 604800");
            }
            if rules.rules.iter().filter(|other| other.name == rule.name).count() > 1 {
                return fail("the name stands there twice");
            }
        }
        Ok(rules)
    }
}

impl Rule {
    /// How far it looks back, which is how long it stays quiet after an alert.
    pub fn within(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.within_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_none_are_refused_by_name() {
        let names: Vec<String> = Rules::built_in().rules.into_iter().map(|rule| rule.name).collect();
        assert!(names.contains(&"foreign_ids".to_owned()) && names.contains(&"mass_opening_by_staff".to_owned()));
        let rule = |more: &str| {
            format!(
                r#"{{"rules":[{{"name":"x","event":"data.opened","by":"session","at_least":1,"within_s":60,"severity":"warning"{more}}}]}}"#
            )
        };
        assert!(Rules::parse(&rule("")).is_ok());
        for (wrong, named) in [
            (rule(r#","suspend_s":0"#), "suspend_s"),
            (rule(r#","unknown":1"#), "unknown"),
            (rule(r#","roles":["king"]"#), "king"),
            (rule("").replace("data.opened", "data.stolen"), "`x`"),
            (rule("").replace("\"at_least\":1", "\"at_least\":0"), "at_least"),
            (rule("").replace("\"x\"", "\"X y\""), "name"),
            (rule(r#","at_least":2"#), "`rules[0].at_least` stands there twice"),
            ("{}".to_owned(), "rules"),
        ] {
            let error = Rules::parse(&wrong).expect_err(&wrong);
            assert!(error.contains(named), "{error}");
        }
    }
}
