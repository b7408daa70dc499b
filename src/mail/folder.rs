//! Letters as files: one `.eml` for each, written whole or not at all. Another program empties the folder, and nobody
//! else can read it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::mail::SetupError;

#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Opens the folder, and creates it if it does not exist. Nobody else may read it, because letters name their
    /// recipients and carry codes.
    pub(super) fn open(path: &Path) -> Result<Self, SetupError> {
        fs::create_dir_all(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
            .map_err(|error| SetupError::Folder(path.into(), error))?;
        Ok(Self(path.into()))
    }

    /// Writes a letter. Writing the same letter again replaces the file.
    pub(super) async fn write(&self, id: Uuid, message: Vec<u8>) -> std::io::Result<()> {
        let half = self.0.join(format!(".{id}.part"));
        tokio::fs::write(&half, message).await?;
        tokio::fs::rename(&half, self.0.join(format!("{id}.eml"))).await
    }
}
