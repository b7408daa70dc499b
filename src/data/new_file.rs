//! A file that is made whole or not at all, and never over another file.
//!
//! Promises: nothing has the file's name until `finish` has put the whole file there, on disk to the last byte. A file
//! that is dropped before `finish` leaves nothing behind; a crash leaves at most a hidden file whose name ends in
//! `.part`. Refuses: a name that is taken already, also by a link that leads nowhere.

use std::{
    fs,
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::data::home::sync_folder;

/// A file that is being written, with mode 0600.
pub struct NewFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl NewFile {
    /// Begins a hidden file in the folder that the finished file will be in.
    pub fn create(path: &Path) -> io::Result<Self> {
        refuse_taken(path)?;
        let file = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(folder_of(path))?;
        Ok(Self { path: path.into(), file })
    }

    /// Writes a whole file in one call.
    pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(bytes)?;
        file.finish()
    }

    /// The name that the file will have once it is finished.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the bytes written so far to disk, without giving the file its name yet.
    pub fn sync(&self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    /// Gives the file its name, durably. Fails when the name has been taken meanwhile.
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

/// Refuses a name that is taken, a path without a file name, and a folder that does not exist.
pub fn refuse_taken(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not the name of a file"));
    }
    match fs::symlink_metadata(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something stands there already, and nothing is written over it: name another file",
        )),
        // The name is free; its folder must exist.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::metadata(folder_of(path)).map(drop),
        Err(error) => Err(error),
    }
}

/// Whether two paths name one file. Neither file needs to exist: the folders are compared by device and inode, and
/// existing files too, so that links are seen.
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
        // A file that takes the name while the other is being written is not overwritten either.
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
