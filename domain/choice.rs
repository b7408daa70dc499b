//! Closed lists of names, such as specialties, role levels and federal states. The API publishes them as enumerations.

/// A closed list of names.
pub trait Choice: Copy + Sized + Send + Sync + 'static {
    /// The name of the list in the API.
    const NAME: &'static str;
    const NAMES: &'static [&'static str];
    fn as_str(self) -> &'static str;
    /// Returns `None` if the list does not hold the name.
    fn parse(name: &str) -> Option<Self>;
}

/// Makes an enumeration of a closed list of names.
#[macro_export]
macro_rules! choice {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$variant_doc])* #[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant),+
        }

        impl $crate::Choice for $type {
            const NAME: &'static str = stringify!($type);
            const NAMES: &'static [&'static str] = &[$($name),+];
            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
            fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

pub(crate) use choice;

choice! {
    Specialty {
        Anaesthesiology = "anaesthesiology", Cardiology = "cardiology", Dermatology = "dermatology",
        EmergencyMedicine = "emergency_medicine", Gastroenterology = "gastroenterology", Geriatrics = "geriatrics",
        Gynaecology = "gynaecology", IntensiveCare = "intensive_care", InternalMedicine = "internal_medicine",
        Neurology = "neurology", Neurosurgery = "neurosurgery", Oncology = "oncology", Ophthalmology = "ophthalmology",
        Orthopaedics = "orthopaedics", Otorhinolaryngology = "otorhinolaryngology", Paediatrics = "paediatrics",
        Psychiatry = "psychiatry", Radiology = "radiology", Surgery = "surgery", Urology = "urology", Other = "other",
    }
}

choice! {
    RoleLevel {
        Assistant = "assistant", Specialist = "specialist", Senior = "senior", Chief = "chief", Nurse = "nurse",
        Other = "other",
    }
}

choice! {
    /// A federal state of Germany, by its ISO 3166-2 code without the country.
    StateCode {
        BadenWuerttemberg = "BW", Bavaria = "BY", Berlin = "BE", Brandenburg = "BB", Bremen = "HB", Hamburg = "HH",
        Hesse = "HE", MecklenburgVorpommern = "MV", LowerSaxony = "NI", NorthRhineWestphalia = "NW",
        RhinelandPalatinate = "RP", Saarland = "SL", Saxony = "SN", SaxonyAnhalt = "ST", SchleswigHolstein = "SH",
        Thuringia = "TH",
    }
}

choice! {
    /// How a work day was measured.
    Source { Geofence = "geofence", Manual = "manual", Mixed = "mixed" }
}

choice! {
    /// How hearing was tested.
    TestType { PureTone = "pure_tone", SpeechInNoise = "speech_in_noise" }
}

choice! {
    /// A group of ages, in years.
    AgeGroup {
        Under18 = "under_18", From18 = "18_to_29", From30 = "30_to_44", From45 = "45_to_59", From60 = "60_to_74",
        From75 = "75_and_over", NotSaid = "not_said",
    }
}

choice! {
    /// A gender, as the person states it.
    Gender { Female = "female", Male = "male", NonBinary = "non_binary", NotSaid = "not_said" }
}

impl Choice for context::Role {
    const NAME: &'static str = "Role";
    const NAMES: &'static [&'static str] = &context::Role::NAMES;

    fn as_str(self) -> &'static str {
        self.as_str()
    }

    fn parse(name: &str) -> Option<Self> {
        Self::parse(name)
    }
}
