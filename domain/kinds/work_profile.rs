//! The work profile kind: where and as what a person works. A person has one such record. Statistics group people by
//! it.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    Fault, RoleLevel, Specialty, StateCode,
    kinds::{Shape, kind::Kind},
};

pub const WORK_PROFILE: &Kind = &Kind::of_shape::<WorkProfile>();

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkProfile {
    /// The hospital: 2 to 64 lower-case letters, digits and hyphens, beginning with a letter.
    pub hospital_id: String,
    pub specialty: Specialty,
    pub role_level: RoleLevel,
    /// The federal state; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_code: Option<StateCode>,
    /// The country, ISO 3166-1 alpha-3.
    pub country_code: String,
    /// The time zone, by its IANA name.
    pub time_zone: String,
}

impl WorkProfile {
    /// The country if the client names none.
    pub const DEFAULT_COUNTRY: &str = "DEU";
    /// The time zone if the client names none.
    pub const DEFAULT_TIME_ZONE: &str = "Europe/Berlin";

    /// What is wrong with the text of a field, if anything.
    pub fn text_fault(field: &str, text: &str) -> Option<&'static str> {
        match field {
            "hospital_id" if !is_hospital_id(text) => {
                Some("must be 2 to 64 lower-case letters, digits and hyphens, beginning with a letter")
            }
            "country_code" if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                Some("must be three capital letters (ISO 3166-1 alpha-3)")
            }
            "time_zone" if text.parse::<chrono_tz::Tz>().is_err() => {
                Some("must be the IANA name of a time zone, such as Europe/Berlin")
            }
            _ => None,
        }
    }
}

impl Shape for WorkProfile {
    const NAME: &'static str = "work_profile";
    const TITLE: &'static str = "Where and as what you work";

    fn example() -> Self {
        Self {
            hospital_id: "klinikum-am-see".to_owned(),
            specialty: Specialty::Surgery,
            role_level: RoleLevel::Specialist,
            state_code: Some(StateCode::Bavaria),
            country_code: Self::DEFAULT_COUNTRY.to_owned(),
            time_zone: Self::DEFAULT_TIME_ZONE.to_owned(),
        }
    }

    fn faults(&self, _: NaiveDate) -> Vec<Fault> {
        let texts =
            [("hospital_id", &self.hospital_id), ("country_code", &self.country_code), ("time_zone", &self.time_zone)];
        let fault = |(field, text): (&str, &String)| Some(Fault::new(field, Self::text_fault(field, text)?));
        texts.into_iter().filter_map(fault).collect()
    }

    fn natural_key(&self) -> String {
        Self::NAME.to_owned()
    }
}

fn is_hospital_id(id: &str) -> bool {
    (2..=64).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
