//! The JSON document: one object, written as a stream. First come the sections of requirements 332 to 335, then every
//! kind of record, then everything else about the person. Last come a manifest with count and SHA-256 of each section's
//! text, and a proof over the whole.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Map, Value, json};

use crate::export::contents::{Contents, Format, Part, Section};

/// The member that holds a list for each kind.
const RECORDS: &str = "records";
/// The text between the manifest and the proof.
pub const BEFORE_PROOF: &str = ",\"proof\":";

pub struct Json {
    out: Vec<u8>,
    /// The hash of everything written so far.
    whole: Context,
    open: Option<Open>,
    in_records: bool,
    empty: bool,
    manifest: Map<String, Value>,
}

struct Open {
    name: String,
    /// Whether the section is one object, left out if there is none, and not a list.
    single: bool,
    count: u64,
    text: Context,
}

impl Json {
    pub fn new() -> Self {
        let manifest = Map::new();
        let mut json = Self {
            out: Vec::new(),
            whole: Context::new(&SHA256),
            open: None,
            in_records: false,
            empty: true,
            manifest,
        };
        json.push(b"{");
        json
    }

    fn push(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.out.extend_from_slice(bytes);
    }

    /// Adds bytes that the section's own hash covers.
    fn push_text(&mut self, bytes: &[u8]) {
        if let Some(open) = &mut self.open {
            open.text.update(bytes);
        }
        self.push(bytes);
    }

    fn member(&mut self, name: &str) {
        let comma = if self.empty { "" } else { "," };
        self.empty = false;
        let text = format!("{comma}{}:", Value::from(name));
        self.push(text.as_bytes());
    }

    /// Opens or closes the member `records`, if that is needed.
    fn records(&mut self, inside: bool) {
        if inside && !self.in_records {
            self.member(RECORDS);
            self.push(b"{");
            self.empty = true;
        } else if !inside && self.in_records {
            self.push(b"}");
            self.empty = false;
        }
        self.in_records = inside;
    }
}

impl Format for Json {
    fn extension(&self) -> &'static str {
        "json"
    }

    fn sections(&self, contents: &Contents) -> Vec<Section> {
        let mut sections = vec![
            Section::new("exportMetadata", [Part::Metadata]),
            Section::new("user", [Part::User]),
            Section::new("request", [Part::Request]),
        ];
        if contents.holds(domain::kinds::WORDBOOK_SETTINGS) {
            sections.push(Section::new("settings", [Part::Settings]));
        }
        if contents.holds(domain::kinds::WORDBOOK_ENTRY) {
            sections.push(Section::new("wordbook", [Part::Wordbook]));
        }
        let records = |kind: &String| Section::new(format!("{RECORDS}.{kind}"), [Part::Records(kind.clone())]);
        sections.extend(contents.kinds.iter().map(records));
        if contents.whole {
            sections.extend([
                Section::new("consents", [Part::Consents]),
                Section::new("retention", [Part::Retention]),
                Section::new("switches", [Part::Switches]),
                Section::new("requests", [Part::Requests]),
                Section::new("events", [Part::Events]),
            ]);
        }
        sections
    }

    fn begin(&mut self, section: &Section) -> io::Result<()> {
        let kind = section.name.strip_prefix(RECORDS).and_then(|rest| rest.strip_prefix('.'));
        self.records(kind.is_some());
        let single = section.parts.iter().all(Part::is_single);
        if !single {
            self.member(kind.unwrap_or(&section.name));
        }
        self.open = Some(Open { name: section.name.clone(), single, count: 0, text: Context::new(&SHA256) });
        if !single {
            self.push_text(b"[");
        }
        Ok(())
    }

    fn item(&mut self, _: &Part, item: &Value) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(io::Error::other("an item outside of a section")) };
        open.count += 1;
        let (first, single, name) = (open.count == 1, open.single, open.name.clone());
        if single && first {
            self.member(&name);
        } else if !first {
            self.push_text(b",");
        }
        self.push_text(&serde_json::to_vec(item)?);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| !open.single) {
            self.push_text(b"]");
        }
        if let Some(open) = self.open.take().filter(|open| !open.single || open.count > 0) {
            let sha256 = hex::encode(open.text.finish());
            self.manifest.insert(open.name, json!({ "count": open.count, "sha256": sha256 }));
        }
        Ok(())
    }

    fn finish(&mut self, prove: &(dyn Fn(&[u8]) -> io::Result<Value> + Sync)) -> io::Result<()> {
        self.records(false);
        self.member("manifest");
        let manifest = json!({ "sections": std::mem::take(&mut self.manifest) });
        self.push(&serde_json::to_vec(&manifest)?);
        let proof = prove(self.whole.clone().finish().as_ref())?;
        self.push(BEFORE_PROOF.as_bytes());
        self.push(&serde_json::to_vec(&proof)?);
        self.push(b"}\n");
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::digest;
    use domain::{filter::Filter, kinds::KINDS};
    use serde_json::value::RawValue;

    use super::*;

    /// Writes a document with `count` items of every part.
    fn write(count: usize) -> String {
        let mut json = Json::new();
        for section in json.sections(&Contents::of(&Filter::default(), ["mood".to_owned()])) {
            json.begin(&section).expect("begun");
            for part in &section.parts {
                let count = if part.is_single() { count.min(1) } else { count };
                for number in 0..count {
                    json.item(part, &json!({ "number": number, "text": "ä\"\\\n\u{2028}" })).expect("written");
                }
            }
            json.end().expect("ended");
        }
        json.finish(&|hash| Ok(json!({ "hash": hex::encode(hash) }))).expect("ended");
        String::from_utf8(json.take()).expect("text")
    }

    #[test]
    fn a_document_is_json_whatever_is_in_it() {
        for count in 0..3 {
            let document: Value = serde_json::from_str(&write(count)).expect("JSON");
            assert_eq!(document["events"].as_array().expect("a list").len(), count);
            assert_eq!(document["settings"].is_null(), count == 0);
            let records = document["records"].as_object().expect("an object");
            assert_eq!(records.len(), KINDS.len() + 1, "every kind, and one that is not known any more");
            assert!(records.values().all(|list| list.as_array().is_some_and(|list| list.len() == count)));
        }
    }

    #[test]
    fn the_manifest_counts_and_hashes_what_stands_in_the_text() {
        let text = write(2);
        let raw: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(&text).expect("JSON");
        let records: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(raw["records"].get()).expect("JSON");
        let manifest: Value = serde_json::from_str(raw["manifest"].get()).expect("JSON");
        let sections = manifest["sections"].as_object().expect("an object");
        assert_eq!(sections.len(), raw.len() - 3 + records.len());
        for (name, entry) in sections {
            let value = name.strip_prefix("records.").map_or_else(|| raw.get(name), |kind| records.get(kind));
            let value = value.expect("the section is there").get();
            assert_eq!(entry["sha256"], hex::encode(digest(&SHA256, value.as_bytes())), "{name}");
            assert_eq!(entry["count"], if value.starts_with('[') { 2 } else { 1 }, "{name}");
        }
        let proof: Value = serde_json::from_str(raw["proof"].get()).expect("JSON");
        let before = text.rfind(BEFORE_PROOF).expect("a proof");
        assert_eq!(proof["hash"], hex::encode(digest(&SHA256, &text.as_bytes()[..before])));
    }

    #[test]
    fn a_filter_leaves_out_what_it_does_not_mean() {
        let filter = Filter { kinds: Some(vec!["work_day".to_owned()]), ..Filter::default() };
        let sections = Json::new().sections(&Contents::of(&filter, Vec::new()));
        let names: Vec<&str> = sections.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, ["exportMetadata", "user", "request", "records.work_day"]);
    }
}
