//! Which logs are accepted, and which witnesses must have seen a checkpoint (C2SP `tlog-policy`).
//!
//! Refuses everything that could count a witness twice or be read in two ways. The error names the line.

use std::collections::{HashMap, HashSet};

use crate::{Checkpoint, LogKey, Witness};

/// Why a text is no policy: the line and the fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct PolicyError {
    line: usize,
    fault: String,
}

/// One witness of a policy.
#[derive(Clone, Debug)]
pub struct WitnessLine {
    /// The name of the witness within the policy.
    pub name: String,
    pub witness: Witness,
    /// The prefix under which the witness takes checkpoints; `None` if the policy names no prefix.
    pub url: Option<String>,
}

#[derive(Clone, Debug)]
enum Rule {
    None,
    Cosigned(usize),
    AtLeast(usize, Vec<Rule>),
}

#[derive(Clone, Debug)]
pub struct Policy {
    /// The logs that are accepted.
    pub logs: Vec<LogKey>,
    pub witnesses: Vec<WitnessLine>,
    quorum: Rule,
}

impl Policy {
    /// Accepts one log without asking for witnesses.
    pub fn of(key: LogKey) -> Self {
        Self { logs: vec![key], witnesses: Vec::new(), quorum: Rule::None }
    }

    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let (mut reader, mut last) = (Reading::default(), 0);
        for (at, line) in text.split('\n').enumerate() {
            last = at + 1;
            reader.line(line).map_err(|fault| PolicyError { line: last, fault })?;
        }
        let quorum = reader.quorum.ok_or_else(|| PolicyError { line: last, fault: "no quorum".to_owned() })?;
        Ok(Self { logs: reader.logs, witnesses: reader.witnesses, quorum })
    }

    /// Whether enough witnesses have cosigned the checkpoint.
    pub fn is_witnessed(&self, checkpoint: &Checkpoint) -> bool {
        holds(&self.quorum, &|witness| self.witnesses[witness].witness.cosigned_at(checkpoint).is_some())
    }

    /// Whether the witnesses that can be asked, because their URL is known, could be enough.
    pub fn can_be_asked(&self) -> bool {
        holds(&self.quorum, &|witness| self.witnesses[witness].url.is_some())
    }
}

/// A policy while it is being read.
#[derive(Default)]
struct Reading {
    logs: Vec<LogKey>,
    witnesses: Vec<WitnessLine>,
    quorum: Option<Rule>,
    /// The rules by name. Witnesses and groups share their names.
    rules: HashMap<String, Rule>,
    /// Names that are members of a group.
    members: HashSet<String>,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), String> {
        // A carriage return would belong to the name before it, and so make it another name.
        if line.chars().any(|letter| letter.is_ascii_control() && letter != '\t') {
            return Err("a control character: lines end with a line feed alone".to_owned());
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] | ["log", key, _] => self.log(key),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, count, members @ ..] if !members.is_empty() => self.group(name, count, members),
            ["quorum", name] => self.quorum(name),
            [word @ ("log" | "witness" | "group" | "quorum"), ..] => {
                Err(format!("`{word}` with too few or too many words"))
            }
            _ => Err("neither log, witness, group nor quorum".to_owned()),
        }
    }

    fn log(&mut self, key: &str) -> Result<(), String> {
        let key = LogKey::parse(key).map_err(|_| "not a verifier key of a log")?;
        if self.logs.iter().any(|known| known.public() == key.public()) {
            return Err("this log's key stands here twice".to_owned());
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), String> {
        let witness = Witness::parse(key).map_err(|_| "not a verifier key of a witness")?;
        if self.witnesses.iter().any(|known| known.witness.public() == witness.public()) {
            return Err("this witness's key stands here twice".to_owned());
        }
        self.define(name, Rule::Cosigned(self.witnesses.len()))?;
        self.witnesses.push(WitnessLine { name: name.to_owned(), witness, url: url.map(str::to_owned) });
        Ok(())
    }

    fn group(&mut self, name: &str, count: &str, members: &[&str]) -> Result<(), String> {
        let least = match count {
            "all" => members.len(),
            "any" => 1,
            count => {
                let number = count.parse().ok().filter(|number: &usize| number.to_string() == count);
                number.ok_or("a group needs `all`, `any` or a number, in decimal")?
            }
        };
        if !(1..=members.len()).contains(&least) {
            return Err("a group can't need more members than it has, or none".to_owned());
        }
        let mut rules = Vec::new();
        for member in members {
            let rule = self.rules.get(*member).ok_or_else(|| format!("`{member}` is not defined above"))?;
            rules.push(rule.clone());
            // A name may be a member only once, in this group and in all groups. Otherwise one witness could meet a
            // quorum that asks for several.
            if !self.members.insert((*member).to_owned()) {
                return Err(format!("`{member}` is a member of a group already"));
            }
        }
        self.define(name, Rule::AtLeast(least, rules))
    }

    fn quorum(&mut self, name: &str) -> Result<(), String> {
        let rule = if name == "none" { Some(Rule::None) } else { self.rules.get(name).cloned() };
        let rule = rule.ok_or_else(|| format!("`{name}` is not defined above"))?;
        if self.quorum.replace(rule).is_some() { Err("a second quorum".to_owned()) } else { Ok(()) }
    }

    fn define(&mut self, name: &str, rule: Rule) -> Result<(), String> {
        if name == "none" || self.rules.insert(name.to_owned(), rule).is_some() {
            return Err(format!("the name `{name}` is taken"));
        }
        Ok(())
    }
}

fn holds(rule: &Rule, cosigned: &dyn Fn(usize) -> bool) -> bool {
    match rule {
        Rule::None => true,
        Rule::Cosigned(witness) => cosigned(*witness),
        Rule::AtLeast(least, members) => members.iter().filter(|member| holds(member, cosigned)).count() >= *least,
    }
}

#[cfg(test)]
mod tests {
    use tlog_tiles::Hash;

    use super::*;
    use crate::{
        Cosigner,
        note::tests::{pair, signed},
    };

    fn cosigner(seed: u8) -> Cosigner<impl Fn(&[u8]) -> [u8; 64]> {
        let (secret, public) = pair(seed);
        let sign = move |message: &[u8]| secret.sign(message).as_ref().try_into().expect("64 bytes");
        Cosigner::new(&format!("w{seed}"), public, sign).expect("a sound name")
    }

    #[test]
    fn a_quorum_counts_members() {
        let (key, mut checkpoint) = signed("lethe.example/log", 1, 5, Hash([3; 32]));
        let cosigners: Vec<_> = [11, 12, 13, 14].map(cosigner).into();
        let [one, two, three, four] = [0, 1, 2, 3].map(|at: usize| cosigners[at].vkey());
        let text = format!(
            "# both of two, or two of three\nlog {}\nwitness A {one} https://a.example\n\twitness B {two}\nwitness C {three}\n\
             witness D {four}\ngroup AB all A B\ngroup most 2 AB C D\nquorum most\n",
            key.vkey()
        );
        let policy = Policy::parse(&text).expect("a policy");
        assert_eq!(policy.logs, [key]);
        assert_eq!(policy.witnesses[0].url.as_deref(), Some("https://a.example"));
        assert!(!policy.is_witnessed(&checkpoint));
        assert!(!policy.can_be_asked(), "three of four have no URL");
        for (at, enough) in [(0, false), (2, false), (1, true)] {
            let line = cosigners[at].cosign(&checkpoint, 7);
            checkpoint = checkpoint.with_cosignature(&line, &policy.witnesses[at].witness).expect("taken");
            assert_eq!(policy.is_witnessed(&checkpoint), enough, "after {at}");
        }
        let none = text.replace("quorum most", "quorum none");
        assert!(Policy::parse(&none).expect("a policy").is_witnessed(&signed("x", 1, 5, Hash([3; 32])).1));
    }

    #[test]
    fn what_is_no_policy_is_refused_by_its_line() {
        let [one, two] = [11, 12].map(|seed| cosigner(seed).vkey());
        let log = signed("lethe.example/log", 1, 5, Hash([3; 32])).0.vkey();
        let known = format!("log {log}\nwitness A {one}\nwitness B {two}\n");
        for (wrong, line, fault) in [
            ("", 4, "no quorum"),
            ("quorum C", 4, "`C` is not defined above"),
            ("quorum none\nquorum none", 5, "a second quorum"),
            ("\nlog x", 5, "not a verifier key of a log"),
            (&format!("log {one}"), 4, "not a verifier key of a log"),
            (&format!("log {log}"), 4, "this log's key stands here twice"),
            (&format!("witness C {log}"), 4, "not a verifier key of a witness"),
            (&format!("witness C {one}"), 4, "this witness's key stands here twice"),
            (&format!("witness A {}", cosigner(13).vkey()), 4, "the name `A` is taken"),
            (&format!("witness none {}", cosigner(13).vkey()), 4, "the name `none` is taken"),
            ("group g any", 4, "`group` with too few or too many words"),
            ("quorum", 4, "`quorum` with too few or too many words"),
            ("quorum A B", 4, "`quorum` with too few or too many words"),
            ("group g 1 C", 4, "`C` is not defined above"),
            ("group g 1 none", 4, "`none` is not defined above"),
            ("group g 1 g", 4, "`g` is not defined above"),
            ("group A 1 B", 4, "the name `A` is taken"),
            ("group g 0 A", 4, "a group can't need more members than it has, or none"),
            ("group g 3 A B", 4, "a group can't need more members than it has, or none"),
            ("group g +1 A", 4, "a group needs `all`, `any` or a number, in decimal"),
            ("group g 01 A", 4, "a group needs `all`, `any` or a number, in decimal"),
            ("group g 2 A A", 4, "`A` is a member of a group already"),
            ("group g any A\ngroup h all A B", 5, "`A` is a member of a group already"),
            ("group g any A B\n\ngroup h any g\ngroup i any g", 7, "`g` is a member of a group already"),
            ("quorum A\r\n", 4, "a control character: lines end with a line feed alone"),
            ("# a comment\u{7f}", 4, "a control character: lines end with a line feed alone"),
            ("something", 4, "neither log, witness, group nor quorum"),
        ] {
            let refused = Policy::parse(&format!("{known}{wrong}")).expect_err(wrong);
            assert_eq!((refused.line, refused.fault.as_str()), (line, fault), "{wrong}");
        }
        assert!(Policy::parse(&format!("{known}# \u{fc}ber all\n\t group g any A B \nquorum g")).is_ok());
    }
}
