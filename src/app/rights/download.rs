//! Downloads of export files, by a person who is signed in or who has a token for one file. Each download is recorded
//! before it begins.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, ExportId, SessionId, SubjectId};
use db::FromRow;
use domain::rights::export::{ExportCommand, ExportFormat, ExportState};
use projections::rights::export::{ExportRow, export_get};
use serde::{Deserialize, Serialize};
use vault::{FileKey, Place, Sealed};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame},
        rights::export,
    },
    export::{FileName, FilePlace, FileReader, format_of},
};

/// How long a download token is valid.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// An export file that can be downloaded.
pub struct ExportFile {
    /// The size in bytes.
    pub size: u64,
    /// The entity tag, without quotes.
    pub etag: String,
    pub format: ExportFormat,
    /// The file name for the `Content-Disposition` header field.
    pub name: String,
}

/// The content of a download token, which only the server can read.
#[derive(Serialize, Deserialize)]
struct Token {
    subject: SubjectId,
    /// The session that made the token: the token ends with it.
    session: SessionId,
    export: ExportId,
    expires_at: DateTime<Utc>,
}

fn token_place() -> Place {
    Place::of("export token")
}

/// The file of a request. A request that is unknown, somebody else's, unfinished or expired is missing, so that nothing
/// tells them apart.
pub async fn file(app: &App, ctx: &Ctx, export: ExportId) -> Result<ExportFile, AppError> {
    let reads = || [export_get(ctx.subject, export)];
    let (_, [rows]) = frame::query(app, Frame::right("export_file", ctx), reads).await?;
    let row = rows.first().map(ExportRow::from_row).ok_or(AppError::NotFound("export"))?;
    file_of(ctx, &row).ok_or(AppError::NotFound("export"))
}

/// Opens the file of a request for one download, which is recorded before the first byte is read.
pub async fn open(app: &App, ctx: &Ctx, export: ExportId) -> Result<FileReader, AppError> {
    let (row, keys) = export::step(app, "export_download", ctx, export, ExportCommand::Download).await?;
    let file = file_of(ctx, &row);
    let (Some(file), Some(name), Some(key)) = (file, name_of(ctx.subject, &row), &row.file_key) else {
        return Err(AppError::NotFound("export"));
    };
    let place = FilePlace { subject: ctx.subject, export };
    let key = FileKey::unwrap(&keys, &place.key(), &Sealed::from_base64(key)?)?;
    Ok(FileReader::new(app.exports.clone(), name, key, file.size))
}

/// Makes a token that lets its holder download this one file, and returns the time when it expires. It is valid for ten
/// minutes, and only while the session that made it is alive.
pub async fn token(app: &App, ctx: &Ctx, export: ExportId) -> Result<(String, DateTime<Utc>), AppError> {
    let session = ctx.session.ok_or(AppError::SignedOut)?;
    file(app, ctx, export).await?;
    let token = Token { subject: ctx.subject, session, export, expires_at: ctx.now() + TOKEN_LIFETIME };
    // Recorded before the token leaves, because its holder needs no sign-in.
    let command = ExportCommand::MakeToken { expires_at: token.expires_at };
    export::step(app, "export_token", ctx, export, command).await?;
    let text = serde_json::to_vec(&token).expect("a token can be written as JSON");
    let sealed = app.vault.ring().token_sealer().seal(&token_place(), &text);
    Ok((URL_SAFE_NO_PAD.encode(sealed.0), token.expires_at))
}

/// The context of a request that shows a token: the person whose file it opens, and the session that made it, so that
/// every read refuses if the session has ended. `None` if the token is not ours, is for another file, or has expired.
pub fn token_holder(app: &App, ctx: &Ctx, token: &str, export: ExportId) -> Option<Ctx> {
    let sealed = Sealed(URL_SAFE_NO_PAD.decode(token).ok()?);
    let text = app.vault.ring().token_sealer().open(&token_place(), &sealed).ok()?;
    let token: Token = serde_json::from_slice(&text).ok()?;
    let good = token.export == export && ctx.now() < token.expires_at;
    good.then(|| ctx.for_subject(token.subject, Some(token.session)))
}

fn name_of(subject: SubjectId, row: &ExportRow) -> Option<FileName> {
    Some(FileName { subject, export: row.export, etag: row.etag.clone()? })
}

/// The file of a request, if it exists and has not expired.
fn file_of(ctx: &Ctx, row: &ExportRow) -> Option<ExportFile> {
    let there = row.state == ExportState::Completed
        && row.expires_at.is_some_and(|at| ctx.now() < at)
        && row.file_key.is_some();
    let (size, etag) = row.size.zip(row.etag.clone()).filter(|_| there)?;
    let day = row.ended_at.unwrap_or(row.requested_at).date_naive();
    Some(ExportFile {
        size: size.unsigned_abs(),
        etag,
        format: row.format,
        name: format!("lethe-export-{day}.{}", format_of(row.format).extension()),
    })
}
