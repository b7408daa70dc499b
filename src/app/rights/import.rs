//! Imports a person's own export, a JSON document or an archive of tables. Everything is checked first, and nothing is
//! written if anything is wrong. Then each record is submitted like any other. A record that is stored already with the
//! same body stays unchanged, so that a second import changes nothing, and one that was broken off is gone on with.
//!
//! The document lies on disk, and is read page by page: once for its proof, once for its faults, once to submit it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use chrono::NaiveDate;
use context::Ctx;
use db::FromRow;
use domain::{Body, Fault, Kind, fault::FAULTS, kinds::kind, rights::consent::Purpose};
use projections::records::record::{Named, RecordRow, record_newest};
use vault::SubjectKeys;

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
        rights::{import_check::Check, import_turn::ImportTurn},
    },
    export::{Document, Metadata, Page, Pages, Refused, Spool, StoreError},
};

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

/// Takes the caller's turn to import, before the document is read. Refuses if nothing could be submitted now, or if the
/// same person has another import running on this server.
pub async fn admit(app: &App, ctx: &Ctx) -> Result<ImportTurn, AppError> {
    allowed(app, ctx, []).await?;
    app.imports.turn(ctx.subject).ok_or(AppError::ImportRuns)
}

/// Imports a document that this service exported for the same person; returns what became of the records of each kind.
/// With `dry_run` nothing is written, and the result says what would be.
pub async fn run(
    app: &App,
    ctx: &Ctx,
    spool: Spool,
    today: NaiveDate,
    dry_run: bool,
) -> Result<BTreeMap<&'static str, Imported>, AppError> {
    let (email, keys) = own_address(app, ctx).await?;
    let document = Arc::new(prove(app, spool, today).await?);
    let check = check(app, &document, &email, today).await?;
    allowed(app, ctx, check.purposes()).await?;
    // Recorded in any case, because records are opened to be compared even if nothing is written.
    let (count, details) = (check.counts().values().sum(), if dry_run { "dry run" } else { "" });
    access::note_read(app, ctx, keys, "import", count, details.to_owned()).await?;
    let mut counts: BTreeMap<_, Imported> = check.counts().keys().map(|name| (*name, Imported::default())).collect();
    // It may hold very many keys.
    drop(check);
    let (_, mut pages) = begin(&document).await?;
    loop {
        let _working = app.imports.working().await;
        let read;
        (pages, read) = next_page(pages).await?;
        let Some(page) = read else { return Ok(counts) };
        let Some(kind) = kind(&page.kind).filter(|kind| kind.open_to_clients() && !page.bodies.is_empty()) else {
            continue;
        };
        let bodies: Vec<Body> = page.bodies.into_iter().flatten().map(|body| kind.normal(body)).collect();
        let changes = match dry_run {
            true => compare(app, ctx, kind, &bodies).await?,
            false => submit(app, ctx, kind, bodies, today).await?,
        };
        let counted = counts.entry(kind.name()).or_default();
        changes.into_iter().for_each(|change| counted.count(change));
    }
}

/// Checks the proof of a document.
async fn prove(app: &App, spool: Spool, today: NaiveDate) -> Result<Document, AppError> {
    let _working = app.imports.working().await;
    let vault = app.vault.clone();
    blocking(move || {
        let mut check = Check::new(today);
        let look = &mut |page| {
            check.page(page);
            !check.is_full()
        };
        Document::open(vault.ring(), spool, look).map_err(|refused| match refused {
            Refused::Ring(error) => error.into(),
            Refused::Store(error) => error.into(),
            Refused::Changed(mut faults) => {
                // They also name the bodies that break the rules of their kinds.
                faults.extend(check.faults());
                faults.truncate(FAULTS);
                AppError::Invalid(faults)
            }
        })
    })
    .await
}

/// Reads all records of a document. Refuses with all faults that it has.
async fn check(app: &App, document: &Arc<Document>, email: &str, today: NaiveDate) -> Result<Check, AppError> {
    let (metadata, mut pages) = begin(document).await?;
    let mut check = Check::new(today);
    let mut goes_on = check.metadata(&metadata, email);
    while goes_on {
        let _working = app.imports.working().await;
        (check, pages, goes_on) = blocking(move || {
            let page = pages.next_page().map_err(unread)?;
            let goes_on = page.map(|page| check.page(page)).is_some() && !check.is_full();
            Ok((check, pages, goes_on))
        })
        .await?;
    }
    let faults = check.faults();
    if faults.is_empty() { Ok(check) } else { Err(AppError::Invalid(faults)) }
}

async fn begin(document: &Arc<Document>) -> Result<(Metadata, Pages), AppError> {
    let document = document.clone();
    blocking(move || document.pages().map_err(unread)).await
}

async fn next_page(mut pages: Pages) -> Result<(Pages, Option<Page>), AppError> {
    blocking(move || {
        let page = pages.next_page().map_err(unread)?;
        Ok((pages, page))
    })
    .await
}

/// A document can carry our proof and still be none of these, such as an archive's list of files under its proof.
fn unread(error: io::Error) -> AppError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            AppError::Invalid(vec![Fault::new("", "has another form than our files")])
        }
        _ => StoreError::from(error).into(),
    }
}

/// Reads on a thread of its own, because the disk may be slow.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(read).await.expect("reading a document does not panic")
}

/// The caller's own address, and their keys.
async fn own_address(app: &App, ctx: &Ctx) -> Result<(String, Arc<SubjectKeys>), AppError> {
    let reads = || [contact(ctx.subject)];
    let frame = Frame::act("import_address", ctx).shared();
    let (Standing { keys, .. }, [contact]) = frame::query(app, frame, reads).await?;
    Ok((address_of(&keys, &contact)?, keys))
}

/// Refuses if a record could not be submitted: a consent is missing, or nothing new is accepted now.
async fn allowed(app: &App, ctx: &Ctx, needed: impl IntoIterator<Item = Purpose>) -> Result<(), AppError> {
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
