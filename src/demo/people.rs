//! Invented people and the work days they would submit in one quarter.
//!
//! Promises that person `i` of a seed is the same on every run and for every count, and keeps name, workplace, rota and
//! consent in every other quarter. Knows nothing of the server. Claims only plausibility: the shares and times below
//! are ours, not those of a survey. The random numbers are reproducible, so they must never become keys, ids or tokens.

use std::f64::consts::LN_2;

use chrono::{Datelike, Days, NaiveDate};
use domain::{Source, kinds::WorkDay, quarter::Quarter};
use rand::{
    RngExt, SeedableRng,
    distr::{Distribution, weighted::WeightedIndex},
    rngs::StdRng,
    seq::IndexedRandom,
};
use rand_distr::{LogNormal, Zipf};

use crate::demo::hospitals::Hospital;

/// One simulated person with the days of a quarter. Nothing about the person is real.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// Unique within a seed; the domain ends in `.example` (RFC 2606), so that no mail can reach anyone.
    pub email: String,
    pub hospital_id: String,
    pub state_code: &'static str,
    pub specialty: &'static str,
    pub role_level: &'static str,
    /// Whether the person agrees to be counted in statistics.
    pub consents_to_statistics: bool,
    /// The submitted days in order, at most one for each date. May be empty.
    pub days: Vec<WorkDay>,
    /// The person's change of hospital in this quarter, if there is one.
    pub moved: Option<Move>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Move {
    /// The first day at the new hospital.
    pub on: NaiveDate,
    pub hospital_id: String,
    pub state_code: &'static str,
}

/// The lists that people are made from. None may be empty. Earlier entries of the first two are more frequent.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    /// The hospitals, the largest first.
    pub hospitals: &'a [Hospital],
    /// The specialties, the commonest first.
    pub specialties: &'a [&'static str],
    /// The role levels. `nurse`, `assistant`, `specialist` and `senior` have their own habits; all others share common
    /// ones.
    pub role_levels: &'a [&'static str],
}

/// The first `count` people of a seed with their days in `quarter`, made one at a time as the iterator advances.
///
/// # Panics
/// If one of the lists to choose from is empty.
pub fn people(seed: u64, count: usize, quarter: Quarter, choices: &Choices<'_>) -> impl Iterator<Item = Person> {
    let town = Population::new(seed, quarter, *choices);
    (0..count).map(move |index| town.person(index))
}

struct Population<'a> {
    seed: u64,
    quarter: Quarter,
    choices: Choices<'a>,
    hospital_rank: Zipf<f64>,
    specialty_rank: Zipf<f64>,
    role: WeightedIndex<f64>,
}

impl<'a> Population<'a> {
    fn new(seed: u64, quarter: Quarter, choices: Choices<'a>) -> Self {
        let rank = |length: usize, exponent| Zipf::new(length as f64, exponent).expect("there is something to choose");
        Self {
            seed,
            quarter,
            choices,
            hospital_rank: rank(choices.hospitals.len(), 0.8),
            specialty_rank: rank(choices.specialties.len(), 0.5),
            role: WeightedIndex::new(choices.role_levels.iter().map(|role| Habits::of(role).share))
                .expect("there is a role to choose"),
        }
    }

    fn person(&self, index: usize) -> Person {
        // Names have their own random stream, because they must not depend on the list of hospitals.
        let (mut rng, mut name) = (self.rng(index, 0), self.rng(index, -1));
        let hospital = &self.choices.hospitals[self.hospital_rank.sample(&mut rng) as usize - 1];
        let specialty = self.choices.specialties[self.specialty_rank.sample(&mut rng) as usize - 1];
        let role_level = self.choices.role_levels[self.role.sample(&mut rng)];
        let email = format!(
            "{}.{}.{}@{}.example",
            pick(&FIRST_NAMES, &mut name),
            pick(&SURNAMES, &mut name),
            index + 1,
            pick(&["klinik", "klinikum", "krankenhaus", "spital"], &mut name)
        );
        let consents_to_statistics = rng.random_bool(0.85);
        let worker = Worker::new(specialty, role_level, &mut rng);
        Person {
            email,
            hospital_id: hospital.hospital_id.clone(),
            state_code: hospital.state_code,
            specialty,
            role_level,
            consents_to_statistics,
            days: worker.days(self.quarter, &mut self.rng(index, self.quarter.first_day().num_days_from_ce())),
            moved: self.moved(hospital, &mut self.rng(index, -self.quarter.first_day().num_days_from_ce())),
        }
    }

    /// Three people in a hundred move to another hospital in a quarter. A person who draws the present hospital stays.
    fn moved(&self, from: &Hospital, rng: &mut StdRng) -> Option<Move> {
        let (moves, day) = (rng.random_bool(0.03), rng.random_range(1..85));
        let to = &self.choices.hospitals[self.hospital_rank.sample(rng) as usize - 1];
        (moves && to.hospital_id != from.hospital_id).then(|| Move {
            on: self.quarter.first_day() + Days::new(day),
            hospital_id: to.hospital_id.clone(),
            state_code: to.state_code,
        })
    }

    /// A random stream for each person and purpose: 0 for the person, the quarter's first day for its days, the same
    /// negated for the move in it, and -1 for the name.
    fn rng(&self, index: usize, stream: i32) -> StdRng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
        key[16..20].copy_from_slice(&stream.to_le_bytes());
        StdRng::from_seed(key)
    }
}

/// The habits that people of one role share.
struct Habits {
    /// How frequent the role is, relative to the other roles.
    share: f64,
    /// How much overtime the role brings, relative to the other roles.
    overtime: f64,
    /// Of a hundred people: how many have office hours, part-time work, and shifts. The rest has on-call duty.
    rotas: [u32; 3],
}

impl Habits {
    fn of(role_level: &str) -> Self {
        let (share, overtime, rotas) = match role_level {
            "nurse" => (0.50, 0.7, [15, 30, 55]),
            "assistant" => (0.23, 1.5, [20, 15, 10]),
            "specialist" => (0.17, 1.1, [30, 20, 5]),
            "senior" => (0.10, 1.3, [55, 10, 0]),
            _ => (0.10, 1.0, [40, 20, 15]),
        };
        Self { share, overtime, rotas }
    }
}

/// How much overtime a specialty brings, by its English name, relative to other specialties.
fn overtime_of_specialty(specialty: &str) -> f64 {
    let among = |parts: &[&str]| parts.iter().any(|part| specialty.contains(part));
    if among(&["surg", "ortho", "trauma"]) {
        1.5
    } else if among(&["anaesth", "anesth", "emergency", "intensive", "gyn"]) {
        1.25
    } else if among(&["radio", "derma", "psych", "lab", "patho"]) {
        0.7
    } else {
        1.0
    }
}

/// The planned days of a person. Phases count from a fixed date, so that a rota runs on from quarter to quarter.
enum Rota {
    /// Monday to Friday, holidays aside.
    Office,
    /// Some days from Monday to Friday, in a row.
    PartTime { from: u32, days: u32, minutes: u16 },
    /// Early, late and night shifts in a fortnight's turn, weekends included; part-timers work only its first week.
    Shifts { phase: i32, all: bool },
    /// Office hours, and a long duty every `every` days, after which a day is free.
    OnCall { phase: i32, every: i32 },
}

const LONGEST_OVERTIME: f64 = 360.0;
const OFFICE_MINUTES: u16 = 510;
const DAY_MINUTES: u16 = 1440;
const SHIFT_TURN: [u16; 14] = [462, 462, 462, 462, 462, 0, 462, 462, 600, 600, 600, 0, 0, 0];

impl Rota {
    fn new(of_hundred: [u32; 3], rng: &mut StdRng) -> Self {
        let [office, part_time, shifts] = of_hundred;
        let phase = rng.random_range(0..10_000);
        match rng.random_range(0..100) {
            x if x < office => Self::Office,
            // In roles with more shifts than office hours, half of the part-timers work shifts too.
            x if x < office + part_time && shifts > office && rng.random() => Self::Shifts { phase, all: false },
            x if x < office + part_time => Self::PartTime {
                from: rng.random_range(0..5),
                days: rng.random_range(3..=4),
                minutes: pick(&[300, 360, 420, OFFICE_MINUTES], rng),
            },
            x if x < office + part_time + shifts => Self::Shifts { phase, all: true },
            _ => Self::OnCall { phase, every: rng.random_range(8..=11) },
        }
    }

    /// The minutes planned for a date; `None` on a free day.
    fn planned(&self, date: NaiveDate, rng: &mut StdRng) -> Option<u16> {
        let day = date.num_days_from_ce();
        let weekday = date.weekday().num_days_from_monday();
        let at_office = weekday < 5 && !is_holiday(date);
        match *self {
            Self::Office => at_office.then_some(OFFICE_MINUTES),
            Self::PartTime { from, days, minutes } => (at_office && (weekday + 5 - from) % 5 < days).then_some(minutes),
            Self::Shifts { phase, all } => {
                let at = (day + phase).rem_euclid(14) as usize;
                let minutes = SHIFT_TURN[at];
                (minutes > 0 && (all || at < 7)).then_some(minutes)
            }
            Self::OnCall { phase, every } => match (day + phase).rem_euclid(every) {
                0 => Some(pick(&[960, 1200, DAY_MINUTES], rng)),
                1 => None,
                _ => at_office.then_some(OFFICE_MINUTES),
            },
        }
    }
}

/// The holidays that all states share and whose date is fixed.
fn is_holiday(date: NaiveDate) -> bool {
    matches!((date.month(), date.day()), (1 | 5, 1) | (10, 3) | (12, 25 | 26))
}

/// The working habits of a person, the same in all quarters.
struct Worker {
    rota: Rota,
    overtime: LogNormal<f64>,
    usual_source: Source,
}

impl Worker {
    fn new(specialty: &str, role_level: &str, rng: &mut StdRng) -> Self {
        let habits = Habits::of(role_level);
        let rota = Rota::new(habits.rotas, rng);
        let own: f64 = LogNormal::new(0.0, 0.3).expect("a positive deviation").sample(rng);
        let median_minutes = 22.0 * habits.overtime * overtime_of_specialty(specialty) * own;
        Self {
            rota,
            overtime: LogNormal::new(median_minutes.ln(), LN_2).expect("a positive deviation"),
            usual_source: pick(&[Source::Geofence, Source::Geofence, Source::Manual, Source::Mixed], rng),
        }
    }

    fn days(&self, quarter: Quarter, rng: &mut StdRng) -> Vec<WorkDay> {
        let first = quarter.first_day().num_days_from_ce();
        let length = (quarter.last_day().num_days_from_ce() - first).max(0);
        let joined = if rng.random_bool(0.08) { rng.random_range(0..=length * 2 / 3) } else { 0 };
        let leave_days = pick(&[0, 0, 7, 7, 7, 14], rng);
        let sick_days = if rng.random_bool(0.4) { rng.random_range(1..=7) } else { 0 };
        let sick_from = first + rng.random_range(0..=length);
        let leave_from = first + rng.random_range(0..=length);
        // Leave begins on a Monday, as day 1 of the common era does.
        let leave_from = leave_from - (leave_from - 1).rem_euclid(7);

        let mut days = Vec::with_capacity(if joined == 0 { 68 } else { 48 });
        let dates = quarter.first_day().iter_days().take_while(|date| *date <= quarter.last_day());
        for date in dates.skip(joined as usize) {
            let day = date.num_days_from_ce();
            let absent = (leave_from..leave_from + leave_days).contains(&day)
                || (sick_from..sick_from + sick_days).contains(&day);
            if let Some(planned_minutes) = self.rota.planned(date, rng).filter(|_| !absent) {
                days.push(self.day(date, planned_minutes, rng));
            }
        }
        days
    }

    fn day(&self, date: NaiveDate, planned_minutes: u16, rng: &mut StdRng) -> WorkDay {
        // Most days run a little late and some run very late; one in twenty ends early.
        let over = if rng.random_bool(0.05) {
            -rng.random_range(20.0..120.0)
        } else {
            self.overtime.sample(rng).min(LONGEST_OVERTIME) - 14.0
        };
        let source = if rng.random_bool(0.1) {
            pick(&[Source::Geofence, Source::Manual, Source::Mixed], rng)
        } else {
            self.usual_source
        };
        let actual = (f64::from(planned_minutes) + over).clamp(0.0, f64::from(DAY_MINUTES));
        let step = if source == Source::Manual { 15.0 } else { 1.0 };
        WorkDay { date, planned_minutes, actual_minutes: ((actual / step).round() * step) as u16, source }
    }
}

fn pick<T: Copy, const N: usize>(list: &[T; N], rng: &mut StdRng) -> T {
    *list.choose(rng).expect("the lists in this file are not empty")
}

const FIRST_NAMES: [&str; 40] = [
    "anna", "maria", "julia", "laura", "lena", "lisa", "sarah", "katrin", "sophie", "hannah", "emma", "mia", "johanna",
    "clara", "eva", "sabine", "petra", "monika", "ursula", "claudia", "thomas", "michael", "andreas", "stefan",
    "simon", "martin", "peter", "klaus", "markus", "daniel", "jan", "lukas", "felix", "jonas", "paul", "max", "leon",
    "elif", "mehmet", "aylin",
];

const SURNAMES: [&str; 40] = [
    "mueller", "schmidt", "schubert", "fischer", "weber", "meyer", "wagner", "becker", "schulz", "hoffmann",
    "schaefer", "koch", "bauer", "richter", "klein", "wolf", "schramm", "neumann", "schwarz", "ziegler", "braun",
    "krueger", "hofmann", "hartmann", "lange", "schmitt", "werner", "krause", "meier", "lehmann", "schmid", "schulze",
    "maier", "koehler", "herrmann", "koenig", "walter", "kaiser", "yilmaz", "nowak",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono::Weekday;

    use super::*;
    use crate::demo::hospitals::built_in;

    const SPECIALTIES: [&str; 5] = ["internal_medicine", "surgery", "anaesthesiology", "paediatrics", "radiology"];
    const ROLES: [&str; 4] = ["assistant", "specialist", "senior", "nurse"];

    fn date(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).expect("a date")
    }

    fn some(seed: u64, count: usize, quarter: Quarter) -> Vec<Person> {
        let choices = Choices { hospitals: &built_in(), specialties: &SPECIALTIES, role_levels: &ROLES };
        people(seed, count, quarter, &choices).collect()
    }

    fn spring() -> Quarter {
        Quarter::of(date(2025, 5, 20))
    }

    fn share(people: &[Person], is: impl Fn(&Person) -> bool) -> f64 {
        people.iter().filter(|person| is(person)).count() as f64 / people.len() as f64
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        sum / count
    }

    fn overtime(person: &Person) -> impl Iterator<Item = f64> {
        person.days.iter().map(|day| f64::from(day.actual_minutes) - f64::from(day.planned_minutes))
    }

    #[test]
    fn people_depend_on_seed_and_index_only() {
        let many = some(7, 300, spring());
        assert!(some(7, 300, spring()) == many);
        assert!(some(7, 40, spring()) == many[..40]);
        assert!(some(8, 300, spring()).iter().zip(&many).all(|(a, b)| a.days != b.days));
    }

    #[test]
    fn people_stay_who_they_are_in_another_quarter() {
        let autumn = Quarter::of(date(2025, 11, 1));
        let mut repeated = 0;
        for (a, mut b) in some(7, 300, spring()).into_iter().zip(some(7, 300, autumn)) {
            let first_overtimes = |person| overtime(person).take(3).collect::<Vec<_>>();
            repeated += usize::from(first_overtimes(&a) == first_overtimes(&b));
            b.days.clone_from(&a.days);
            b.moved.clone_from(&a.moved);
            assert!(a == b);
        }
        assert!(repeated < 15, "{repeated} of 300 quarters begin alike");
    }

    #[test]
    fn days_keep_their_bounds() {
        for quarter in [spring(), Quarter::of(date(2024, 2, 29)), Quarter::of(date(2025, 12, 1))] {
            for person in some(11, 1000, quarter) {
                assert!(!person.days.is_empty());
                assert!(person.days.windows(2).all(|pair| pair[0].date < pair[1].date));
                for day in &person.days {
                    assert!((quarter.first_day()..=quarter.last_day()).contains(&day.date));
                    assert!((1..=1440).contains(&day.planned_minutes) && day.actual_minutes <= 1440);
                    assert!(day.source != Source::Manual || day.actual_minutes % 15 == 0);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "there is something to choose")]
    fn no_hospital_is_refused() {
        let choices = Choices { hospitals: &[], specialties: &SPECIALTIES, role_levels: &ROLES };
        people(1, 1, spring(), &choices).for_each(drop);
    }

    #[test]
    fn people_are_distinct_and_made_of_the_choices() {
        let (people, hospitals) = (some(3, 2000, spring()), built_in());
        let emails: HashSet<_> = people.iter().map(|person| &person.email).collect();
        assert_eq!(emails.len(), people.len());
        for (index, person) in people.iter().enumerate() {
            assert!(person.email.contains(&format!(".{}@", index + 1)), "{}", person.email);
            assert!(person.email.is_ascii() && person.email.ends_with(".example"), "{}", person.email);
            assert!(SPECIALTIES.contains(&person.specialty) && ROLES.contains(&person.role_level));
            assert!(hospitals.iter().any(|h| h.hospital_id == person.hospital_id && h.state_code == person.state_code));
        }
    }

    #[test]
    fn shares_are_plausible() {
        let people = some(5, 2000, spring());
        let role = |role| share(&people, |person| person.role_level == role);
        assert!(role("nurse") > role("assistant") && role("assistant") > role("specialist"));
        assert!(role("specialist") > role("senior") && role("senior") > 0.05);
        let first_hospital = &built_in()[0].hospital_id;
        assert!((0.12..0.25).contains(&share(&people, |person| person.hospital_id == *first_hospital)));
        assert_eq!(people.iter().map(|person| person.state_code).collect::<HashSet<_>>().len(), 16);
        assert!((0.82..0.88).contains(&share(&people, |person| person.consents_to_statistics)));
        let on = |is: fn(&WorkDay) -> bool| share(&people, |person| person.days.iter().any(is));
        assert!((0.5..0.9).contains(&on(|day| matches!(day.date.weekday(), Weekday::Sat | Weekday::Sun))));
        assert!((0.2..0.4).contains(&on(|day| day.planned_minutes >= 960)));
        let away =
            share(&people, |person| person.days.windows(2).any(|pair| (pair[1].date - pair[0].date).num_days() > 8));
        assert!((0.5..0.8).contains(&away), "{away}");
        let moved = share(&people, |person| person.moved.is_some());
        assert!((0.01..0.05).contains(&moved), "{moved}");
        let elsewhere = |person: &&Person| {
            person.moved.as_ref().is_none_or(|to| to.hospital_id != person.hospital_id && to.on > date(2025, 4, 1))
        };
        assert!(people.iter().all(|person| elsewhere(&person)));
        let late = share(&people, |person| person.days[0].date > date(2025, 4, 28));
        assert!((0.03..0.1).contains(&late), "{late}");
    }

    #[test]
    fn days_are_plausible() {
        let people = some(5, 2000, spring());
        let length = share(&people, |person| (45..=65).contains(&person.days.len()));
        assert!((0.6..0.85).contains(&length), "{length}");
        assert!(people.iter().all(|person| person.days.len() <= 67));
        let of = |role: &'static str, specialty: &'static str| {
            mean(
                people
                    .iter()
                    .filter(move |person| person.role_level == role && person.specialty == specialty)
                    .flat_map(overtime),
            )
        };
        let (much, little) = (of("assistant", "surgery"), of("nurse", "radiology"));
        assert!((30.0..60.0).contains(&much), "{much}");
        assert!((-10.0..10.0).contains(&little), "{little}");
        assert!(people.iter().flat_map(overtime).all(|over| (-127.0..=360.0).contains(&over)));
        let short = mean(people.iter().flat_map(overtime).map(|over| f64::from(u8::from(over < 0.0))));
        assert!((0.1..0.4).contains(&short), "{short}");
    }
}
