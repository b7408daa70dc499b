//! The archive of tables: an uncompressed zip with one CSV file for each section. `export.csv` and `wordbook.csv` have
//! the shapes of requirements 337 and 338; every kind has its own table; `manifest.json` counts rows and hashes files.
//!
//! A cell that a spreadsheet would take for a formula gets an apostrophe in front (see `spreadsheet.rs`).

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use domain::kinds::{WORDBOOK_ENTRY, WORDBOOK_SETTINGS};
use serde_json::{Map, Value, json};

use crate::export::{
    columns::{
        Column, FLAT, FLAT_SETTINGS, FLAT_USER, FLAT_WORD, METADATA, OTHER, RECORD, SETTINGS, USER, cell, columns,
        columns_of, row_of,
    },
    contents::{Contents, Format, Part, Section},
    zip::Zip,
};

pub const SUMMARY_NAME: &str = "export.csv";
pub const MANIFEST_NAME: &str = "manifest.json";
/// The folder of the tables of kinds.
pub const RECORDS: &str = "records/";
const FLAT_NAME: &str = "wordbook.csv";

#[derive(Default)]
pub struct Archive {
    zip: Zip,
    open: Option<Open>,
    manifest: Map<String, Value>,
}

struct Open {
    name: String,
    /// The columns of a kind's table that come from a record's body; empty for other files.
    columns: Vec<Column>,
    /// The cells that account and settings put into each row of `wordbook.csv`.
    flat: [Value; 3],
    rows: u64,
    text: Context,
}

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&mut self) -> io::Result<&mut Open> {
        self.open.as_mut().ok_or_else(|| io::Error::other("a row outside of a file"))
    }

    fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        let row = Vec::with_capacity(256);
        let mut writer = ::csv::WriterBuilder::new().buffer_capacity(256).from_writer(row);
        writer.write_record(cells)?;
        let row = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        self.open()?.text.update(&row);
        self.zip.write(&row);
        Ok(())
    }

    fn data<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        self.open()?.rows += 1;
        self.row(cells)
    }

    /// Writes one row for each field, as `export.csv` has them.
    fn fields(&mut self, section: &str, names: &[&str], item: &Value) -> io::Result<()> {
        for name in names {
            self.data([section, name, &cell(&item[*name])])?;
        }
        Ok(())
    }

    fn summary(&mut self, part: &Part, item: &Value) -> io::Result<()> {
        match part {
            Part::Metadata => self.fields("metadata", &METADATA, item),
            Part::User => self.fields("user", &USER, item),
            Part::Settings => self.fields("settings", &SETTINGS, item),
            Part::Wordbook => {
                self.fields("wordbook", &["id"], item)?;
                self.fields("wordbook", &FLAT_WORD, item)
            }
            _ => Ok(()),
        }
    }

    fn flat(&mut self, part: &Part, item: &Value) -> io::Result<()> {
        let open = self.open()?;
        match part {
            Part::User => open.flat[0] = item[FLAT_USER].clone(),
            Part::Settings => {
                open.flat[1] = item[FLAT_SETTINGS[0]].clone();
                open.flat[2] = item[FLAT_SETTINGS[1]].clone();
            }
            _ => {
                let same = open.flat.iter().map(cell);
                let cells: Vec<String> = same.chain(FLAT_WORD.iter().map(|name| cell(&item[*name]))).collect();
                self.data(cells.iter().map(String::as_str))?;
            }
        }
        Ok(())
    }

    /// Writes a row of a kind's own table.
    fn record(&mut self, item: &Value) -> io::Result<()> {
        let body = item["body"].as_object().cloned().unwrap_or_default();
        let mut cells: Vec<String> = RECORD.iter().map(|name| cell(&item[*name])).collect();
        cells.extend(row_of(&self.open()?.columns, body));
        self.data(cells.iter().map(String::as_str))
    }
}

impl Format for Archive {
    fn extension(&self) -> &'static str {
        "zip"
    }

    fn sections(&self, contents: &Contents) -> Vec<Section> {
        let (settings, words) = (contents.holds(WORDBOOK_SETTINGS), contents.holds(WORDBOOK_ENTRY));
        let mut summary = vec![Part::Metadata, Part::User];
        summary.extend(settings.then_some(Part::Settings));
        summary.extend(words.then_some(Part::Wordbook));
        let mut sections = vec![Section::new(SUMMARY_NAME, summary)];
        if words {
            let settings = settings.then_some(Part::Settings);
            let parts = [Some(Part::User), settings, Some(Part::Wordbook)];
            sections.push(Section::new(FLAT_NAME, parts.into_iter().flatten().collect::<Vec<_>>()));
        }
        sections.push(Section::new("request.csv", [Part::Request]));
        let table = |kind: &String| Section::new(format!("{RECORDS}{kind}.csv"), [Part::Records(kind.clone())]);
        sections.extend(contents.kinds.iter().map(table));
        if contents.whole {
            sections.extend([
                Section::new("consents.csv", [Part::Consents]),
                Section::new("retention.csv", [Part::Retention]),
                Section::new("switches.csv", [Part::Switches]),
                Section::new("requests.csv", [Part::Requests]),
                Section::new("events.csv", [Part::Events]),
            ]);
        }
        sections
    }

    fn begin(&mut self, section: &Section) -> io::Result<()> {
        self.zip.begin(&section.name);
        let part = section.parts.first().ok_or_else(|| io::Error::other("a file of nothing"))?;
        let of_kind = match part {
            Part::Records(name) => columns_of(name),
            _ => Vec::new(),
        };
        let (name, text) = (section.name.clone(), Context::new(&SHA256));
        self.open = Some(Open { name, columns: of_kind.clone(), flat: Default::default(), rows: 0, text });
        match (section.name.as_str(), part) {
            (SUMMARY_NAME, _) => self.row(["Section", "Field", "Value"]),
            (FLAT_NAME, _) => self.row(FLAT),
            (_, Part::Records(_)) => {
                self.row(RECORD.into_iter().chain(of_kind.iter().map(|column| column.name.as_str())).chain([OTHER]))
            }
            (_, part) => self.row(columns(part).iter().copied()),
        }
    }

    fn item(&mut self, part: &Part, item: &Value) -> io::Result<()> {
        match (self.open()?.name.as_str(), part) {
            (SUMMARY_NAME, part) => self.summary(part, item),
            (FLAT_NAME, part) => self.flat(part, item),
            (_, Part::Records(_)) => self.record(item),
            (_, part) => {
                let cells: Vec<String> = columns(part).iter().map(|name| cell(&item[*name])).collect();
                self.data(cells.iter().map(String::as_str))
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(open) = self.open.take() {
            let sha256 = hex::encode(open.text.finish());
            self.manifest.insert(open.name, json!({ "rows": open.rows, "sha256": sha256 }));
        }
        Ok(())
    }

    fn finish(&mut self, prove: &(dyn Fn(&[u8]) -> io::Result<Value> + Sync)) -> io::Result<()> {
        let files = Value::Object(std::mem::take(&mut self.manifest));
        let mut hash = Context::new(&SHA256);
        hash.update(files.to_string().as_bytes());
        let manifest = json!({ "files": files, "proof": prove(hash.finish().as_ref())? });
        self.zip.begin(MANIFEST_NAME);
        self.zip.write(&serde_json::to_vec_pretty(&manifest)?);
        self.zip.finish();
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        self.zip.take()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use ::zip::ZipArchive;
    use aws_lc_rs::digest::digest;
    use domain::filter::Filter;

    use super::*;

    fn word(lemma: &str) -> Value {
        json!({
            "id": "1", "wordId": "w", "lemma": lemma, "partOfSpeech": null, "passiveReviewCount": 5,
            "nextPassiveReviewTime": null, "activeReviewCount": 3, "nextActiveReviewTime": "2025-10-25T00:00:00Z",
            "addedAt": "2025-01-20T12:00:00Z",
        })
    }

    fn write(filter: &Filter, items: &dyn Fn(&Part) -> Vec<Value>) -> ZipArchive<Cursor<Vec<u8>>> {
        let (mut archive, mut bytes) = (Archive::new(), Vec::new());
        for section in archive.sections(&Contents::of(filter, Vec::new())) {
            archive.begin(&section).expect("begun");
            for part in &section.parts {
                for item in items(part) {
                    archive.item(part, &item).expect("written");
                }
                bytes.extend(archive.take());
            }
            archive.end().expect("ended");
        }
        archive.finish(&|hash| Ok(json!({ "hash": hex::encode(hash) }))).expect("ended");
        bytes.extend(archive.take());
        ZipArchive::new(Cursor::new(bytes)).expect("a zip")
    }

    fn text(archive: &mut ZipArchive<Cursor<Vec<u8>>>, name: &str) -> String {
        let mut text = String::new();
        archive.by_name(name).expect(name).read_to_string(&mut text).expect("text");
        text
    }

    #[test]
    fn the_wordbook_has_both_shapes_that_were_asked_for() {
        let mut archive = write(&Filter::default(), &|part| match part {
            Part::Metadata => vec![json!({ "exportDate": "d", "exportVersion": "1.0", "userId": "a@b.example" })],
            Part::User => vec![json!({ "email": "a@b.example", "registeredAt": "r" })],
            Part::Settings => vec![json!({ "autoNewReview": 2, "dailyNewReviewCount": 10, "updatedAt": "u" })],
            Part::Wordbook => vec![word("hej")],
            _ => Vec::new(),
        });
        let summary = text(&mut archive, SUMMARY_NAME);
        assert!(summary.starts_with("Section,Field,Value\nmetadata,exportDate,d\n"), "{summary}");
        assert!(summary.contains("settings,dailyNewReviewCount,10\n") && summary.contains("wordbook,lemma,hej\n"));
        let flat = text(&mut archive, FLAT_NAME);
        let row = "a@b.example,2,10,w,hej,,5,,3,2025-10-25T00:00:00Z,2025-01-20T12:00:00Z\n";
        assert_eq!(flat, format!("{}\n{row}", FLAT.join(",")));
    }

    #[test]
    fn no_cell_is_a_formula_and_nothing_of_a_body_is_lost() {
        let body = json!({ "lemma": "=1+2", "word_id": "+49", "part_of_speech": "@x", "invented": ["-1"] });
        let mut archive = write(&Filter::default(), &|part| match part {
            Part::Records(kind) if kind == "wordbook_entry" => {
                vec![json!({ "id": "\tid", "submittedAt": "\rs", "updatedAt": "-u", "version": 1, "body": body })]
            }
            _ => Vec::new(),
        });
        let table = text(&mut archive, "records/wordbook_entry.csv");
        let mut rows = ::csv::ReaderBuilder::new().has_headers(true).from_reader(table.as_bytes());
        let names = rows.headers().expect("names").clone();
        let row = rows.records().next().expect("a row").expect("well formed");
        let cell = |name: &str| row.get(names.iter().position(|known| known == name).expect(name)).expect("a cell");
        assert_eq!((cell("lemma"), cell("word_id"), cell("part_of_speech")), ("'=1+2", "'+49", "'@x"));
        assert_eq!((cell("id"), cell("submittedAt"), cell("updatedAt")), ("'\tid", "'\rs", "'-u"));
        assert_eq!(cell("other"), r#"{"invented":["-1"]}"#);
    }

    #[test]
    fn the_manifest_counts_and_hashes_every_other_file() {
        let mut archive = write(&Filter::default(), &|_| vec![json!({ "body": { "a": "b".repeat(5000) } })]);
        let manifest: Value = serde_json::from_str(&text(&mut archive, "manifest.json")).expect("JSON");
        let files = manifest["files"].as_object().expect("an object");
        assert_eq!(files.len() + 1, archive.len());
        for (name, entry) in files {
            let content = text(&mut archive, name);
            assert_eq!(entry["sha256"], hex::encode(digest(&SHA256, content.as_bytes())), "{name}");
            let rows = ::csv::Reader::from_reader(content.as_bytes()).records().count();
            assert_eq!(entry["rows"], rows, "{name}");
        }
        assert_eq!(manifest["proof"]["hash"], hex::encode(digest(&SHA256, manifest["files"].to_string().as_bytes())));
    }
}
