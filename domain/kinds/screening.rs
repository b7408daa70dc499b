//! The screening kind: the hearing thresholds of one test and when the test was taken, and nothing about who took it. A
//! person has one record for each type of test and moment.
//!
//! An evaluation is computed from the thresholds alone: the pure-tone average at 500, 1000, 2000 and 4000 Hz of each
//! ear, and the grade of hearing loss of the World Health Organization (World report on hearing, 2021, table 1.3, page
//! 38). The evaluation is an orientation and no diagnosis. It says which thresholds are missing.

use chrono::{DateTime, Days, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Choice, Fault, TestType,
    kinds::{Shape, UtcTime, kind::Kind},
    rights::consent::Purpose,
};

pub const SCREENING: &Kind = &Kind::of_shape::<Screening>();

/// The frequencies that audiometers test (ISO 8253-1).
const FREQUENCIES_HZ: [u16; 11] = [125, 250, 500, 750, 1000, 1500, 2000, 3000, 4000, 6000, 8000];
/// The frequencies whose thresholds are averaged.
const AVERAGED_HZ: [u16; 4] = [500, 1000, 2000, 4000];
const SOFTEST_DB: i16 = -10;
const LOUDEST_DB: i16 = 120;
const OLDEST_YEARS: u32 = 10;
/// The grades of hearing loss. A grade holds for averages below its number of decibels.
const GRADES: [(f64, &str); 6] = [
    (20.0, "normal"),
    (35.0, "mild"),
    (50.0, "moderate"),
    (65.0, "moderately_severe"),
    (80.0, "severe"),
    (95.0, "profound"),
];
const METHOD: &str =
    "pure-tone average at 500, 1000, 2000 and 4000 Hz; grades of the WHO's World report on hearing (2021)";

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screening {
    pub taken_at: UtcTime,
    pub test_type: TestType,
    /// The thresholds of the left ear; empty where it was not tested.
    pub left: Vec<Threshold>,
    /// The thresholds of the right ear; empty where it was not tested.
    pub right: Vec<Threshold>,
}

/// The softest tone of one frequency that the person heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    pub frequency_hz: u16,
    /// The hearing level in decibels, -10 to 120.
    pub threshold_db: i16,
}

impl Shape for Screening {
    const NAME: &'static str = "screening";
    const TITLE: &'static str = "Your hearing screenings";
    const PURPOSE: Option<Purpose> = Some(Purpose::Hearing);
    const RETENTION_DAYS: Option<u32> = Some(365);
    const FOR_GUESTS: bool = true;
    const IS_DATED: bool = true;
    const IS_SESSION: bool = true;
    const KEY_FIELD: &'static str = "taken_at";

    fn example() -> Self {
        let ear = |levels: [i16; 4]| {
            let threshold = |(frequency_hz, threshold_db)| Threshold { frequency_hz, threshold_db };
            AVERAGED_HZ.into_iter().zip(levels).map(threshold).collect()
        };
        Self {
            taken_at: UtcTime::parse("2026-01-15T09:30:00Z").expect("a time"),
            test_type: TestType::PureTone,
            left: ear([15, 20, 25, 40]),
            right: ear([10, 10, 15, 20]),
        }
    }

    fn faults(&self, today: NaiveDate) -> Vec<Fault> {
        let (mut faults, taken) = (Vec::new(), self.day());
        // West of Greenwich the day in UTC may be tomorrow already.
        if today.checked_add_days(Days::new(1)).is_some_and(|latest| taken > latest) {
            faults.push(Fault::new("taken_at", "must not lie in the future"));
        }
        if today.checked_sub_months(Months::new(12 * OLDEST_YEARS)).is_some_and(|oldest| taken < oldest) {
            faults.push(Fault::new("taken_at", "must not lie more than ten years back"));
        }
        if self.left.is_empty() && self.right.is_empty() {
            faults.push(Fault::new("left", "or right must hold a threshold"));
        }
        faults.extend(ear_faults("left", &self.left).into_iter().chain(ear_faults("right", &self.right)));
        faults
    }

    fn natural_key(&self) -> String {
        format!("{} {}", self.test_type.as_str(), self.taken_at)
    }

    fn date(&self) -> Option<NaiveDate> {
        Some(self.day())
    }

    fn moment(&self) -> Option<DateTime<Utc>> {
        Some(self.taken_at.get())
    }

    fn test_type(&self) -> Option<String> {
        Some(self.test_type.as_str().to_owned())
    }

    fn evaluate(&self) -> Option<Value> {
        let mut evaluation = json!({ "test_type": self.test_type, "note": "An orientation, not a diagnosis." });
        if self.test_type != TestType::PureTone {
            evaluation["missing"] = "The grades are defined for pure tones only.".into();
            return Some(evaluation);
        }
        evaluation["method"] = METHOD.into();
        let (left, right) = (average(&self.left), average(&self.right));
        evaluation["left"] = ear(&left);
        evaluation["right"] = ear(&right);
        match (left, right) {
            (Ok(left), Ok(right)) => {
                let better = left.min(right);
                evaluation["better_ear"] = json!({ "average_db": better, "grade": grade(better) });
                evaluation["grade"] = overall(better, left.max(right)).into();
            }
            _ => evaluation["missing"] = "The grade needs all four frequencies of both ears.".into(),
        }
        Some(evaluation)
    }
}

impl Screening {
    fn day(&self) -> NaiveDate {
        self.taken_at.get().date_naive()
    }
}

fn ear_faults(ear: &str, thresholds: &[Threshold]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (place, threshold) in thresholds.iter().enumerate() {
        let mut fault =
            |field: &str, message: &str| faults.push(Fault::new(format!("{ear}[{place}].{field}"), message));
        if !FREQUENCIES_HZ.contains(&threshold.frequency_hz) {
            fault("frequency_hz", "must be 125, 250, 500, 750, 1000, 1500, 2000, 3000, 4000, 6000 or 8000");
        } else if thresholds[..place].iter().any(|earlier| earlier.frequency_hz == threshold.frequency_hz) {
            fault("frequency_hz", "is repeated for this ear");
        }
        if !(SOFTEST_DB..=LOUDEST_DB).contains(&threshold.threshold_db) {
            fault("threshold_db", "must be -10 to 120");
        }
        // Each frequency may occur once, so a longer list is wrong anyway and its other entries need no messages.
        if place == FREQUENCIES_HZ.len() {
            break;
        }
    }
    faults
}

/// The average of an ear in decibels, or the frequencies that are missing for the average.
fn average(thresholds: &[Threshold]) -> Result<f64, Vec<u16>> {
    let level = |hz: u16| thresholds.iter().find(|known| known.frequency_hz == hz).map(|known| known.threshold_db);
    let missing: Vec<u16> = AVERAGED_HZ.into_iter().filter(|hz| level(*hz).is_none()).collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let sum: f64 = AVERAGED_HZ.into_iter().filter_map(level).map(f64::from).sum();
    Ok(sum / 4.0)
}

fn ear(average: &Result<f64, Vec<u16>>) -> Value {
    match average {
        Ok(average) => json!({ "average_db": average, "grade": grade(*average) }),
        Err(missing) => json!({ "missing_hz": missing }),
    }
}

fn grade(average: f64) -> &'static str {
    GRADES.iter().find(|(below, _)| average < *below).map_or("complete", |(_, grade)| grade)
}

/// The grade of a person: the grade of the better ear, unless only the worse ear is affected, by 35 dB or more.
fn overall(better: f64, worse: f64) -> &'static str {
    if better < 20.0 && worse >= 35.0 { "unilateral" } else { grade(better) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(levels: &[(u16, i16)]) -> Vec<Threshold> {
        levels.iter().map(|&(frequency_hz, threshold_db)| Threshold { frequency_hz, threshold_db }).collect()
    }

    fn flat(level: i16) -> Vec<Threshold> {
        heard(&AVERAGED_HZ.map(|hz| (hz, level)))
    }

    fn fields(screening: &Screening) -> Vec<String> {
        let today = "2026-03-02".parse().expect("a date");
        screening.faults(today).into_iter().map(|fault| fault.field).collect()
    }

    fn at(time: &str) -> Screening {
        Screening { taken_at: UtcTime::parse(time).expect("a time"), ..Screening::example() }
    }

    #[test]
    fn a_screening_lies_in_the_past_and_holds_thresholds_that_audiometers_give() {
        assert!(fields(&at("2026-03-03T11:00:00Z")).is_empty(), "tomorrow in UTC is today in Hawaii");
        assert_eq!(fields(&at("2026-03-04T00:00:00Z")), ["taken_at"]);
        assert_eq!(fields(&at("2016-03-01T23:59:59Z")), ["taken_at"]);
        let with = |left, right| fields(&Screening { left, right, ..Screening::example() });
        assert_eq!(with(vec![], vec![]), ["left"]);
        assert!(with(vec![], heard(&[(125, -10), (8000, 120)])).is_empty());
        assert_eq!(with(heard(&[(1001, 20)]), vec![]), ["left[0].frequency_hz"]);
        assert_eq!(
            with(heard(&[(500, -11)]), heard(&[(500, 120), (500, 121)])),
            ["left[0].threshold_db", "right[1].frequency_hz", "right[1].threshold_db"]
        );
        assert_eq!(with(heard(&[(7, 0); 2000]), vec![]).len(), FREQUENCIES_HZ.len() + 1, "of very many only the first");
    }

    #[test]
    fn the_same_test_at_the_same_time_is_the_same_record() {
        let one = at("2026-01-15T09:30:00Z");
        assert_eq!(one.natural_key(), "pure_tone 2026-01-15T09:30:00Z");
        assert_eq!(one.date().map(|day| day.to_string()).as_deref(), Some("2026-01-15"));
        assert_eq!(one.test_type().as_deref(), Some("pure_tone"));
    }

    #[test]
    fn grades_begin_where_the_report_says() {
        let expected = [
            (-10, "normal"),
            (19, "normal"),
            (20, "mild"),
            (34, "mild"),
            (35, "moderate"),
            (49, "moderate"),
            (50, "moderately_severe"),
            (65, "severe"),
            (80, "profound"),
            (94, "profound"),
            (95, "complete"),
            (120, "complete"),
        ];
        for (level, name) in expected {
            let screening = Screening { left: flat(level), right: flat(level), ..Screening::example() };
            let evaluation = screening.evaluate().expect("it is evaluated");
            assert_eq!(evaluation["grade"], name, "{level} dB");
            assert_eq!(evaluation["left"], json!({ "average_db": f64::from(level), "grade": name }));
        }
        assert_eq!(grade(19.75), "normal");
    }

    #[test]
    fn the_better_ear_decides_unless_one_ear_alone_is_affected() {
        let graded = |left: i16, right: i16| {
            let screening = Screening { left: flat(left), right: flat(right), ..Screening::example() };
            screening.evaluate().expect("it is evaluated")
        };
        assert_eq!(graded(60, 30)["grade"], "mild");
        assert_eq!(graded(60, 30)["better_ear"], json!({ "average_db": 30.0, "grade": "mild" }));
        assert_eq!(graded(19, 35)["grade"], "unilateral");
        assert_eq!(graded(34, 19)["grade"], "normal", "the worse ear is not bad enough");
        let example = Screening::example().evaluate().expect("it is evaluated");
        assert_eq!(example["left"], json!({ "average_db": 25.0, "grade": "mild" }));
        assert_eq!(example["right"], json!({ "average_db": 13.75, "grade": "normal" }));
    }

    #[test]
    fn an_evaluation_says_what_it_lacks() {
        let left = heard(&[(125, 10), (500, 20), (4000, 30)]);
        let screening = Screening { left, ..Screening::example() };
        let evaluation = screening.evaluate().expect("it is evaluated");
        assert_eq!(evaluation["left"], json!({ "missing_hz": [1000, 2000] }));
        assert_eq!(evaluation["right"]["grade"], "normal");
        assert!(evaluation.get("grade").is_none() && evaluation.get("better_ear").is_none(), "{evaluation}");
        assert!(evaluation["missing"].is_string());
        let speech = Screening { test_type: TestType::SpeechInNoise, ..Screening::example() };
        let evaluation = speech.evaluate().expect("it is evaluated");
        assert!(evaluation["missing"].is_string() && evaluation.get("left").is_none(), "{evaluation}");
    }
}
