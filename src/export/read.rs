//! Reading a document that we made: first whether each section is as we wrote it, then the records. Nothing is trusted
//! before the proof is checked. All faults are reported together, each with the field it is about.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use domain::{Fault, json};
use serde::Deserialize;
use serde_json::value::RawValue;
use vault::{Ring, RingError};

use crate::export::{BEFORE_PROOF, Proof, check};

const VERSION: &str = "1.0";
const APART: [&str; 3] = ["records", "manifest", "proof"];

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// A document that carries our proof.
pub struct Document<'a> {
    /// The address of the person whom the document was made for.
    pub email: String,
    pub records: BTreeMap<String, Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    export_version: String,
    user_id: String,
}

#[derive(Deserialize)]
struct Manifest {
    sections: BTreeMap<String, Counted>,
}

#[derive(Deserialize)]
struct Counted {
    sha256: String,
}

/// Reads a document, or returns its faults.
pub fn read<'a>(ring: &Ring, text: &'a str) -> Result<Result<Document<'a>, Vec<Fault>>, RingError> {
    let members: Members<'_> = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => {
            let place = format!("is not a whole JSON object (line {}, column {})", error.line(), error.column());
            return Ok(Err(vec![Fault::new("", place)]));
        }
    };
    match json::faults(text.as_bytes()) {
        Ok(doubtful) if doubtful.is_empty() => {}
        Ok(doubtful) => return Ok(Err(doubtful)),
        Err(_) => return Ok(Err(vec![Fault::new("", "is nested deeper, or has larger objects, than our files")])),
    }
    let mut faults = Vec::new();
    let metadata: Option<Metadata> = member(&members, "exportMetadata", &mut faults);
    let manifest: Option<Manifest> = member(&members, "manifest", &mut faults);
    let proof: Option<Proof> = member(&members, "proof", &mut faults);
    let lists: Option<Members<'_>> = member(&members, "records", &mut faults);
    let (Some(metadata), Some(manifest), Some(proof), Some(lists)) = (metadata, manifest, proof, lists) else {
        return Ok(Err(faults));
    };
    if metadata.export_version != VERSION {
        faults.push(Fault::new("exportMetadata.exportVersion", format!("must be {VERSION}")));
    }
    faults.extend(changed_sections(&members, &lists, &manifest));
    let proven = match before_proof(text, &members) {
        Some(before) => check(ring, &proof, digest(&SHA256, before.as_bytes()).as_ref())?,
        None => false,
    };
    if !proven {
        faults.push(Fault::new("proof", "does not fit the file: it was changed, or was not exported here"));
        // No list is parsed before the proof holds, because anybody may have written the text, and an element of two
        // bytes would take sixteen in memory.
        return Ok(Err(faults));
    }
    let mut records = BTreeMap::new();
    for (name, raw) in lists {
        match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
            Ok(list) => drop(records.insert(name, list)),
            Err(_) => faults.push(Fault::new(format!("records.{}", plain(&name)), "must be a list")),
        }
    }
    Ok(if faults.is_empty() { Ok(Document { email: metadata.user_id, records }) } else { Err(faults) })
}

fn member<'a, T: Deserialize<'a>>(members: &Members<'a>, name: &str, faults: &mut Vec<Fault>) -> Option<T> {
    let Some(raw) = members.get(name) else {
        faults.push(Fault::new(name, "is missing: only whole files that were exported here can be imported"));
        return None;
    };
    let read = serde_json::from_str(raw.get());
    read.map_err(|_| faults.push(Fault::new(name, "does not have the form of our files"))).ok()
}

/// The sections whose text differs from its hash in the manifest, that are missing, or that were added.
fn changed_sections(members: &Members<'_>, lists: &Members<'_>, manifest: &Manifest) -> Vec<Fault> {
    let mut faults = Vec::new();
    let top = members.iter().filter(|(name, _)| !APART.contains(&name.as_str()));
    let mut present: Members<'_> = top.map(|(name, raw)| (name.clone(), *raw)).collect();
    present.extend(lists.iter().map(|(name, raw)| (format!("records.{name}"), *raw)));
    for (name, counted) in &manifest.sections {
        match present.remove(name) {
            None => faults.push(Fault::new(plain(name), "is missing")),
            Some(raw) if hex::encode(digest(&SHA256, raw.get().as_bytes())) != counted.sha256 => {
                faults.push(Fault::new(plain(name), "is not as it was exported: its SHA-256 differs"));
            }
            Some(_) => {}
        }
    }
    faults.extend(present.keys().map(|name| Fault::new(plain(name), "was not exported")));
    faults
}

/// The document's text up to the proof. `None` when the proof is not written as we write it.
fn before_proof<'a>(text: &'a str, members: &Members<'_>) -> Option<&'a str> {
    let proof = members.get("proof")?.get();
    let start = (proof.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let before = text.get(..start)?.strip_suffix(BEFORE_PROOF)?;
    (text.get(start + proof.len()..)?.trim_end() == "}").then_some(before)
}

/// A name from the file, reduced to 64 harmless characters, so that an error message can hold it.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || ['_', '.'].contains(c)).take(64).collect()
}

#[cfg(test)]
mod tests {
    use context::UserId;
    use domain::filter::Filter;
    use serde_json::{Value, json};

    use super::*;
    use crate::export::{Contents, Format, Part, json::Json, prove};

    fn ring(folder: &tempfile::TempDir, name: &str) -> Ring {
        Ring::open_or_create(&folder.path().join(name), None).expect("a ring")
    }

    fn write(ring: &Ring) -> String {
        let mut json = Json::new();
        for section in json.sections(&Contents::of(&Filter::default(), Vec::new())) {
            json.begin(&section).expect("begun");
            for part in &section.parts {
                let item = match part {
                    Part::Metadata => json!({ "exportDate": "d", "exportVersion": "1.0", "userId": "a@b.example" }),
                    _ => json!({ "body": { "date": "2026-03-02" } }),
                };
                json.item(part, &item).expect("written");
            }
            json.end().expect("ended");
        }
        let user = UserId::random();
        let proof = |hash: &[u8]| -> std::io::Result<Value> {
            Ok(serde_json::to_value(prove(ring, user, hash).expect("proved"))?)
        };
        json.finish(&proof).expect("ended");
        String::from_utf8(json.take()).expect("text")
    }

    fn faults(ring: &Ring, text: &str) -> Vec<String> {
        let faults = read(ring, text).expect("the ring is there").err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn what_we_gave_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, theirs) = (ring(&folder, "ours.json"), ring(&folder, "theirs.json"));
        let text = write(&ours);
        let document = read(&ours, &text).expect("the ring is there").expect("it is as we gave it");
        assert_eq!((document.email.as_str(), document.records["work_day"].len()), ("a@b.example", 1));
        assert_eq!(faults(&theirs, &text), ["proof"], "of another service");
        let day = "\"records\":{\"contact\":[{\"body\":{\"date\":\"2026-03-02\"}}]";
        let edited = text.replacen(day, &day.replace("-02", "-03"), 1);
        assert_ne!(edited, text);
        assert_eq!(faults(&ours, &edited), ["records.contact", "proof"]);
        assert_eq!(
            faults(&ours, &text.replacen("1.0", "2.0", 1)),
            ["exportMetadata.exportVersion", "exportMetadata", "proof"]
        );
        assert_eq!(faults(&ours, &text.replacen("{\"", "{\"notes\":[],\"", 1)), ["notes", "proof"]);
        assert_eq!(faults(&ours, &text.replacen("\"wordbook\":", "\"words\":", 1)), ["wordbook", "words", "proof"]);
        assert_eq!(faults(&ours, &text[..text.len() / 2]), [""], "cut off");
        assert_eq!(faults(&ours, "{}"), ["exportMetadata", "manifest", "proof", "records"]);
        assert_eq!(faults(&ours, "[]"), [""]);
        let added = text.trim_end().strip_suffix('}').expect("an object").to_owned() + ",\"more\":1}";
        assert_eq!(faults(&ours, &added), ["more", "proof"]);
    }
}
