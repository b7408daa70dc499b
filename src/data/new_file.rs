//! A file that is made whole or not at all, and never in the place of another.
//!
//! Promises: nothing stands under the name until `finish` has put the file there, on disk to the last byte; a file that is given
//! up before leaves nothing behind, and after a crash at most a hidden file whose name ends in `.part`. Refuses: a name under which
//! something stands already, a link that leads nowhere included.

use std::{
    fs,
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::data::place::sync_folder;

/// A file that is being written, mode 0600.
pub struct NewFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl NewFile {
    /// Begins a file in the folder of its name.
    pub fn create(path: &Path) -> io::Result<Self> {
        refuse_taken(path)?;
        let file = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(folder_of(path))?;
        Ok(Self { path: path.into(), file })
    }

    /// Writes a whole file.
    pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(bytes)?;
        file.finish()
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what was written so far durable, still without a name.
    pub fn sync(&self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    /// Puts the file in its place, durably. Fails where something has come to stand there meanwhile.
    pub fn finish(self) -> io::Result<()> {
        self.sync()?;
        self.file.persist_noclobber(&self.path).map_err(|error| error.error)?;
        sync_folder(&self.path)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Refuses a name under which something stands, a name that no file can have, and one in a folder that is not there.
pub fn refuse_taken(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not the name of a file"));
    }
    match fs::symlink_metadata(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something stands there already, and nothing is written over it: name another file",
        )),
        // The folder has to be there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::metadata(folder_of(path)).map(drop),
        Err(error) => Err(error),
    }
}

/// Whether two names, of files that need not be there yet, are names of one file: by the same folder, whatever it is called, or by
/// links to one file.
pub fn is_one_file(one: &Path, other: &Path) -> io::Result<bool> {
    let id = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    if let (Ok(one), Ok(other)) = (id(one), id(other)) {
        return Ok(one == other);
    }
    Ok(one.file_name() == other.file_name() && id(folder_of(one))? == id(folder_of(other))?)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one");
        let mut file = NewFile::create(&path).expect("begun");
        file.write_all(b"half").expect("written");
        assert!(!path.exists(), "it has no name yet");
        drop(file);
        assert_eq!(names(folder.path()), [""; 0], "what is given up leaves nothing");
        NewFile::write(&path, b"whole").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"whole");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["one"]);
    }

    #[test]
    fn nothing_is_written_over_anything() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "kept").expect("written");
        symlink(path("nowhere"), path("link")).expect("linked");
        for name in ["file", "link", "."] {
            let refused = NewFile::write(&path(name), b"lost").expect_err(name);
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{name}");
        }
        // A file that comes to stand there while the other is written stays as well.
        let late = NewFile::create(&path("late")).expect("begun");
        fs::write(path("late"), "kept").expect("written");
        assert_eq!(late.finish().expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
        for name in ["file", "late"] {
            assert_eq!(fs::read_to_string(path(name)).expect("read"), "kept");
        }
        assert_eq!(names(folder.path()), ["file", "late", "link"]);
    }

    #[test]
    fn one_file_is_known_by_all_its_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("a")).expect("made");
        fs::create_dir(path("b")).expect("made");
        symlink(path("a"), path("c")).expect("linked");
        let same = |one: &str, other: &str| is_one_file(&path(one), &path(other)).expect("looked at");
        assert!(same("a/x", "a/x") && same("a/x", "a/../a/./x") && same("a/x", "c/x"));
        assert!(!same("a/x", "b/x") && !same("a/x", "a/y"));
        fs::write(path("a/x"), "").expect("written");
        fs::hard_link(path("a/x"), path("b/y")).expect("linked");
        symlink(path("a/x"), path("b/z")).expect("linked");
        assert!(same("a/x", "b/y") && same("a/x", "b/z") && !same("a/x", "b/x"));
    }
}
