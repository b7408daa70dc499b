//! What a person who is signed in is answered about exports and deletions, and what the server does with them later.

use std::collections::BTreeMap;

use crate::model::{
    asked::{Deletion, DeletionState, Export, ExportState},
    state::{DAY, GRACE, HOUR, Person},
    step::{Ask, Who},
    told::{
        COOLING_OFF, DELETION_CLOSED, DELETION_CONFIRMED, DELETION_WAITING, EXPORT_CLOSED, EXPORT_WAITING, GRACE_OVER,
        INVALID, MISSING, RESTRICTED, Said, Told, ok, refused, unless,
    },
};

impl Person {
    pub(super) fn export(&mut self, who: Who, ask: &Ask, now: u64) -> Told {
        let back = |back: u8| self.exports.len().checked_sub(usize::from(back) + 1);
        match ask {
            Ask::Export(days) => {
                let waits = self.exports.iter().any(|export| matches!(export.state, ExportState::Pending(_)));
                let in_vain = days.is_some() && self.days_in(*days).is_empty();
                let faults = [(self.is_restricted, RESTRICTED), (waits, EXPORT_WAITING), (in_vain, INVALID)];
                unless(&faults, || {
                    self.exports.push(Export { days: *days, state: ExportState::Pending(now) });
                    self.add("export.requested", 1);
                    Told::Done(202, Said::Status("pending"))
                })
            }
            Ask::CancelExport(place) => match back(*place).map(|place| &mut self.exports[place].state) {
                None => refused(MISSING),
                Some(state @ ExportState::Pending(_)) => {
                    *state = ExportState::Cancelled;
                    self.add("export.cancelled", 1);
                    ok(Said::Status("cancelled"))
                }
                Some(_) => refused(EXPORT_CLOSED),
            },
            Ask::Download(of, place) if *of == who => match back(*place).map(|place| &self.exports[place]) {
                Some(export) if export.status(now) == "completed" => {
                    let ExportState::Completed(_, contents) = export.state.clone() else { return refused(MISSING) };
                    self.add("export.downloaded", 1);
                    ok(Said::File(contents))
                }
                _ => refused(MISSING),
            },
            _ => refused(MISSING),
        }
    }

    pub(super) fn delete(&mut self, who: Who, ask: &Ask, now: u64) -> Told {
        let at = |of: Who, back: u8| {
            let mine = (of == who).then_some(self.deletions.len())?;
            mine.checked_sub(usize::from(back) + 1)
        };
        match ask {
            Ask::Delete(days) => {
                let cools = self.cancelled.len() >= 2 && self.cancelled.last().is_some_and(|last| now < last + DAY);
                let in_vain = days.is_some() && self.days_in(*days).is_empty();
                let faults = [(self.is_waiting(), DELETION_WAITING), (cools, COOLING_OFF), (in_vain, INVALID)];
                unless(&faults, || self.ask_to_delete(*days, now))
            }
            Ask::Confirm(of, back, right_phrase) => {
                let Some(place) = at(*of, *back) else { return refused(MISSING) };
                let Deletion { state, asked_at, .. } = self.deletions[place];
                let is_closed = !matches!(state, DeletionState::Pending | DeletionState::Confirmed(_));
                let is_late = state == DeletionState::Pending && now >= asked_at + DAY;
                let faults = [
                    (!right_phrase, INVALID),
                    (matches!(state, DeletionState::Confirmed(_)), DELETION_CONFIRMED),
                    (is_closed || is_late, DELETION_CLOSED),
                ];
                unless(&faults, || {
                    self.deletions[place].state = DeletionState::Confirmed(now + GRACE);
                    self.add("deletion.confirmed", 1);
                    ok(Said::Status("confirmed"))
                })
            }
            Ask::CancelDeletion(of, back) => {
                let Some(place) = at(*of, *back) else { return refused(MISSING) };
                let state = &mut self.deletions[place].state;
                match state {
                    DeletionState::Confirmed(ends) if now >= *ends => return refused(GRACE_OVER),
                    DeletionState::Completed(_) => return Told::Refused(vec![GRACE_OVER, DELETION_CLOSED]),
                    DeletionState::Cancelled | DeletionState::Replaced => return refused(DELETION_CLOSED),
                    DeletionState::Pending | DeletionState::Confirmed(_) => *state = DeletionState::Cancelled,
                }
                self.cancelled.push(now);
                self.add("deletion.cancelled", 1);
                ok(Said::Status("cancelled"))
            }
            _ => refused(MISSING),
        }
    }

    fn ask_to_delete(&mut self, days: Option<(u8, u8)>, now: u64) -> Told {
        for earlier in &mut self.deletions {
            if earlier.state == DeletionState::Pending {
                earlier.state = DeletionState::Replaced;
            }
        }
        if self.cancelled.len() >= 2 {
            self.cancelled.clear();
        }
        self.deletions.push(Deletion { days, asked_at: now, state: DeletionState::Pending });
        self.add("deletion.requested", 1);
        let words = if days.is_none() { self.words.len() } else { 0 };
        Told::Done(202, Said::WouldGo(self.days_in(days).len() as u64, words as u64))
    }

    /// What the server does at this time: a deletion whose grace is over, an export, and once a day expired records.
    pub(super) fn run_jobs(&mut self, now: u64, sweeps: bool) {
        if self.is_erased {
            return;
        }
        let before = self.days.len();
        let is_due = |state: &DeletionState| matches!(state, DeletionState::Confirmed(ends) if now >= *ends);
        let due = self.deletions.iter().position(|deletion| is_due(&deletion.state)).filter(|_| !self.is_held(now));
        let expired = if sweeps && !self.keeps(now) { self.expired(now) } else { Vec::new() };
        if let Some(place) = due {
            let Some(range) = self.deletions[place].days else { return self.erase(now) };
            let gone = self.days_in(Some(range));
            let count = (!gone.iter().any(|day| expired.contains(day))).then_some(gone.len() as u64);
            self.deletions[place].state = DeletionState::Completed(count);
            self.cancelled.clear();
            self.remove(&gone);
            self.add("deletion.completed", 1);
        }
        let expired: Vec<u8> = expired.into_iter().filter(|day| self.days.contains_key(day)).collect();
        self.remove(&expired);
        self.write_export(now, self.days.len() == before);
    }

    fn write_export(&mut self, now: u64, is_certain: bool) {
        let is_due = |export: &Export| matches!(export.state, ExportState::Pending(from) if now >= from);
        let Some(place) = self.exports.iter().position(is_due) else { return };
        if self.is_restricted {
            // The server tries again in an hour.
            self.exports[place].state = ExportState::Pending(now + HOUR);
            return;
        }
        let range = self.exports[place].days;
        let days = self.shown(range).into_iter().collect();
        let words = if range.is_none() { self.words.clone() } else { BTreeMap::new() };
        self.exports[place].state = ExportState::Completed(now, is_certain.then_some((days, words)));
        self.add("export.completed", 1);
    }

    fn erase(&mut self, now: u64) {
        let is_due = |export: &Export| matches!(export.state, ExportState::Pending(from) if now >= from);
        let is_last_export_unknown = !self.is_restricted && self.exports.iter().any(is_due);
        let (events, session, codes) =
            (std::mem::take(&mut self.events), self.session.clone(), std::mem::take(&mut self.codes));
        *self = Self { is_erased: true, is_last_export_unknown, events, session, codes, ..Self::default() };
        self.add("subject.erased", 1);
    }
}
