//! What a person who is signed in is answered about decisions, days and words, and what follows from it.

use domain::rights::consent::Purpose;

use crate::model::{
    state::{Day, Decision, GRACE, Person, Rule},
    step::{Ask, Condition, Who},
    told::{
        CHANGED, CONSENT_NEEDED, DELETION_WAITING, FORBIDDEN, HELD, INVALID, MISSING, OBJECTION_STANDS, Problem,
        RESTRICTED, Said, Told, ok, refused, unless,
    },
};

impl Person {
    /// What a person is answered who is signed in, and what follows.
    pub(super) fn decide(&mut self, who: Who, ask: &Ask, now: u64) -> Told {
        match ask {
            Ask::Consent(purpose, true) => unless(&[(self.objects(*purpose), OBJECTION_STANDS)], || {
                self.settle(*purpose, Decision::Granted, self.consents(*purpose), "consent.granted")
            }),
            Ask::Consent(purpose, false) => {
                let is_so = !self.consents(*purpose);
                let after = if self.objects(*purpose) { Decision::Objected } else { Decision::Withdrawn };
                self.settle(*purpose, after, is_so, "consent.withdrawn")
            }
            Ask::Object(purpose, true) => {
                self.settle(*purpose, Decision::Objected, self.objects(*purpose), "objection.raised")
            }
            Ask::Object(purpose, false) => {
                let is_so = !self.objects(*purpose);
                self.settle(*purpose, Decision::Withdrawn, is_so, "objection.lifted")
            }
            Ask::Submit { .. } | Ask::SubmitBatch(_) | Ask::SubmitWrong(..) | Ask::SubmitWord(..) => {
                self.submit(ask, now)
            }
            Ask::ListDays(range) => ok(Said::Days(self.shown(*range))),
            Ask::GetDay(of, day) => match self.days.get(day).filter(|_| *of == who) {
                Some(found) => ok(Said::Day(*day, found.minutes)),
                None => refused(MISSING),
            },
            Ask::RemoveDay(of, day, on) => {
                let is_there = *of == who && self.days.contains_key(day);
                let faults = [
                    (self.is_held(now), HELD),
                    (!is_there, MISSING),
                    (is_there && matches!(on, Condition::Older | Condition::Absent), CHANGED),
                ];
                unless(&faults, || {
                    self.remove(&[*day]);
                    Told::Done(204, Said::Nothing)
                })
            }
            Ask::RemoveAllDays => unless(&[(self.is_held(now), HELD)], || {
                let all = self.days_in(None);
                self.remove(&all);
                ok(Said::Removed(all.len() as u64))
            }),
            Ask::Export(_) | Ask::CancelExport(_) | Ask::Download(..) => self.export(who, ask, now),
            Ask::Delete(_) | Ask::Confirm(..) | Ask::CancelDeletion(..) => self.delete(who, ask, now),
            Ask::Restrict(restricted) => {
                if self.is_restricted != *restricted {
                    self.add(if *restricted { "restriction.set" } else { "restriction.lifted" }, 1);
                }
                self.is_restricted = *restricted;
                ok(Said::Nothing)
            }
            Ask::Keep(days) => {
                if self.rule.days != *days {
                    let before = self.rule.in_force(now);
                    let is_shorter = days.is_some_and(|days| before.is_none_or(|before| days < before));
                    let waits = is_shorter.then_some((before, now + GRACE));
                    self.rule = Rule { days: *days, set_at: now, waits };
                    self.add("retention.set", 1);
                }
                ok(Said::Nothing)
            }
            Ask::SignOut => {
                (self.session.is_open, self.session.has_ended_before) = (false, true);
                self.sessions -= 1;
                self.add("account.signed_out", 1);
                Told::Done(204, Said::Nothing)
            }
            _ => refused(FORBIDDEN),
        }
    }

    fn settle(&mut self, purpose: Purpose, after: Decision, is_so: bool, event: &'static str) -> Told {
        if !is_so {
            self.decisions.insert(purpose, after);
            self.add(event, 1);
        }
        ok(Said::Consent(self.consents(purpose), self.objects(purpose)))
    }

    /// Days and their times, oldest first.
    pub fn shown(&self, range: Option<(u8, u8)>) -> Vec<(u8, u16)> {
        self.days_in(range).into_iter().map(|day| (day, self.days[&day].minutes)).collect()
    }

    /// What bars whatever brings in something new.
    fn bars(&self, purpose: Purpose) -> [(bool, Problem); 3] {
        [
            (self.is_restricted, RESTRICTED),
            (self.is_waiting(), DELETION_WAITING),
            (!self.consents(purpose), CONSENT_NEEDED),
        ]
    }

    fn submit(&mut self, ask: &Ask, now: u64) -> Told {
        let mut faults = self.bars(Purpose::WorkHours).to_vec();
        match ask {
            Ask::Submit { day, minutes, on, .. } => {
                let is_there = self.days.contains_key(day);
                let fails = match on {
                    Condition::Nothing => false,
                    Condition::Newest => !is_there,
                    Condition::Older => true,
                    Condition::Absent => is_there,
                };
                faults.push((fails, CHANGED));
                unless(&faults, || {
                    self.put(*day, *minutes, now);
                    Told::Done(if is_there { 200 } else { 201 }, Said::Day(*day, *minutes))
                })
            }
            Ask::SubmitBatch(days) => unless(&faults, || {
                let mut counts = [0; 3];
                days.iter().for_each(|(day, minutes)| counts[self.put(*day, *minutes, now)] += 1);
                ok(Said::Counts(counts[0], counts[1], counts[2]))
            }),
            Ask::SubmitWord(word, count) => unless(&self.bars(Purpose::Wordbook), || {
                let before = self.words.insert(*word, *count);
                match before {
                    None => self.add("record.submitted", 1),
                    Some(before) => self.add("record.amended", u64::from(before != *count)),
                }
                Told::Done(if before.is_none() { 201 } else { 200 }, Said::Word(*word, *count))
            }),
            _ => {
                faults.push((true, INVALID));
                unless(&faults, || Told::Nothing)
            }
        }
    }

    /// Stores a day. Returns 0 if it is new, 1 if it changes, 2 if it stays as it was.
    fn put(&mut self, day: u8, minutes: u16, now: u64) -> usize {
        let before = self.days.get(&day).map(|day| day.minutes);
        if before == Some(minutes) {
            return 2;
        }
        self.days.insert(day, Day { minutes, changed_at: now });
        self.add(if before.is_none() { "record.submitted" } else { "record.amended" }, 1);
        usize::from(before.is_some())
    }

    /// Removes days. Answers to earlier requests stay: repeated, they must not bring back what is gone.
    pub(super) fn remove(&mut self, days: &[u8]) {
        self.days.retain(|day, _| !days.contains(day));
        self.add("record.removed", days.len() as u64);
        if !days.is_empty() {
            self.renewals += 1;
        }
    }
}
