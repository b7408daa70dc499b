//! The records of an archive of ours, page by page, in flat memory. Its files have the hashes of a manifest with our
//! proof, so they have the form in which `csv.rs` writes them.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use context::Personal;
use domain::Body;

use crate::export::{
    columns::{Column, RECORD, body_of, columns_of},
    csv::{RECORDS, SUMMARY_NAME},
    page::{Metadata, PAGE, Page},
    spool::Spool,
    spreadsheet::unguarded,
    unzip::{Content, Entry},
};

pub struct CsvPages {
    spool: Arc<Spool>,
    /// The tables that were not begun yet, by kind.
    tables: VecDeque<(String, Entry)>,
    open: Option<Table>,
}

impl CsvPages {
    pub fn open(spool: &Arc<Spool>, files: &BTreeMap<String, Entry>) -> io::Result<(Metadata, Self)> {
        let summary = files.get(SUMMARY_NAME).ok_or_else(other_form)?;
        let kind = |name: &str| Some(name.strip_prefix(RECORDS)?.strip_suffix(".csv")?.to_owned());
        let tables = files.iter().filter_map(|(name, entry)| Some((kind(name)?, entry.clone()))).collect();
        Ok((
            metadata(csv::Reader::from_reader(summary.content(spool)?))?,
            Self { spool: spool.clone(), tables, open: None },
        ))
    }

    pub fn next_page(&mut self) -> io::Result<Option<Page>> {
        if self.open.is_none() {
            let Some((kind, entry)) = self.tables.pop_front() else { return Ok(None) };
            self.open = Some(Table::open(kind, entry.content(&self.spool)?)?);
        }
        let table = self.open.as_mut().ok_or_else(other_form)?;
        let page = table.page()?;
        if page.bodies.len() < PAGE {
            self.open = None;
        }
        Ok(Some(page))
    }
}

/// The part of `export.csv` that names the document's version and address. It stands first.
fn metadata(mut summary: csv::Reader<Content>) -> io::Result<Metadata> {
    let (mut version, mut address) = (None, None);
    for row in summary.records() {
        let row = row?;
        let value = || row.get(2).map(|cell| unguarded(cell).to_owned());
        match (row.get(0), row.get(1)) {
            (Some("metadata"), Some("exportVersion")) => version = value(),
            (Some("metadata"), Some("userId")) => address = value(),
            (Some("metadata"), _) => {}
            _ => break,
        }
    }
    let (export_version, user_id) = version.zip(address).ok_or_else(other_form)?;
    Ok(Metadata { export_version, user_id })
}

struct Table {
    kind: String,
    columns: Vec<Column>,
    rows: csv::Reader<Content>,
    /// How many rows were read.
    count: usize,
}

impl Table {
    /// Reads the names of the columns. They are those of the version that wrote the file.
    fn open(kind: String, content: Content) -> io::Result<Self> {
        let mut rows = csv::Reader::from_reader(content);
        let known = columns_of(&kind);
        let named = |name: &str| match known.iter().find(|column| column.name == name) {
            Some(column) => column.clone(),
            // The present version has no such field, and says so of every value.
            None => Column { name: name.to_owned(), is_text: true },
        };
        let names = rows.headers()?;
        let fields = names.len().checked_sub(RECORD.len() + 1).ok_or_else(other_form)?;
        let columns = names.iter().skip(RECORD.len()).take(fields).map(named).collect();
        Ok(Self { kind, columns, rows, count: 0 })
    }

    fn page(&mut self) -> io::Result<Page> {
        let (first, mut bodies) = (self.count, Vec::new());
        for row in self.rows.records().take(PAGE) {
            let row = row?;
            let body = body_of(&self.columns, row.iter().skip(RECORD.len()).collect::<Vec<_>>().into_iter());
            bodies.push(body.map(|body| Body::from(Personal::new(body.into()))));
        }
        self.count += bodies.len();
        Ok(Page { kind: self.kind.clone(), first, bodies })
    }
}

fn other_form() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an archive with our proof has another form")
}
