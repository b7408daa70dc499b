//! Letters: stored sealed in the transaction that sends them, and handed over later by a job, to a folder or to an SMTP
//! relay. Refuses to name a recipient anywhere else.

mod error;
mod folder;
mod letter;
mod message;
mod queue;
mod relay;
mod smtp;
mod template;

use std::{path::Path, time::Duration};

use uuid::Uuid;

use crate::mail::{
    folder::Folder,
    smtp::{Connection, LONGEST},
};

pub use self::{
    error::{MailError, SetupError},
    letter::Letter,
    queue::{Leased, letter_done, letter_insert, letter_later, letter_take, place},
    relay::Relay,
};

/// The sender's address, and the folder or relay that letters go to.
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
    /// Sends letters from `from` as `.eml` files in `folder`.
    pub fn new(folder: &Path, from: &str) -> Result<Self, SetupError> {
        Ok(Self { from: sender(from)?, way: Way::Folder(Folder::open(folder)?) })
    }

    /// Sends letters from `from` over a relay.
    pub fn smtp(relay: Relay, from: &str) -> Result<Self, SetupError> {
        Ok(Self { from: sender(from)?, way: Way::Relay(Box::new(relay)) })
    }

    /// How long handing over one letter may take at most. Its lease lasts as long, so that another server may try
    /// afterwards.
    pub fn timeout(&self) -> Duration {
        match self.way {
            Way::Folder(_) => Duration::from_secs(10),
            Way::Relay(_) => LONGEST,
        }
    }

    /// Begins to hand over letters. The relay is called when the first letter comes.
    pub fn round(&self) -> Round<'_> {
        Round { mailbox: self, connection: None }
    }
}

fn sender(from: &str) -> Result<lettre::message::Mailbox, SetupError> {
    from.parse().map_err(|_| SetupError::Sender)
}

/// Hands over letters one after the other, over one connection.
pub struct Round<'a> {
    mailbox: &'a Mailbox,
    connection: Option<Connection>,
}

impl Round<'_> {
    /// Hands over a letter. When this returns without an error, the relay or the folder has the letter.
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

    /// Closes the connection, if there is one.
    pub async fn end(self) {
        if let Some(connection) = self.connection {
            connection.end().await;
        }
    }
}
