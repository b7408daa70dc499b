//! What follows from a step, as the API's documentation tells it: the answer, and the state after it.

use crate::model::{
    state::{Answered, DAY, HOUR, Model, Person, Session, TOKEN},
    step::{Ask, Evaluation, Step, Who},
    told::{
        CODE_REFUSED, ERASED, FORBIDDEN, INVALID, KEY_REUSED, MISSING, REFRESH_REFUSED, SIGN_IN_NEEDED, SIGNED_OUT,
        Said, Told, ok, refused, unless,
    },
};

impl Model {
    /// Takes a step and returns what is answered.
    pub(super) fn take(&mut self, step: &Step) -> Told {
        let now = self.now;
        match step {
            Step::Ask(who, ask) => self.ask(*who, ask, None),
            Step::AskOnce(who, ask, key) => self.ask(*who, ask, Some(*key)),
            Step::StaffLooksAtTheDesk => ok(Said::Nothing),
            Step::StaffListsDays => refused(FORBIDDEN),
            Step::StaffOpens(who) => {
                let person = self.person(*who);
                unless(&[(person.is_erased, MISSING)], || ok(Said::Days(person.shown(None))))
            }
            Step::PlaceHold(who, hours) => {
                let person = self.person_mut(*who);
                unless(&[(person.is_erased, MISSING)], || {
                    person.hold = Some(now + hours * HOUR);
                    person.add("hold.placed", 1);
                    Told::Nothing
                })
            }
            Step::LiftHold(who) => {
                let person = self.person_mut(*who);
                unless(&[(person.is_erased || person.hold.is_none(), MISSING)], || {
                    person.hold = None;
                    person.add("hold.lifted", 1);
                    Told::Nothing
                })
            }
            Step::GuestArrives => {
                self.guest = Some(now);
                Told::Done(201, Said::Nothing)
            }
            Step::GuestAsks(what) => match what {
                _ if self.guest.is_none_or(|since| now >= since + HOUR) => refused(SIGNED_OUT),
                Evaluation::Screening => ok(Said::Nothing),
                Evaluation::Incomplete => refused(INVALID),
                Evaluation::WorkDay => refused(SIGN_IN_NEEDED),
            },
            Step::LetPass(hours) => {
                self.now += hours * HOUR;
                self.half_minutes = 0;
                Told::Nothing
            }
            Step::RunJobs => {
                let sweeps = now >= self.sweep_due;
                if sweeps {
                    self.sweep_due = now + DAY;
                }
                Who::BOTH.into_iter().for_each(|who| self.person_mut(who).run_jobs(now, sweeps));
                Told::Nothing
            }
        }
    }

    fn ask(&mut self, who: Who, ask: &Ask, key: Option<u8>) -> Told {
        if *ask == Ask::ShowUsedRefreshToken {
            self.now += 31;
            self.half_minutes += 1;
        }
        let now = self.now;
        let person = self.person_mut(who);
        if let Some(told) = person.sign(ask, now) {
            return told;
        }
        if *ask == Ask::LookAtTheDesk {
            // The role in the token decides before the session is looked up.
            return Told::Refused(vec![FORBIDDEN, SIGNED_OUT, ERASED]);
        }
        if !person.session.is_open || now >= person.session.token_at + TOKEN {
            return refused(SIGNED_OUT);
        }
        if person.is_erased {
            return refused(ERASED);
        }
        let Some((operation, key)) = ask.operation().zip(key) else { return person.decide(who, ask, now) };
        let meant = person.meant(ask);
        match person.answered.get(&(operation, key)) {
            Some(first) if now < first.at + DAY => {
                if first.ask == *ask && first.meant == meant {
                    Told::Done(0, Said::TheSameAgain)
                } else {
                    refused(KEY_REUSED)
                }
            }
            _ => {
                let told = person.decide(who, ask, now);
                if matches!(told, Told::Done(..)) {
                    person.answered.insert((operation, key), Answered { ask: ask.clone(), meant, at: now });
                }
                told
            }
        }
    }
}

impl Person {
    /// Which of the person's deletions an ask names, from the oldest on; `None` if it names none.
    fn meant(&self, ask: &Ask) -> Option<usize> {
        let Ask::Confirm(_, back, _) = ask else { return None };
        self.deletions.len().checked_sub(usize::from(*back) + 1)
    }

    /// What concerns the session alone; `None` for all that a session is needed for.
    fn sign(&mut self, ask: &Ask, now: u64) -> Option<Told> {
        let session = &mut self.session;
        let is_alive = session.is_open && !self.is_erased;
        Some(match ask {
            Ask::Refresh | Ask::RefreshTwice if !is_alive => refused(REFRESH_REFUSED),
            Ask::Refresh | Ask::RefreshTwice => {
                (session.token_at, session.has_used_token) = (now, true);
                self.add("account.refreshed", if *ask == Ask::Refresh { 1 } else { 2 });
                ok(Said::Nothing)
            }
            Ask::ShowUsedRefreshToken => {
                if is_alive {
                    (session.is_open, session.has_ended_before) = (false, true);
                    self.sessions -= 1;
                    self.add("account.refresh_reused", 1);
                }
                refused(REFRESH_REFUSED)
            }
            Ask::SignIn => {
                self.codes.push(now);
                if self.is_erased {
                    return Some(refused(MISSING));
                }
                let has_ended_before = self.session.has_ended_before;
                self.session = Session { token_at: now, has_ended_before, ..Session::default() };
                self.sessions += 1;
                self.add("account.code_requested", 1);
                self.add("account.signed_in", 1);
                ok(Said::Nothing)
            }
            Ask::SignInWithAWrongCode => {
                if !self.is_erased {
                    self.add("account.sign_in_failed", 1);
                }
                refused(CODE_REFUSED)
            }
            Ask::UseAnEndedSession if self.is_erased => Told::Refused(vec![SIGNED_OUT, ERASED]),
            Ask::UseAnEndedSession => refused(SIGNED_OUT),
            _ => return None,
        })
    }
}
