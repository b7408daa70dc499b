//! Letters as files: one `.eml` each, whole or not at all, in a folder that another program empties and nobody else reads.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::mail::SetupError;

/// A folder of letters.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, SetupError> {
        // Letters name their recipients and carry codes.
        fs::create_dir_all(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
            .map_err(|error| SetupError::Folder(path.into(), error))?;
        Ok(Self(path.into()))
    }

    /// Writes a letter. Written again, it takes its own place.
    pub(super) async fn write(&self, id: Uuid, message: Vec<u8>) -> std::io::Result<()> {
        let half = self.0.join(format!(".{id}.part"));
        tokio::fs::write(&half, message).await?;
        tokio::fs::rename(&half, self.0.join(format!("{id}.eml"))).await
    }
}
