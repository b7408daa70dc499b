//! The hospitals of a demonstration: a file of the user's, or a short list that we invented.
//!
//! Promises an id for every name, whatever the name holds: a slug that is unique within its list, and the same on every
//! run over the same list. Refuses a file with a gap or an unknown state instead of guessing, and names line and
//! column.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use csv::ByteRecord;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hospital {
    /// A slug of the name: `a-z`, digits and single hyphens, 3 to 64 characters, a letter first, unique in its list.
    pub hospital_id: String,
    /// The name as given, without white space around it.
    pub name: String,
    /// The federal state: ISO 3166-2:DE without its `DE-`, for example `BY`.
    pub state_code: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum HospitalsError {
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        /// The operating system's error. The message does not repeat it.
        source: io::Error,
    },
    /// A row or the header is faulty.
    #[error("{}, line {line}, column `{column}`: {fault}", path.display())]
    Faulty {
        path: PathBuf,
        /// The line on which the row starts; the header is line 1.
        line: usize,
        /// The heading, or the number of a column that has none.
        column: String,
        fault: Fault,
    },
}

/// The faults that a column can have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The header does not have the column, or a row ends before it.
    #[error("missing")]
    Missing,
    /// A row has more columns than the header.
    #[error("beyond the header")]
    Surplus,
    /// The column holds only white space.
    #[error("empty")]
    Empty,
    #[error("not UTF-8")]
    NotUtf8,
    /// The text is not the German name of one of the sixteen states.
    #[error("{0:?} is not a German state")]
    UnknownState(String),
}

const NAME: &str = "name";
const STATE: &str = "state";

/// Reads a CSV file with at least the columns `name` and `state` (in German, such as `Bayern`), in the file's order.
///
/// # Errors
/// The first fault, with file, line and column. A file is read whole or not at all.
pub fn read(path: &Path) -> Result<Vec<Hospital>, HospitalsError> {
    let bytes = fs::read(path).map_err(|source| HospitalsError::Unreadable { path: path.to_owned(), source })?;
    parse(path, &bytes)
}

/// Invented hospitals, at least one in each of the sixteen states, the large ones first.
pub fn built_in() -> Vec<Hospital> {
    let mut slugs = Slugs::default();
    BUILT_IN.iter().map(|&(name, state_code)| slugs.hospital(name, state_code)).collect()
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Hospital>, HospitalsError> {
    const SURE: &str = "bytes in memory can be read, and rows of any length may follow each other";
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let faulty = |start, column: &str, fault| {
        let (path, line, column) = (path.to_owned(), line_at(bytes, start), column.to_owned());
        HospitalsError::Faulty { path, line, column, fault }
    };

    let header = reader.byte_headers().expect(SURE).clone();
    let place = |column: &str| {
        let mut headings = header.iter().map(<[u8]>::trim_ascii);
        headings.position(|heading| heading == column.as_bytes()).ok_or_else(|| faulty(0, column, Fault::Missing))
    };
    let (name_at, state_at) = (place(NAME)?, place(STATE)?);

    let (mut hospitals, mut slugs, mut row) = (Vec::new(), Slugs::default(), ByteRecord::new());
    loop {
        let start = reader.position().byte();
        if !reader.read_byte_record(&mut row).expect(SURE) {
            return Ok(hospitals);
        }
        if let Some(heading) = header.get(row.len()) {
            return Err(faulty(start, &String::from_utf8_lossy(heading), Fault::Missing));
        }
        if row.len() > header.len() {
            return Err(faulty(start, &(header.len() + 1).to_string(), Fault::Surplus));
        }
        // A row without name and state names no hospital.
        if row[name_at].trim_ascii().is_empty() && row[state_at].trim_ascii().is_empty() {
            continue;
        }
        let field = |at: usize, column| match str::from_utf8(&row[at]).map(str::trim) {
            Ok("") => Err(faulty(start, column, Fault::Empty)),
            Ok(text) => Ok(text),
            Err(_) => Err(faulty(start, column, Fault::NotUtf8)),
        };
        let (name, state) = (field(name_at, NAME)?, field(state_at, STATE)?);
        let state_code =
            state_code(state).ok_or_else(|| faulty(start, STATE, Fault::UnknownState(state.to_owned())))?;
        hospitals.push(slugs.hospital(name, state_code));
    }
}

/// The line on which the row read from `start` begins. The reader's own position is on the line end or the blank line
/// before the row, so it gives the wrong line in files with CRLF.
fn line_at(bytes: &[u8], start: u64) -> usize {
    let start = usize::try_from(start).map_or(bytes.len(), |start| start.min(bytes.len()));
    let blank = bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    1 + bytes[..start + blank].iter().filter(|&&byte| byte == b'\n').count()
}

fn state_code(german: &str) -> Option<&'static str> {
    Some(match german {
        "Baden-Württemberg" => "BW",
        "Bayern" => "BY",
        "Berlin" => "BE",
        "Brandenburg" => "BB",
        "Bremen" => "HB",
        "Hamburg" => "HH",
        "Hessen" => "HE",
        "Mecklenburg-Vorpommern" => "MV",
        "Niedersachsen" => "NI",
        "Nordrhein-Westfalen" => "NW",
        "Rheinland-Pfalz" => "RP",
        "Saarland" => "SL",
        "Sachsen" => "SN",
        "Sachsen-Anhalt" => "ST",
        "Schleswig-Holstein" => "SH",
        "Thüringen" => "TH",
        _ => return None,
    })
}

const SLUG_MAX: usize = 64;

/// The slugs that are taken in this list.
#[derive(Default)]
struct Slugs(HashSet<String>);

impl Slugs {
    fn hospital(&mut self, name: &str, state_code: &'static str) -> Hospital {
        Hospital { hospital_id: self.unused(&slug(name)), name: name.to_owned(), state_code }
    }

    /// `base`, or the first of `base-2`, `base-3` and so on that no earlier hospital has.
    fn unused(&mut self, base: &str) -> String {
        let mut candidate = base.to_owned();
        let mut number = 1_usize;
        while !self.0.insert(candidate.clone()) {
            number += 1;
            let suffix = format!("-{number}");
            candidate = format!("{}{suffix}", cut(base, SLUG_MAX - suffix.len()));
        }
        candidate
    }
}

/// A slug of any text, even of text without a letter.
fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            'ä' => slug.push_str("ae"),
            'ö' => slug.push_str("oe"),
            'ü' => slug.push_str("ue"),
            'ß' => slug.push_str("ss"),
            'à' | 'á' | 'â' => slug.push('a'),
            'è' | 'é' | 'ê' | 'ë' => slug.push('e'),
            'ç' => slug.push('c'),
            // The diaeresis of a decomposed umlaut.
            '\u{308}' => slug.push('e'),
            // A soft hyphen or an apostrophe does not end a word.
            '\u{ad}' | '\'' | '´' | '’' => {}
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        return "hospital".to_owned();
    }
    if slug.len() < 3 || !slug.starts_with(|c: char| c.is_ascii_lowercase()) {
        return cut(&format!("h-{slug}"), SLUG_MAX).to_owned();
    }
    cut(slug, SLUG_MAX).to_owned()
}

/// At most `length` bytes of an ASCII slug, not ending in a hyphen.
fn cut(slug: &str, length: usize) -> &str {
    slug[..slug.len().min(length)].trim_end_matches('-')
}

/// Places and names are invented; any likeness to a real hospital is by chance.
const BUILT_IN: [(&str, &str); 24] = [
    ("Universitätsklinikum Rabenwörth", "NW"),
    ("Universitätsklinikum Isartann", "BY"),
    ("Klinikum Spreewinkel", "BE"),
    ("Universitätsklinikum Silbertannen", "BW"),
    ("Großklinikum Elbgrund", "HH"),
    ("Klinikum Mainhollern", "HE"),
    ("Klinikum Heidenbrook", "NI"),
    ("Krankenhaus zur Goldenen Linde", "SN"),
    ("Klinikum Zechenborn", "NW"),
    ("Kreisklinik Altmühlried", "BY"),
    ("Klinikum Fördeblick", "SH"),
    ("Klinik am Weinbrunnen", "RP"),
    ("Krankenhaus Rennsteigen", "TH"),
    ("Klinikum Börderode", "ST"),
    ("Seenklinik Kranichwerder", "BB"),
    ("Klinikum Boddenhagen", "MV"),
    ("Hospital zum Roten Ahorn", "BW"),
    ("Klinik am Hüttenweiher", "SL"),
    ("Klinikum Weserdeich", "HB"),
    ("Krankenhaus Sankt Quendolin", "NW"),
    ("Bergklinik Enzianstein", "BY"),
    ("Krankenhaus Moorkuhlen", "NI"),
    ("Fachklinik Erlenquell", "HE"),
    ("Stadtklinik Havelgarten", "BE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Hospital>, String> {
        parse(Path::new("list.csv"), text.as_bytes()).map_err(|error| error.to_string())
    }

    fn is_slug(id: &str) -> bool {
        (3..=SLUG_MAX).contains(&id.len())
            && id.starts_with(|c: char| c.is_ascii_lowercase())
            && id
                .split('-')
                .all(|part| !part.is_empty() && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9')))
    }

    fn assert_good(hospitals: &[Hospital]) {
        let mut seen = HashSet::new();
        for hospital in hospitals {
            assert!(is_slug(&hospital.hospital_id), "{hospital:?}");
            assert!(seen.insert(&hospital.hospital_id), "twice: {hospital:?}");
        }
        let states: HashSet<_> = hospitals.iter().map(|hospital| hospital.state_code).collect();
        assert_eq!(states.len(), 16);
    }

    #[test]
    fn built_in_covers_all_states() {
        assert_good(&built_in());
        assert_eq!(built_in()[0].hospital_id, "universitaetsklinikum-rabenwoerth");
        assert_eq!(built_in(), built_in());
    }

    #[test]
    fn slugs_of_anything() {
        for (name, expected) in [
            ("Klinik Süd-Ost", "klinik-sued-ost"),
            ("ÄÖÜ ẞß", "aeoeue-ssss"),
            ("A\u{308}rztehaus", "aerztehaus"),
            ("  „Haus“ – St. Kran\u{ad}ken-\u{a0}Café ", "haus-st-kranken-cafe"),
            ("1. Klinik", "h-1-klinik"),
            ("HB", "h-hb"),
            ("?", "hospital"),
            ("病院\0\n\"';--", "hospital"),
        ] {
            assert_eq!(slug(name), expected, "{name:?}");
            assert!(is_slug(&slug(name)), "{name:?}");
        }
        for length in 1..200 {
            assert!(is_slug(&slug(&"ab ".repeat(length))));
            assert!(is_slug(&slug(&"abc ".repeat(length))));
            assert!(is_slug(&slug(&"7ß".repeat(length))));
        }
    }

    #[test]
    fn slugs_stay_unique_and_short() {
        let mut slugs = Slugs::default();
        assert_eq!(slugs.unused("haus"), "haus");
        assert_eq!(slugs.unused("haus-2"), "haus-2");
        assert_eq!(slugs.unused("haus"), "haus-3");
        assert_eq!(slugs.unused("haus-2"), "haus-2-2");
        let long = slug(&"x".repeat(90));
        let ids: HashSet<_> = (0..120).map(|_| slugs.unused(&long)).collect();
        assert_eq!(ids.len(), 120);
        assert!(ids.iter().all(|id| is_slug(id)));
    }

    #[test]
    fn reads_quotes_line_breaks_and_columns_in_any_order() {
        let text = "\u{feff}state,id,name\r\nBayern,1,\"Haus \"\"A\"\",\r\nNord\"\r\n\r\nThüringen,2, Haus B \r\n";
        let hospitals = parsed(text).expect("a sound file");
        assert_eq!(hospitals[0].name, "Haus \"A\",\r\nNord");
        assert_eq!(hospitals[0].hospital_id, "haus-a-nord");
        assert_eq!(
            hospitals[1],
            Hospital { hospital_id: "haus-b".to_owned(), name: "Haus B".to_owned(), state_code: "TH" }
        );
        assert_eq!(parsed("name,state\n"), Ok(Vec::new()));
    }

    #[test]
    fn faults_name_file_line_and_column() {
        for (text, message) in [
            ("", "list.csv, line 1, column `name`: missing"),
            ("name,land\nA,Bayern\n", "list.csv, line 1, column `state`: missing"),
            (
                "name,state\nAaa,Bayern\nBbb,Tirol\n",
                "list.csv, line 3, column `state`: \"Tirol\" is not a German state",
            ),
            ("name,state\r\nAaa,Bayern\r\n\r\nBbb,\r\n", "list.csv, line 4, column `state`: empty"),
            ("name,state\n\"A\na\",Bayern\n \u{a0},Bayern\n", "list.csv, line 4, column `name`: empty"),
            ("name,state\nAaa\n", "list.csv, line 2, column `state`: missing"),
            ("name,state\nA,\"Bay\nern", "list.csv, line 2, column `state`: \"Bay\\nern\" is not a German state"),
            ("name,state\nA,Bayern,1\n", "list.csv, line 2, column `3`: beyond the header"),
        ] {
            assert_eq!(parsed(text), Err(message.to_owned()), "{text:?}");
        }
        let error = parse(Path::new("list.csv"), b"name,state\nA\xff,Bayern\n").expect_err("not UTF-8");
        assert_eq!(error.to_string(), "list.csv, line 2, column `name`: not UTF-8");
        let error = read(Path::new("/nowhere/list.csv")).expect_err("no such file");
        assert_eq!(error.to_string(), "/nowhere/list.csv: cannot be read");
    }

    /// The public file has rows without name and state, which name no hospital.
    #[test]
    fn reads_the_public_file_apart_from_its_blank_rows() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/german_hospitals.csv");
        if !path.exists() {
            // Written straight to standard error, because the test harness hides what a test prints.
            let line =
                format!("\nLEFT OUT reads_the_public_file_apart_from_its_blank_rows: {} is missing\n", path.display());
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("standard error is open");
            return;
        }
        let hospitals = read(&path).expect("a sound file");
        assert!(hospitals.len() > 2000);
        assert_good(&hospitals);
    }
}
