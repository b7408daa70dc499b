//! How the log is reached: a connection string without a password, and a password from a file that only its owner can
//! read.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, str::FromStr};

use sqlx::postgres::PgConnectOptions;

use crate::error::AuditError;

pub fn connect_options(url: &str, password_file: Option<&Path>) -> Result<PgConnectOptions, AuditError> {
    if holds_password(url) {
        return Err(AuditError::PasswordInArgument);
    }
    let options = PgConnectOptions::from_str(url)?.application_name("lethe-audit");
    Ok(match password_file {
        Some(path) => options.password(&read_secret(path)?),
        None => options,
    })
}

/// Whether a connection string holds a password, in its authority or among its parameters.
fn holds_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let in_authority = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    let parameters = tail.split_once('?').map_or("", |(_, parameters)| parameters);
    in_authority || parameters.split('&').any(|parameter| parameter.starts_with("password="))
}

/// Reads a secret from a file of mode 0600, without the line breaks at its end.
pub fn read_secret(path: &Path) -> Result<String, AuditError> {
    let io = |error| AuditError::PasswordFile(path.into(), error);
    if fs::metadata(path).map_err(io)?.permissions().mode() & 0o077 != 0 {
        return Err(AuditError::TooOpen(path.into()));
    }
    Ok(fs::read_to_string(path).map_err(io)?.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_password_in_the_connection_string_is_refused() {
        for wrong in [
            "postgresql://lethe_auditor:secret@db/lethe",
            "postgresql://lethe_auditor:@db/lethe",
            "postgresql:///lethe?host=/run&user=lethe_auditor&password=secret",
            "postgresql://db?password=secret",
        ] {
            assert!(matches!(connect_options(wrong, None), Err(AuditError::PasswordInArgument)), "{wrong}");
        }
        for right in ["postgresql://lethe_auditor@db:5433/lethe", "postgresql:///lethe?host=/run/l&user=lethe_auditor"]
        {
            assert_eq!(connect_options(right, None).expect(right).get_username(), "lethe_auditor");
        }
    }

    #[test]
    fn a_password_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        fs::write(&path, "secret\n").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(read_secret(&path), Err(AuditError::TooOpen(_))));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
        assert_eq!(read_secret(&path).expect("read"), "secret");
    }
}
