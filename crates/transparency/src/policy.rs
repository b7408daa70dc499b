//! Which logs are accepted, and which witnesses must have seen a checkpoint (C2SP `tlog-policy`).

use std::collections::HashMap;

use crate::{Checkpoint, LogKey, Witness};

/// Why a text is no policy: the line and the fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct PolicyError {
    line: usize,
    fault: &'static str,
}

/// One witness of a policy.
#[derive(Clone, Debug)]
pub struct WitnessLine {
    /// Its name within the policy.
    pub name: String,
    /// Its key.
    pub witness: Witness,
    /// The prefix under which it takes checkpoints, where that is said.
    pub url: Option<String>,
}

#[derive(Clone, Debug)]
enum Rule {
    None,
    Cosigned(usize),
    AtLeast(usize, Vec<Rule>),
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The logs that are accepted.
    pub logs: Vec<LogKey>,
    /// All witnesses.
    pub witnesses: Vec<WitnessLine>,
    quorum: Rule,
}

impl Policy {
    /// Accepts one log without asking for witnesses.
    pub fn of(key: LogKey) -> Self {
        Self { logs: vec![key], witnesses: Vec::new(), quorum: Rule::None }
    }

    /// Reads a policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let (mut logs, mut witnesses, mut quorum) = (Vec::<LogKey>::new(), Vec::<WitnessLine>::new(), None);
        let mut rules: HashMap<String, Rule> = HashMap::new();
        let mut last = 0;
        for (at, line) in text.lines().enumerate() {
            last = at + 1;
            let fail = |fault| PolicyError { line: at + 1, fault };
            let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                ["log", key] | ["log", key, _] => {
                    let key = LogKey::parse(key).map_err(|_| fail("not a verifier key of a log"))?;
                    if logs.iter().any(|known| known.public() == key.public()) {
                        return Err(fail("this log's key stands here twice"));
                    }
                    logs.push(key);
                }
                ["witness", name, key, url @ ..] if url.len() <= 1 => {
                    let witness = Witness::parse(key).map_err(|_| fail("not a verifier key of a witness"))?;
                    if witnesses.iter().any(|known| known.witness.public() == witness.public()) {
                        return Err(fail("this witness's key stands here twice"));
                    }
                    define(&mut rules, name, Rule::Cosigned(witnesses.len())).map_err(fail)?;
                    let url = url.first().map(|url| (*url).to_owned());
                    witnesses.push(WitnessLine { name: (*name).to_owned(), witness, url });
                }
                ["group", name, count, members @ ..] if !members.is_empty() => {
                    let least = match *count {
                        "all" => members.len(),
                        "any" => 1,
                        count => count.parse().map_err(|_| fail("a group needs `all`, `any` or a number"))?,
                    };
                    if !(1..=members.len()).contains(&least) {
                        return Err(fail("a group can't need more members than it has, or none"));
                    }
                    let members = members.iter().map(|member| rules.get(*member).cloned());
                    let members = members.collect::<Option<_>>().ok_or(fail("a group of what is not defined above"))?;
                    define(&mut rules, name, Rule::AtLeast(least, members)).map_err(fail)?;
                }
                ["quorum", name] => {
                    let rule = if *name == "none" { Some(Rule::None) } else { rules.get(*name).cloned() };
                    let rule = rule.ok_or(fail("a quorum of what is not defined above"))?;
                    if quorum.replace(rule).is_some() {
                        return Err(fail("a second quorum"));
                    }
                }
                _ => return Err(fail("neither log, witness, group nor quorum")),
            }
        }
        let quorum = quorum.ok_or(PolicyError { line: last, fault: "no quorum" })?;
        Ok(Self { logs, witnesses, quorum })
    }

    /// Whether enough witnesses have cosigned.
    pub fn is_witnessed(&self, checkpoint: &Checkpoint) -> bool {
        holds(&self.quorum, &|witness| self.witnesses[witness].witness.cosigned_at(checkpoint).is_some())
    }

    /// Whether the witnesses that can be asked, since their URL is known, could be enough.
    pub fn can_be_asked(&self) -> bool {
        holds(&self.quorum, &|witness| self.witnesses[witness].url.is_some())
    }
}

fn holds(rule: &Rule, cosigned: &dyn Fn(usize) -> bool) -> bool {
    match rule {
        Rule::None => true,
        Rule::Cosigned(witness) => cosigned(*witness),
        Rule::AtLeast(least, members) => members.iter().filter(|member| holds(member, cosigned)).count() >= *least,
    }
}

fn define(rules: &mut HashMap<String, Rule>, name: &str, rule: Rule) -> Result<(), &'static str> {
    if name == "none" {
        return Err("`none` is taken");
    }
    if rules.insert(name.to_owned(), rule).is_some() { Err("this name is taken") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use tlog_tiles::Hash;

    use super::*;
    use crate::{
        Cosigner,
        note::tests::{pair, signed},
    };

    #[test]
    fn a_quorum_counts_members() {
        let (key, mut checkpoint) = signed("lethe.example/log", 1, 5, Hash([3; 32]));
        let cosigners: Vec<_> = [11, 12, 13]
            .map(|seed| {
                let (secret, public) = pair(seed);
                let sign = move |message: &[u8]| secret.sign(message).as_ref().try_into().expect("64 bytes");
                Cosigner::new(&format!("w{seed}"), public, sign).expect("a sound name")
            })
            .into();
        let [one, two, three] = [0, 1, 2].map(|at: usize| cosigners[at].vkey());
        let text = format!(
            "# two of three\nlog {}\nwitness A {one} https://a.example\n\twitness B {two}\nwitness C {three}\n\
             group AB all A B\ngroup most 2 A B C\ngroup both all AB most\nquorum both\n",
            key.vkey()
        );
        let policy = Policy::parse(&text).expect("a policy");
        assert_eq!(policy.logs, [key]);
        assert_eq!(policy.witnesses[0].url.as_deref(), Some("https://a.example"));
        assert!(!policy.is_witnessed(&checkpoint));
        assert!(!policy.can_be_asked(), "two of three have no URL");
        for (at, enough) in [(0, false), (2, false), (1, true)] {
            let line = cosigners[at].cosign(&checkpoint, 7);
            checkpoint = checkpoint.with_cosignature(&line, &policy.witnesses[at].witness).expect("taken");
            assert_eq!(policy.is_witnessed(&checkpoint), enough, "after {at}");
        }
        let none = text.replace("quorum both", "quorum none");
        assert!(Policy::parse(&none).expect("a policy").is_witnessed(&signed("x", 1, 5, Hash([3; 32])).1));
    }

    #[test]
    fn what_is_no_policy_is_refused_by_its_line() {
        for (wrong, line) in [
            ("", 0),
            ("quorum A", 1),
            ("quorum none\nquorum none", 2),
            ("\nlog x", 2),
            ("group g any\nquorum none", 1),
            ("group g 1 A\nquorum none", 1),
            ("something", 1),
        ] {
            assert_eq!(Policy::parse(wrong).expect_err(wrong).line, line, "{wrong}");
        }
    }
}
