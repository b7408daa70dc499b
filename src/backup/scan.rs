//! Searching raw bytes: whether a text is anywhere below a folder, as it is or in a usual encoding.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use memchr::memmem::Finder;

const PART: usize = 1 << 20;

/// A text in all encodings that are searched for.
pub struct Needle {
    finders: Vec<Finder<'static>>,
    longest: usize,
}

impl Needle {
    /// The text in UTF-8, UTF-16 and hexadecimal, and in base64 at each of its three offsets.
    pub fn new(text: &str) -> Self {
        let hex = hex::encode(text);
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut needles =
            vec![text.as_bytes().to_vec(), wide, hex.clone().into_bytes(), hex.to_uppercase().into_bytes()];
        for before in 0..3_usize {
            // The characters at both ends that also depend on neighbouring bytes are left out.
            let (first, last) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
            let longer = [&vec![0; before], text.as_bytes()].concat();
            needles.push(STANDARD.encode(&longer).as_bytes()[first..last].to_vec());
        }
        let longest = needles.iter().map(Vec::len).max().unwrap_or_default();
        Self { finders: needles.iter().map(|needle| Finder::new(needle).into_owned()).collect(), longest }
    }

    /// The files below a folder that hold the text, and how many files were searched. Folders and files named in `but`
    /// are left out.
    pub fn below(&self, folder: &Path, but: &[&str]) -> io::Result<(Vec<PathBuf>, usize)> {
        let (mut found, mut searched) = (Vec::new(), 0);
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            // Links are followed, because the cluster may lie elsewhere. A file that disappears meanwhile, such as a
            // server's temporary file, is skipped.
            let Ok(kind) = std::fs::metadata(&path) else { continue };
            if path.file_name().is_some_and(|name| but.iter().any(|other| name == *other)) {
                continue;
            }
            if kind.is_dir() {
                let (more, count) = self.below(&path, but)?;
                found.extend(more);
                searched += count;
            } else if kind.is_file() {
                match self.stands_in(&path) {
                    Ok(true) => found.push(path),
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                searched += 1;
            }
        }
        Ok((found, searched))
    }

    fn stands_in(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::with_capacity(PART + self.longest);
        loop {
            let kept = bytes.len();
            let read = file.by_ref().take(PART as u64).read_to_end(&mut bytes)?;
            if self.finders.iter().any(|finder| finder.find(&bytes).is_some()) {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            // The end of this part is kept, so that a text across two parts is found.
            let keep = self.longest.min(kept + read);
            bytes.drain(..bytes.len() - keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_every_encoding_and_across_parts() {
        let folder = tempfile::tempdir().expect("a folder");
        let wanted = Needle::new("zqkanarienvogel");
        let stands = |bytes: &[u8]| {
            std::fs::write(folder.path().join("file"), bytes).expect("written");
            wanted.below(folder.path(), &[]).expect("searched").0.len() == 1
        };
        assert!(!stands(b"nothing of the kind"));
        for before in 0..4 {
            let text = [&vec![b'.'; before], "zqkanarienvogel and more".as_bytes()].concat();
            assert!(
                stands(&text) && stands(STANDARD.encode(&text).as_bytes()) && stands(hex::encode(&text).as_bytes())
            );
        }
        let across = [vec![b'.'; PART - 5], b"zqkanarienvogel".to_vec()].concat();
        assert!(stands(&across));
        assert!(!stands(&across[..PART + 8]));
        std::fs::create_dir(folder.path().join("mail")).expect("made");
        std::fs::write(folder.path().join("mail/letter"), "zqkanarienvogel").expect("written");
        assert_eq!(wanted.below(folder.path(), &["mail"]).expect("searched").0.len(), 0);
    }
}
