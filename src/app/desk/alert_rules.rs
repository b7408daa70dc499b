//! The rules by which patterns in the log raise alerts: a JSON file, or the built-in rules. Refuses a wrong rule, and
//! names it.

use std::path::Path;

use chrono::TimeDelta;
use domain::{EVENT_TYPES, desk::alert::Severity, json};
use serde::Deserialize;

use crate::data::home::HomeError;

/// Whose events are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Those of one session of the actor.
    Session,
    /// Those about one person.
    Subject,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// The events.
    #[default]
    Events,
    /// The different people whom the events are about.
    People,
}

/// A rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name, which alerts carry: lower-case letters and underscores.
    pub name: String,
    /// What the rule means, for readers of the file; the server does not use it.
    #[serde(default)]
    pub about: String,
    /// The type of the events that count, such as `data.opened`.
    pub event: String,
    /// Only events of this kind of record, or of this kind of data read; `None`: of any kind.
    #[serde(default)]
    pub kind: Option<String>,
    /// Only events whose actor has one of these roles; empty: of any role.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Whose events are counted together.
    pub by: By,
    /// What is counted.
    #[serde(default)]
    pub count: Count,
    /// The count from which on the rule raises an alert; 1 or more.
    pub at_least: u32,
    /// How far back the rule looks, in seconds: 1 to 604800.
    pub within_s: u32,
    /// The severity of the alert.
    pub severity: Severity,
    /// For how many seconds the account is suspended, 1 to 604800; `None`: not at all.
    #[serde(default)]
    pub suspend_s: Option<u32>,
}

/// The rules of a server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub rules: Vec<Rule>,
}

const LONGEST: u32 = 7 * 24 * 3600;

impl Rules {
    /// The built-in rules.
    pub fn built_in() -> Self {
        Self::parse(include_str!("alert_rules.json")).expect("the rules that are built in are rules")
    }

    /// Reads the rules of a file.
    pub fn read(path: &Path) -> Result<Self, HomeError> {
        let text = std::fs::read_to_string(path).map_err(|error| HomeError::Io(path.into(), error))?;
        Self::parse(&text).map_err(|fault| HomeError::Malformed(path.into(), fault))
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
    /// How far back the rule looks, and how long it stays quiet after an alert.
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
