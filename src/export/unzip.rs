//! Reads a zip as `zip.rs` writes it, from a document that anybody may have sent: files one behind the other in stored
//! blocks, a directory of their names, and no comment. Another program's zip is refused, and so is a file that would
//! unpack to more than it takes, so that nothing can blow up. (The crate `zip` reads every zip there is, and a directory
//! of millions of files into memory.)

use std::{
    collections::BTreeMap,
    io::{self, Read, Take},
    sync::Arc,
};

use flate2::read::DeflateDecoder;

use crate::export::{
    refused::{Refused, plain},
    spool::{Spool, SpoolReader},
};

/// The most files in an archive. An export has one for each kind of record, and about ten more.
const FILES: usize = 1000;
/// The longest directory, in bytes.
const DIRECTORY: u64 = 256 * 1024;
/// The lengths of the fixed parts, in bytes: the end of the archive, an entry of the directory, a file's head.
const END: u64 = 22;
const ENTRY: usize = 46;
const HEAD: u64 = 30;
const DEFLATE: u64 = 8;

/// A file of the archive.
#[derive(Clone)]
pub struct Entry {
    offset: u64,
    packed: u64,
    size: u64,
}

/// The content of a file.
pub type Content = Take<DeflateDecoder<Take<SpoolReader>>>;

impl Entry {
    /// The size of the content, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn content(&self, spool: &Arc<Spool>) -> io::Result<Content> {
        let head = bytes(spool, self.offset, HEAD)?;
        let begin = self.offset + HEAD + number(&head, 26, 2) + number(&head, 28, 2);
        Ok(DeflateDecoder::new(spool.reader(begin).take(self.packed)).take(self.size))
    }
}

/// The files of an archive by name.
pub fn directory(spool: &Arc<Spool>) -> Result<BTreeMap<String, Entry>, Refused> {
    let begins = spool.size().checked_sub(END).ok_or_else(not_whole)?;
    let end = bytes(spool, begins, END)?;
    let (count, length, begin) = (number(&end, 10, 2), number(&end, 12, 4), number(&end, 16, 4));
    // Zip64 is not read, because it is for archives beyond 4 GiB, which are not taken.
    if number(&end, 0, 4) != 0x0605_4b50 || begin + length != begins {
        return Err(not_whole());
    }
    if count > FILES as u64 || length > DIRECTORY {
        return Err(Refused::fault("", "is a zip with more files than an export has"));
    }
    let listed = bytes(spool, begin, length)?;
    let (mut listed, mut files, mut packed) = (listed.as_slice(), BTreeMap::new(), 0);
    for _ in 0..count {
        let (name, file, rest) = entry(listed).ok_or_else(not_whole)?;
        listed = rest;
        packed += file.packed;
        if file.size > file.packed || packed > begin {
            return Err(Refused::fault(&plain(&name), "is compressed: the zip must be as it was downloaded"));
        }
        if files.insert(name.clone(), file).is_some() {
            return Err(Refused::fault(&plain(&name), "stands there twice"));
        }
    }
    Ok(files)
}

/// The first entry of a directory, its name, and the entries behind it.
fn entry(listed: &[u8]) -> Option<(String, Entry, &[u8])> {
    let (fixed, rest) = listed.split_at_checked(ENTRY)?;
    let field = |at, length| number(fixed, at, length);
    let (name, rest) = rest.split_at_checked(usize::try_from(field(28, 2)).ok()?)?;
    let plainly = field(0, 4) == 0x0201_4b50 && field(10, 2) == DEFLATE && field(30, 2) == 0 && field(32, 2) == 0;
    let name = String::from_utf8(name.to_vec()).ok().filter(|_| plainly)?;
    Some((name, Entry { offset: field(42, 4), packed: field(20, 4), size: field(24, 4) }, rest))
}

fn not_whole() -> Refused {
    Refused::fault("", "is not a whole zip that was exported here")
}

fn bytes(spool: &Arc<Spool>, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    spool.reader(at).take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A number in little-endian order; 0 if the bytes end before it.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes.get(at..at + length).unwrap_or_default();
    bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
