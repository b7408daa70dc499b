//! Letters: written into the sender's transaction, sealed, and handed over by a job. Refuses to name a recipient anywhere else.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use chrono::TimeDelta;
use context::{Ctx, EventId};
use db::Query;
use lettre::{Message, message::header::ContentType};
use serde::{Deserialize, Serialize};
use vault::{Aad, Sealer, TransitId};

/// A letter to one person.
#[derive(Serialize, Deserialize)]
pub struct Letter {
    to: String,
    subject: String,
    text: String,
}

const LIFETIME: TimeDelta = TimeDelta::hours(24);

impl Letter {
    /// The letter that carries a code.
    pub fn code(to: &str, code: &str) -> Self {
        let text = format!(
            "Your code: {code}\n\nIt is good for ten minutes, once. If you did not ask for it, ignore this letter.\n\n\
             Ihr Code: {code}\n\nEr gilt zehn Minuten und einmal. Wenn Sie ihn nicht angefordert haben, tun Sie nichts.\n"
        );
        Self { to: to.to_owned(), subject: format!("{code} – your code / Ihr Code"), text }
    }
}

/// The place a letter's sealed form belongs to.
pub fn place(letter: uuid::Uuid) -> Aad {
    Aad::of("letter").and(letter.as_bytes())
}

/// Puts a letter into the queue.
pub fn letter_insert(ctx: &Ctx, letter: &Letter, key: TransitId, sealer: &Sealer) -> Query {
    let id = EventId::random().0;
    let text = serde_json::to_vec(letter).expect("a letter can be written as JSON");
    Query::new(
        "-- letter_insert
        INSERT INTO auth.letters (letter_id, ring_key, sealed, next_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(key)
    .bind(sealer.seal(&place(id), &text).0)
    .bind(ctx.now())
    .bind(ctx.now() + LIFETIME)
}

/// Where letters go: one file each, in a folder that another program empties.
#[derive(Clone, Debug)]
pub struct Mailbox {
    folder: PathBuf,
    from: String,
}

/// A letter could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The letter is not well formed.
    #[error("a letter is not well formed")]
    Malformed,
    /// The folder can't be written.
    #[error("the mail folder: {0}")]
    Io(#[from] std::io::Error),
}

impl Mailbox {
    /// Letters from `from`, as `.eml` files in `folder`.
    pub fn new(folder: &Path, from: &str) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        // Letters name their recipients and carry codes.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        Ok(Self { folder: folder.into(), from: from.to_owned() })
    }

    /// Writes a letter whole or not at all.
    pub async fn deliver(&self, id: uuid::Uuid, letter: &Letter) -> Result<(), MailError> {
        let message = Message::builder()
            .from(self.from.parse().map_err(|_| MailError::Malformed)?)
            .to(letter.to.parse().map_err(|_| MailError::Malformed)?)
            .subject(&letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|_| MailError::Malformed)?;
        let half = self.folder.join(format!(".{id}.part"));
        tokio::fs::write(&half, message.formatted()).await?;
        Ok(tokio::fs::rename(&half, self.folder.join(format!("{id}.eml"))).await?)
    }
}
