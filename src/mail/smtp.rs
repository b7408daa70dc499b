//! Handing letters to a relay by SMTP (RFC 5321), one after the other over one connection.
//!
//! Promises a time limit for every step, and three kinds of failure: of the relay (every letter waits), of this letter
//! for now (it waits), and of this letter for good (it is dropped). `lettre`'s own transport does neither: it has no
//! time limits once it is connected, and treats a refused sign-in like a refused letter.

use std::time::Duration;

use lettre::{
    Address,
    transport::smtp::{
        Error,
        authentication::DEFAULT_MECHANISMS,
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailParameter},
    },
};

use crate::mail::{
    MailError,
    relay::{Relay, Security},
};

/// For the name's look-up, connection, TLS and greeting together.
const CONNECT: Duration = Duration::from_secs(10);
/// For the answer to one command.
const COMMAND: Duration = Duration::from_secs(30);
/// For the answer to the whole text: a client that hangs up too early sends the letter twice (RFC 5321, 4.5.3.2.6).
const TEXT: Duration = Duration::from_secs(120);
const GOODBYE: Duration = Duration::from_secs(2);

/// Longer than all steps of one letter together, so that a lease outlives them.
pub(super) const LONGEST: Duration = Duration::from_secs(300);

/// A connection that is ready for letters.
pub(super) struct Connection(AsyncSmtpConnection);

impl Relay {
    /// Connects, encrypts, and signs in.
    pub(super) async fn connect(&self) -> Result<Connection, MailError> {
        let unreachable = |error: Error| MailError::Unreachable(error.to_string());
        let mut connection = within(CONNECT, self.open()).await?.map_err(unreachable)?;
        if let Some(credentials) = &self.credentials {
            let signed_in = within(COMMAND, connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
            if let Err(error) = signed_in {
                Connection(connection).end().await;
                return Err(MailError::SignIn(reason(&error)));
            }
        }
        Ok(Connection(connection))
    }

    /// Connects and encrypts. An error's text may be shown, because no recipient has been named yet.
    async fn open(&self) -> Result<AsyncSmtpConnection, Error> {
        let (place, us) = ((self.host.as_str(), self.port), ClientId::default());
        let connect = |tls| AsyncSmtpConnection::connect_tokio1(place, Some(CONNECT), &us, tls, None);
        match &self.security {
            Security::Plain => connect(None).await,
            Security::Tls(tls) => connect(Some(tls.clone())).await,
            Security::StartTls(tls) => {
                let mut connection = connect(None).await?;
                connection.starttls(tls.clone(), &us).await?;
                Ok(connection)
            }
        }
    }
}

impl Connection {
    /// Hands over one message. After a failure the connection must not be used again.
    pub(super) async fn send(&mut self, from: &Address, to: &Address, message: &[u8]) -> Result<(), MailError> {
        let connection = &mut self.0;
        let mut parameters = Vec::new();
        if [from, to].iter().any(|address| !address.to_string().is_ascii()) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(MailError::NotAscii);
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let mail = Mail::new(Some(from.clone()), parameters);
        within(COMMAND, connection.command(mail)).await?.map_err(|error| match refusal(&error) {
            // The relay refuses our sender, so no letter is at fault.
            MailError::Refused(code) => MailError::Sender(code),
            other => other,
        })?;
        within(COMMAND, connection.command(Rcpt::new(to.clone(), Vec::new())))
            .await?
            .map_err(|error| refusal(&error))?;
        within(COMMAND, connection.command(Data)).await?.map_err(|error| refusal(&error))?;
        within(TEXT, connection.message(message)).await?.map_err(|error| refusal(&error))?;
        Ok(())
    }

    /// Says goodbye, and closes the connection even when the relay does not answer.
    pub(super) async fn end(mut self) {
        // A failure does not matter: each letter was handed over already, or its own failure was reported.
        let _ = within(GOODBYE, self.0.abort()).await;
    }
}

async fn within<T>(limit: Duration, step: impl Future<Output = T>) -> Result<T, MailError> {
    tokio::time::timeout(limit, step).await.map_err(|_| MailError::Slow)
}

/// The relay's refusal by its code alone, because its text may repeat the recipient.
fn refusal(error: &Error) -> MailError {
    match error.status() {
        Some(code) if u16::from(code) == 530 => MailError::SignIn(code.to_string()),
        Some(code) if error.is_permanent() => MailError::Refused(code.to_string()),
        Some(code) => MailError::PutOff(code.to_string()),
        None => MailError::Broken,
    }
}

/// Why a sign-in failed, without the relay's text.
fn reason(error: &Error) -> String {
    match error.status() {
        Some(code) => code.to_string(),
        None if error.is_client() => "it offers neither PLAIN nor LOGIN".to_owned(),
        None => "the exchange broke off".to_owned(),
    }
}
