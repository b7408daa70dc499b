//! Imports a person's own export. Everything is checked first, and nothing is written if anything is wrong. Then each
//! record is submitted like any other. A record that is stored already with the same body stays unchanged, so that a
//! second import changes nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use chrono::NaiveDate;
use context::{Ctx, Personal};
use db::FromRow;
use domain::{
    Body, Fault, Kind,
    fault::FAULTS,
    kinds::{kind, normalise_address},
    rights::consent::Purpose,
};
use projections::records::record::{Named, RecordRow, record_newest};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use vault::{Ring, SubjectKeys};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, Standing},
        letter::{address_of, contact},
        log::access,
        records::{
            opened::open,
            record::{self, Batch, Change, Submission},
        },
        rights::import_turn::ImportTurn,
    },
    export::{Document, read},
};

/// How many records are submitted together.
const BATCH: usize = 500;

/// What an import did to the records of a kind, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records that are new.
    pub created: usize,
    /// Records that have another body than before.
    pub updated: usize,
    /// Records that had the same body before.
    pub unchanged: usize,
}

impl Imported {
    fn count(&mut self, change: Change) {
        match change {
            Change::Created => self.created += 1,
            Change::Amended => self.updated += 1,
            Change::Unchanged => self.unchanged += 1,
        }
    }
}

/// The part of a file's record that is read.
#[derive(Deserialize)]
struct Item {
    body: Value,
}

/// The records of one kind in a file.
struct Chosen {
    kind: &'static Kind,
    records: Vec<Box<RawValue>>,
}

/// Takes the caller's turn to import, before the document is read. Refuses if nothing could be submitted now, or if the
/// same person has another import running on this server.
pub async fn admit(app: &App, ctx: &Ctx) -> Result<ImportTurn, AppError> {
    allowed(app, ctx, &[]).await?;
    app.imports.turn(ctx.subject).ok_or(AppError::ImportRuns)
}

/// Imports a document that this service exported for the same person; returns what became of the records of each kind.
/// With `dry_run` nothing is written, and the result says what would be.
pub async fn run(
    app: &App,
    ctx: &Ctx,
    text: String,
    today: NaiveDate,
    dry_run: bool,
) -> Result<BTreeMap<&'static str, Imported>, AppError> {
    let (email, keys) = own_address(app, ctx).await?;
    let chosen = check_document(app, text, email, today).await?;
    allowed(app, ctx, &chosen).await?;
    // Recorded in any case, because records are opened to be compared even if nothing is written.
    let count = chosen.iter().map(|chosen| chosen.records.len()).sum();
    access::note_read(app, ctx, keys, "import", count, if dry_run { "dry run".to_owned() } else { String::new() })
        .await?;
    let mut counts = BTreeMap::new();
    for Chosen { kind, records } in chosen {
        let counted: &mut Imported = counts.entry(kind.name()).or_default();
        for page in records.chunks(BATCH) {
            let _working = app.imports.working.acquire().await.expect("nothing closes the semaphore");
            let bodies: Vec<Body> = page.iter().filter_map(|raw| body_of(kind, raw)).collect();
            let changes = match dry_run {
                true => compare(app, ctx, kind, &bodies).await?,
                false => submit(app, ctx, kind, bodies, today).await?,
            };
            changes.into_iter().for_each(|change| counted.count(change));
        }
    }
    Ok(counts)
}

/// Reads and checks a document on a thread of its own, because a large document takes seconds.
async fn check_document(app: &App, text: String, email: String, today: NaiveDate) -> Result<Vec<Chosen>, AppError> {
    let _working = app.imports.working.acquire().await.expect("nothing closes the semaphore");
    let vault = app.vault.clone();
    let check = move || check(vault.ring(), &text, &email, today);
    tokio::task::spawn_blocking(check).await.expect("the check of a document does not panic")
}

/// The caller's own address, and their keys.
async fn own_address(app: &App, ctx: &Ctx) -> Result<(String, Arc<SubjectKeys>), AppError> {
    let reads = || [contact(ctx.subject)];
    let frame = Frame::act("import_address", ctx).shared();
    let (Standing { keys, .. }, [contact]) = frame::query(app, frame, reads).await?;
    Ok((address_of(&keys, &contact)?, keys))
}

/// Refuses if a record could not be submitted: a consent is missing, or nothing new is accepted now.
async fn allowed(app: &App, ctx: &Ctx, chosen: &[Chosen]) -> Result<(), AppError> {
    let needed: HashSet<Purpose> =
        chosen.iter().filter(|chosen| !chosen.records.is_empty()).filter_map(|chosen| chosen.kind.purpose()).collect();
    for purpose in needed.into_iter().map(Some).chain([None]) {
        frame::query(app, Frame::act("import_allowed", ctx).open_for(purpose), || []).await?;
    }
    Ok(())
}

/// What submitting these bodies would change.
async fn compare(app: &App, ctx: &Ctx, kind: &'static Kind, bodies: &[Body]) -> Result<Vec<Change>, AppError> {
    let index = frame::index_key(app, ctx).await?;
    let named: &Vec<Named> = &bodies.iter().map(|body| record::named(ctx, &index, kind, body)).collect();
    let reads = || [record_newest(named)];
    let (standing, [rows]) = frame::query(app, Frame::act("import_compare", ctx).shared(), reads).await?;
    let mut present = HashMap::new();
    for row in &rows {
        let row = RecordRow::from_row(row);
        present.insert(row.entry.key_hash.clone(), open(&standing.keys, &row)?.body);
    }
    let change = |(body, named): (&Body, &Named)| match present.get(named.key_hash.as_slice()) {
        None => Change::Created,
        Some(there) if there == body => Change::Unchanged,
        Some(_) => Change::Amended,
    };
    Ok(bodies.iter().zip(named).map(change).collect())
}

async fn submit(
    app: &App,
    ctx: &Ctx,
    kind: &'static Kind,
    bodies: Vec<Body>,
    today: NaiveDate,
) -> Result<Vec<Change>, AppError> {
    let submissions: Vec<Submission> =
        bodies.into_iter().map(|body| Submission { body, expected: None, within: None }).collect();
    let batch = Batch { operation: "import_submit", kind, submissions: &submissions, today, faults: Vec::new() };
    Ok(record::submit(app, ctx, &batch, None).await?.value.into_iter().map(|outcome| outcome.change).collect())
}

/// The body of a record in a file, in the form in which it would be stored.
fn body_of(kind: &Kind, raw: &RawValue) -> Option<Body> {
    let item: Item = serde_json::from_str(raw.get()).ok()?;
    Some(kind.normal(Personal::new(item.body)))
}

/// The records that a document submits for the person with the address `email`; refuses with all faults that it has.
fn check(ring: &Ring, text: &str, email: &str, today: NaiveDate) -> Result<Vec<Chosen>, AppError> {
    let refused = |mut faults: Vec<Fault>| {
        faults.truncate(FAULTS);
        AppError::Invalid(faults)
    };
    let document = match read(ring, text)? {
        Ok(document) => document,
        Err(mut faults) => {
            // The file was changed after the export, so the faults also name the bodies that break the rules of their
            // kinds.
            faults.extend(bodies_at_fault(text, today));
            return Err(refused(faults));
        }
    };
    // Both addresses are normalised by the present rule, because the file may be older than the rule.
    let normal = |address: &str| normalise_address(address).ok();
    let is_own = normal(email).is_some() && normal(&document.email) == normal(email);
    let (chosen, found) = choose(document, today);
    let foreign = (!is_own).then(|| Fault::new("exportMetadata.userId", "is the address of another account"));
    let faults: Vec<Fault> = foreign.into_iter().chain(found).collect();
    if faults.is_empty() { Ok(chosen) } else { Err(refused(faults)) }
}

/// The records to submit, kind by kind, and their faults. The contact is not imported, because a sign-in compares the
/// address with it.
fn choose(document: Document<'_>, today: NaiveDate) -> (Vec<Chosen>, Vec<Fault>) {
    let (mut chosen, mut faults) = (Vec::new(), Vec::new());
    for (name, records) in document.records {
        match kind(&name) {
            Some(kind) if kind.open_to_clients() => {
                faults.extend(faults_of(kind, &records, today));
                chosen.push(Chosen { kind, records: records.into_iter().map(ToOwned::to_owned).collect() });
            }
            Some(_) => {}
            None if records.is_empty() => {}
            None => faults.push(Fault::new(format!("records.{name}"), "is not a kind of record any more")),
        }
    }
    (chosen, faults)
}

fn faults_of(kind: &Kind, records: &[&RawValue], today: NaiveDate) -> Vec<Fault> {
    let (mut faults, mut seen) = (Vec::new(), HashSet::new());
    for (number, raw) in records.iter().enumerate() {
        let place = format!("records.{}[{number}]", kind.name());
        let Some(body) = body_of(kind, raw) else {
            faults.push(Fault::new(place, "must be a record with its body"));
            continue;
        };
        let found = kind.faults(&body, today);
        if found.is_empty() && !seen.insert(kind.natural_key(&body)) {
            let field = Some(kind.key_field()).filter(|field| !field.is_empty());
            let field = field.map_or_else(|| place.clone(), |field| format!("{place}.{field}"));
            faults.push(Fault::new(field, "is repeated in this file"));
        }
        faults.extend(found.into_iter().map(|fault| fault.within(&place)));
        if faults.len() >= FAULTS {
            break;
        }
    }
    faults
}

/// The longest changed file, in bytes, whose bodies are checked: lists of its records take a multiple of its size in
/// memory.
const LOOKED_THROUGH: usize = 1024 * 1024;

/// The faults of bodies that break the rules of their kinds, as far as the file can be read.
fn bodies_at_fault(text: &str, today: NaiveDate) -> Vec<Fault> {
    if text.len() > LOOKED_THROUGH {
        return Vec::new();
    }
    #[derive(Deserialize)]
    struct Loose<'a> {
        #[serde(borrow)]
        records: BTreeMap<String, Vec<&'a RawValue>>,
    }
    let Ok(loose) = serde_json::from_str::<Loose<'_>>(text) else { return Vec::new() };
    let known = loose.records.iter().filter_map(|(name, records)| Some((kind(name)?, records)));
    known.flat_map(|(kind, records)| faults_of(kind, records, today)).collect()
}
