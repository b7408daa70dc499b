//! A document that is given back: first whether we made it, then its records. No record is read before the proof holds, but
//! for those of a small document, to say what was changed. Once it holds, the text is one that we wrote, so it can be read
//! as a stream.
//!
//! A JSON document ends with its proof, which covers everything before it. An archive ends with its manifest, whose proof
//! covers the hashes of all other files. An archive begins with `PK`; anything else is taken for JSON.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read},
    sync::Arc,
};

use aws_lc_rs::digest::{Context, Digest, SHA256};
use domain::Fault;
use serde::Deserialize;
use serde_json::{Map, Value};
use vault::Ring;

use crate::export::{
    csv::MANIFEST_NAME,
    csv_pages::CsvPages,
    explain::explain,
    json::BEFORE_PROOF,
    json_pages::JsonPages,
    page::{Metadata, Page},
    proof::{Proof, check},
    refused::{Refused, plain, unproven},
    spool::Spool,
    unzip::{self, Entry},
};

/// A proof and the end of its JSON document fit into so many bytes.
const TAIL: u64 = 4 * 1024;
/// The largest manifest that is read, in bytes.
const MANIFEST: u64 = 256 * 1024;
/// The largest changed document, in bytes, that is read as a whole to say what was changed.
const LOOKED_THROUGH: u64 = 1024 * 1024;

/// A document that carries our proof.
pub struct Document {
    spool: Arc<Spool>,
    form: Form,
}

enum Form {
    /// JSON, of which the proof covers so many bytes.
    Json(u64),
    Archive(BTreeMap<String, Entry>),
}

/// The pages of a document's records.
pub enum Pages {
    Json(JsonPages),
    Csv(Box<CsvPages>),
}

impl Document {
    /// Checks the proof. Refuses with the faults of a document that was changed, or that is not ours; then `look` gets the
    /// records of a small one, until it returns false.
    pub fn open(ring: &Ring, spool: Spool, look: &mut dyn FnMut(Page) -> bool) -> Result<Self, Refused> {
        let spool = Arc::new(spool);
        let form = if spool.reader(0).fill_buf()?.starts_with(b"PK") {
            Form::Archive(archive(ring, &spool)?)
        } else {
            Form::Json(json(ring, &spool, look)?)
        };
        Ok(Self { spool, form })
    }

    /// Reads the metadata, and begins to read the records.
    pub fn pages(&self) -> io::Result<(Metadata, Pages)> {
        Ok(match &self.form {
            Form::Json(length) => {
                let (metadata, pages) = JsonPages::open(&self.spool, *length)?;
                (metadata, Pages::Json(pages))
            }
            Form::Archive(files) => {
                let (metadata, pages) = CsvPages::open(&self.spool, files)?;
                (metadata, Pages::Csv(Box::new(pages)))
            }
        })
    }
}

impl Pages {
    /// The next page; `None` if there are no more.
    pub fn next_page(&mut self) -> io::Result<Option<Page>> {
        match self {
            Self::Json(pages) => pages.next_page(),
            Self::Csv(pages) => pages.next_page(),
        }
    }
}

/// How many bytes of a JSON document its proof covers.
fn json(ring: &Ring, spool: &Arc<Spool>, look: &mut dyn FnMut(Page) -> bool) -> Result<u64, Refused> {
    let from = spool.size().saturating_sub(TAIL);
    let mut tail = Vec::new();
    spool.reader(from).read_to_end(&mut tail)?;
    if let Some((at, proof)) = last_member(&tail) {
        let length = from + at as u64;
        if check(ring, &proof, sha256(spool.reader(0).take(length))?.as_ref())? {
            return Ok(length);
        }
    }
    if spool.size() > LOOKED_THROUGH {
        return Err(vec![unproven()].into());
    }
    let mut text = Vec::new();
    spool.reader(0).read_to_end(&mut text)?;
    Err(explain(&text, look))
}

/// The proof at the end of a document, and where the text before it ends. `None` if it is not written as we write it.
fn last_member(tail: &[u8]) -> Option<(usize, Proof)> {
    let at = memchr::memmem::rfind(tail, BEFORE_PROOF.as_bytes())?;
    let rest = &tail[at + BEFORE_PROOF.len()..];
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter();
    let proof = values.next()?.ok()?;
    (rest[values.byte_offset()..].trim_ascii_end() == b"}").then_some((at, proof))
}

#[derive(Deserialize)]
struct Manifest {
    files: Map<String, Value>,
    proof: Proof,
}

/// The files of an archive, all of which have the hashes of the manifest.
fn archive(ring: &Ring, spool: &Arc<Spool>) -> Result<BTreeMap<String, Entry>, Refused> {
    let mut files = unzip::directory(spool)?;
    let form = || Refused::fault(MANIFEST_NAME, "is missing, or does not have the form of ours");
    let entry = files.remove(MANIFEST_NAME).filter(|entry| entry.size() <= MANIFEST).ok_or_else(form)?;
    let mut text = Vec::new();
    unpacked(entry.content(spool)?.read_to_end(&mut text))?;
    let Manifest { files: listed, proof } = serde_json::from_slice(&text).map_err(|_| form())?;
    let mut hash = Context::new(&SHA256);
    hash.update(Value::Object(listed.clone()).to_string().as_bytes());
    if !check(ring, &proof, hash.finish().as_ref())? {
        return Err(vec![unproven()].into());
    }
    let mut faults = Vec::new();
    for (name, counted) in &listed {
        match files.get(name) {
            None => faults.push(Fault::new(plain(name), "is missing")),
            Some(entry) => {
                let hash = unpacked(sha256(entry.content(spool)?))?;
                if hash.is_none_or(|hash| counted["sha256"] != hex::encode(hash)) {
                    faults.push(Fault::new(plain(name), "is not as it was exported: its SHA-256 differs"));
                }
            }
        }
    }
    let added = files.keys().filter(|name| !listed.contains_key(*name));
    faults.extend(added.map(|name| Fault::new(plain(name), "was not exported")));
    if faults.is_empty() { Ok(files) } else { Err(faults.into()) }
}

/// What was unpacked; `None` if the file is damaged.
fn unpacked<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match outcome {
        Err(error) if [InvalidData, InvalidInput, UnexpectedEof].contains(&error.kind()) => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn sha256(mut bytes: impl Read) -> io::Result<Digest> {
    let (mut hash, mut piece) = (Context::new(&SHA256), vec![0; 64 * 1024]);
    loop {
        match bytes.read(&mut piece)? {
            0 => return Ok(hash.finish()),
            count => hash.update(&piece[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use context::UserId;
    use domain::{filter::Filter, rights::export::ExportFormat};
    use serde_json::json;

    use super::*;
    use crate::export::{Contents, Part, SpoolWriter, format_of, prove};

    struct Desk {
        folder: tempfile::TempDir,
    }

    impl Desk {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().expect("a folder") }
        }

        fn ring(&self, name: &str) -> Ring {
            Ring::open_or_create(&self.folder.path().join(name), None).expect("a ring")
        }

        /// A file with so many records of each kind.
        fn file(&self, format: ExportFormat, count: usize) -> Vec<u8> {
            let (ring, mut format) = (self.ring("ours.json"), format_of(format));
            for section in format.sections(&Contents::of(&Filter::default(), ["mood".to_owned()])) {
                format.begin(&section).expect("begun");
                for part in &section.parts {
                    let item = |number: usize| match part {
                        Part::Metadata => {
                            json!({ "exportDate": "d", "exportVersion": "1.0", "userId": "+a@b.example" })
                        }
                        _ => json!({ "body": { "date": "2026-03-02", "number": number, "note": null } }),
                    };
                    let count = if part.is_single() { 1 } else { count };
                    (0..count).for_each(|number| format.item(part, &item(number)).expect("written"));
                }
                format.end().expect("ended");
            }
            let proof = |hash: &[u8]| -> io::Result<Value> {
                Ok(serde_json::to_value(prove(&ring, UserId::random(), hash).expect("proved"))?)
            };
            format.finish(&proof).expect("ended");
            format.take()
        }

        fn open(&self, ring: &str, bytes: &[u8]) -> Result<Document, Vec<String>> {
            let mut writer = SpoolWriter::create(self.folder.path(), Arc::default()).expect("begun");
            writer.write(bytes).expect("written");
            let spool = writer.finish().expect("ended");
            Document::open(&self.ring(ring), spool, &mut |_| true).map_err(|refused| match refused {
                Refused::Changed(faults) => faults.into_iter().map(|fault| fault.field).collect(),
                _ => panic!("neither ring nor disk failed"),
            })
        }

        fn faults(&self, ring: &str, bytes: &[u8]) -> Vec<String> {
            self.open(ring, bytes).err().unwrap_or_default()
        }
    }

    /// The bytes with one text in place of another of the same length, where it stands last.
    fn edited(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let at = memchr::memmem::rfind(bytes, from.as_bytes()).expect("it is there");
        let mut bytes = bytes.to_vec();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    }

    #[test]
    fn both_formats_give_all_records_back_page_by_page() {
        let desk = Desk::new();
        for format in [ExportFormat::Json, ExportFormat::Csv] {
            for count in [0, 1, 499, 500, 501, 1000] {
                let document = desk.open("ours.json", &desk.file(format, count)).expect("it is as we gave it");
                let (metadata, mut pages) = document.pages().expect("read");
                assert_eq!((metadata.export_version.as_str(), metadata.user_id.as_str()), ("1.0", "+a@b.example"));
                let mut kinds = BTreeMap::new();
                while let Some(page) = pages.next_page().expect("read") {
                    assert!(page.bodies.len() <= 500);
                    let read: &mut usize = kinds.entry(page.kind).or_default();
                    assert_eq!(*read, page.first);
                    for body in page.bodies {
                        let expected = json!({ "date": "2026-03-02", "number": *read, "note": null });
                        assert_eq!(body.expect("a body").into_inner(), expected);
                        *read += 1;
                    }
                }
                assert_eq!(kinds.len(), domain::kinds::KINDS.len() + 1);
                assert!(kinds.values().all(|read| *read == count), "{format:?} {count}: {kinds:?}");
            }
        }
    }

    #[test]
    fn a_changed_json_document_is_explained_if_it_is_small() {
        let desk = Desk::new();
        let bytes = desk.file(ExportFormat::Json, 1);
        let text = String::from_utf8(bytes.clone()).expect("text");
        let faults = |text: &str| desk.faults("ours.json", text.as_bytes());
        assert_eq!(desk.faults("theirs.json", &bytes), ["proof"], "of another service");
        let day = "\"records\":{\"contact\":[{\"body\":{\"date\":\"2026-03-02\"";
        assert_eq!(faults(&text.replacen(day, &day.replace("-02", "-03"), 1)), ["records.contact", "proof"]);
        assert_eq!(
            faults(&text.replacen("1.0", "2.0", 1)),
            ["exportMetadata.exportVersion", "exportMetadata", "proof"]
        );
        assert_eq!(faults(&text.replacen("{\"", "{\"notes\":[],\"", 1)), ["notes", "proof"]);
        assert_eq!(faults(&text.replacen("\"wordbook\":", "\"words\":", 1)), ["wordbook", "words", "proof"]);
        assert_eq!(faults(&text[..text.len() / 2]), [""], "cut off");
        assert_eq!(faults("{}"), ["exportMetadata", "manifest", "proof", "records"]);
        assert_eq!(faults("[]"), [""]);
        assert_eq!(desk.faults("ours.json", b"{\"a\":\"\xff\"}"), [""]);
        let added = text.trim_end().strip_suffix('}').expect("an object").to_owned() + ",\"more\":1}";
        assert_eq!(faults(&added), ["more", "proof"]);
        let long = "[".repeat(1024 * 1024 + 1);
        assert_eq!(faults(&long), ["proof"], "nothing of it is parsed");
    }

    #[test]
    fn a_changed_archive_is_refused_with_the_file() {
        let desk = Desk::new();
        let bytes = desk.file(ExportFormat::Csv, 1);
        let faults = |bytes: &[u8]| desk.faults("ours.json", bytes);
        assert_eq!(faults(&bytes), Vec::<String>::new());
        assert_eq!(desk.faults("theirs.json", &bytes), ["proof"], "of another service");
        assert_eq!(faults(&edited(&bytes, "2026-03-02", "2026-03-03")), ["records/mood.csv"]);
        assert_eq!(faults(&edited(&bytes, "\"rows\": 1", "\"rows\": 2")), ["proof"]);
        assert_eq!(
            faults(&edited(&bytes, "records/work_day.csv", "records/work_dag.csv")),
            ["records/work_day.csv", "records/work_dag.csv"]
        );
        assert_eq!(faults(&edited(&bytes, "manifest.json", "manifest.txt.")), ["manifest.json"]);
        assert_eq!(faults(&bytes[..bytes.len() - 1]), [""]);
        assert_eq!(faults(b"PK"), [""]);
        let directory = memchr::memmem::find(&bytes, b"PK\x01\x02").expect("a directory");
        for at in directory..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            // Dates, modes and checksums are not looked at. Whatever is accepted has the same records.
            let Ok(document) = desk.open("ours.json", &bytes) else { continue };
            let (_, mut pages) = document.pages().expect("read");
            let mut records = 0;
            while let Some(page) = pages.next_page().expect("read") {
                records += page.bodies.iter().flatten().count();
            }
            assert_eq!(records, domain::kinds::KINDS.len() + 1, "{at}");
        }
    }

    #[test]
    fn an_archive_that_unpacks_to_more_or_has_very_many_files_is_not_read() {
        use std::io::Write as _;
        let desk = Desk::new();
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        archive.start_file("records/work_day.csv", options).expect("begun");
        archive.write_all(&vec![b' '; 10_000_000]).expect("written");
        let bomb = archive.finish().expect("ended").into_inner();
        assert!(bomb.len() < 100_000);
        assert_eq!(desk.faults("ours.json", &bomb), ["records/work_day.csv"]);
        let mut many = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        (0..2000).for_each(|number| many.start_file(number.to_string(), options).expect("begun"));
        assert_eq!(desk.faults("ours.json", &many.finish().expect("ended").into_inner()), [""]);
    }
}
