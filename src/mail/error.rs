//! What can go wrong with mail. No message names a recipient, or quotes what a relay said about one.

use std::path::PathBuf;

/// A letter could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The letter is not well formed, or the key that sealed it is gone.
    #[error("the letter is not well formed")]
    Malformed,
    /// The folder can't be written.
    #[error("the mail folder: {0}")]
    Io(#[from] std::io::Error),
    /// No connection as it was asked for.
    #[error("the mail relay can't be reached: {0}")]
    Unreachable(String),
    /// An answer took too long.
    #[error("the mail relay did not answer in time")]
    Slow,
    /// The relay doesn't take user or password, or wants them.
    #[error("the mail relay refuses our sign-in ({0})")]
    SignIn(String),
    /// The relay doesn't take letters from our sender.
    #[error("the mail relay refuses our sender ({0})")]
    Sender(String),
    /// The connection ended, or what came over it is no SMTP.
    #[error("the exchange with the mail relay broke off")]
    Broken,
    /// A temporary refusal of this letter (4yz).
    #[error("the mail relay puts the letter off ({0})")]
    PutOff(String),
    /// A permanent refusal of this letter (5yz).
    #[error("the mail relay refuses the letter ({0})")]
    Refused(String),
    /// The recipient's address is not ASCII, and the relay has no SMTPUTF8 (RFC 6531).
    #[error("the mail relay can't take addresses that are not ASCII")]
    NotAscii,
}

impl MailError {
    /// Whether trying again is of no use.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Malformed | Self::Refused(_) | Self::NotAscii)
    }

    /// Whether every other letter would fail the same way at present.
    pub fn concerns_all(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Unreachable(_) | Self::Slow | Self::SignIn(_) | Self::Sender(_))
    }
}

/// Mail can't be set up as the command line asks.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The sender is not an address.
    #[error("--sender must be an address such as `Lethe <no-reply@klinik.example>`")]
    Sender,
    /// The folder of letters can't be made.
    #[error("{0}: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// The relay's URL is not one.
    #[error("--smtp must look like smtp://user@host:587 or smtps://user@host:465: {0}")]
    Url(&'static str),
    /// The relay's URL holds a password.
    #[error("--smtp must not hold a password: name a file of mode 0600 with --smtp-password-file")]
    PasswordInArgument,
    /// Plain text to another machine.
    #[error("--smtp smtp+plain:// is for loopback addresses such as 127.0.0.1 only: letters and passwords go in clear")]
    PlainElsewhere,
    /// A user without a password.
    #[error("--smtp names a user: name the file of the password with --smtp-password-file")]
    NoPassword,
    /// A password without a user.
    #[error("--smtp-password-file needs a user: --smtp smtp://user@host:587")]
    NoUser,
    /// Certificates for a connection without any.
    #[error("--smtp-ca is of no use with smtp+plain://")]
    CaWithoutTls,
    /// The certificates can't be used.
    #[error("{0}: {1}")]
    Ca(PathBuf, String),
    /// TLS can't be set up.
    #[error("TLS to the mail relay can't be set up: {0}")]
    Tls(String),
}
