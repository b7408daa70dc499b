//! Errors of mail. No message names a recipient, or quotes a relay's words about one.

use std::path::PathBuf;

/// Why a letter was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The letter can't be read or its address is not valid, or the key that sealed it is gone.
    #[error("the letter is not well formed")]
    Malformed,
    /// The folder of letters can't be written.
    #[error("the mail folder: {0}")]
    Io(#[from] std::io::Error),
    /// The relay can't be reached with the security that was asked for.
    #[error("the mail relay can't be reached: {0}")]
    Unreachable(String),
    /// An answer of the relay took too long.
    #[error("the mail relay did not answer in time")]
    Slow,
    /// The relay refuses the user or the password, or asks for them.
    #[error("the mail relay refuses our sign-in ({0})")]
    SignIn(String),
    /// The relay does not take letters from our sender.
    #[error("the mail relay refuses our sender ({0})")]
    Sender(String),
    /// The connection ended, or the relay's answer is not SMTP.
    #[error("the exchange with the mail relay broke off")]
    Broken,
    /// The relay refuses this letter for now (4yz).
    #[error("the mail relay puts the letter off ({0})")]
    PutOff(String),
    /// The relay refuses this letter for good (5yz).
    #[error("the mail relay refuses the letter ({0})")]
    Refused(String),
    /// The recipient's address is not ASCII, and the relay has no SMTPUTF8 (RFC 6531).
    #[error("the mail relay can't take addresses that are not ASCII")]
    NotAscii,
}

impl MailError {
    /// Whether another try is useless.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Malformed | Self::Refused(_) | Self::NotAscii)
    }

    /// Whether every other letter would fail in the same way now.
    pub fn concerns_all(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Unreachable(_) | Self::Slow | Self::SignIn(_) | Self::Sender(_))
    }
}

/// Why mail can't be set up as the command line asks.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("--sender must be an address such as `Lethe <no-reply@klinik.example>`")]
    Sender,
    #[error("{0}: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// The relay's URL can't be read; holds the reason.
    #[error("--smtp must look like smtp://user@host:587 or smtps://user@host:465: {0}")]
    Url(&'static str),
    #[error("--smtp must not hold a password: name a file of mode 0600 with --smtp-password-file")]
    PasswordInArgument,
    /// The URL asks for plain text to another machine.
    #[error("--smtp smtp+plain:// is for loopback addresses such as 127.0.0.1 only: letters and passwords go in clear")]
    PlainElsewhere,
    /// The URL names a user, and no password is given.
    #[error("--smtp names a user: name the file of the password with --smtp-password-file")]
    NoPassword,
    /// A password is given, and the URL names no user.
    #[error("--smtp-password-file needs a user: --smtp smtp://user@host:587")]
    NoUser,
    /// Certificates are given for a connection without TLS.
    #[error("--smtp-ca is of no use with smtp+plain://")]
    CaWithoutTls,
    /// The file of certificates can't be read or holds none.
    #[error("{0}: {1}")]
    Ca(PathBuf, String),
    #[error("TLS to the mail relay can't be set up: {0}")]
    Tls(String),
}
