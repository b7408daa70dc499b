//! Letters: written into the sender's transaction, sealed, and handed over by a job, to a folder or to an SMTP relay.
//! Refuses to name a recipient anywhere else.

mod error;
mod folder;
mod letter;
mod message;
mod relay;
mod smtp;
mod template;

use std::{path::Path, time::Duration};

use context::{Ctx, EventId};
use db::Query;
use uuid::Uuid;
use vault::{Aad, Sealer, TransitId};

use crate::mail::{
    folder::Folder,
    smtp::{Connection, LONGEST},
};

pub use self::{
    error::{MailError, SetupError},
    letter::Letter,
    relay::Relay,
};

/// The place a letter's sealed form belongs to.
pub fn place(letter: Uuid) -> Aad {
    Aad::of("letter").and(letter.as_bytes())
}

/// Puts a letter into the queue: it leaves if the transaction commits. Any ticket will do.
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
    .bind(ctx.now() + letter.lifetime)
}

/// Where letters go.
#[derive(Clone, Debug)]
pub struct Mailbox {
    from: lettre::message::Mailbox,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Folder(Folder),
    Relay(Box<Relay>),
}

impl Mailbox {
    /// Letters from `from`, as `.eml` files in `folder`.
    pub fn new(folder: &Path, from: &str) -> Result<Self, SetupError> {
        Ok(Self { from: sender(from)?, way: Way::Folder(Folder::open(folder)?) })
    }

    /// Letters from `from`, over a relay.
    pub fn smtp(relay: Relay, from: &str) -> Result<Self, SetupError> {
        Ok(Self { from: sender(from)?, way: Way::Relay(Box::new(relay)) })
    }

    /// How long handing over one letter may take at most; then another server may try.
    pub fn patience(&self) -> Duration {
        match self.way {
            Way::Folder(_) => Duration::from_secs(10),
            Way::Relay(_) => LONGEST,
        }
    }

    /// Begins to hand over letters; a relay is called when the first one comes.
    pub fn round(&self) -> Round<'_> {
        Round { mailbox: self, connection: None }
    }
}

fn sender(from: &str) -> Result<lettre::message::Mailbox, SetupError> {
    from.parse().map_err(|_| SetupError::Sender)
}

/// Letters that are handed over one after the other.
pub struct Round<'a> {
    mailbox: &'a Mailbox,
    connection: Option<Connection>,
}

impl Round<'_> {
    /// Hands over a letter: it is with the relay, or in the folder, when this returns without an error.
    pub async fn deliver(&mut self, id: Uuid, letter: &Letter) -> Result<(), MailError> {
        let Mailbox { from, way } = self.mailbox;
        let message = letter.message(id, from)?.formatted();
        match way {
            Way::Folder(folder) => Ok(folder.write(id, message).await?),
            Way::Relay(relay) => {
                let mut connection = match self.connection.take() {
                    Some(connection) => connection,
                    None => relay.connect().await?,
                };
                let outcome = connection.send(&from.email, &letter.recipient()?, &message).await;
                match outcome {
                    Ok(()) => self.connection = Some(connection),
                    Err(_) => connection.end().await,
                }
                outcome
            }
        }
    }

    /// Ends the round.
    pub async fn end(self) {
        if let Some(connection) = self.connection {
            connection.end().await;
        }
    }
}
