//! A zip that is written as a stream, can be read as a stream, and is not compressed.
//!
//! The length of a file is known only after it was written, so it stands behind the file. A reader that can't seek must
//! still find the end. So files use the method deflate, which marks its last block, with stored blocks only (RFC 1951,
//! section 3.2.4): a length tells how much data there is, and nothing about its content. (The crate `zip` writes no
//! such blocks.) Sizes and offsets beyond 4 GiB are written as Zip64 (APPNOTE 6.3.10, sections 4.3.9, 4.3.14 and
//! 4.5.3).

/// The most bytes that one stored block holds.
const BLOCK: usize = 0xffff;
/// The value of a field of 32 bits whose number is in the Zip64 fields.
const ELSEWHERE: u64 = 0xffff_ffff;
/// General purpose flags: bit 3, the lengths stand behind the file; bit 11, names are UTF-8.
const FLAGS: u64 = (1 << 3) | (1 << 11);
const DEFLATE: u64 = 8;
const VERSION: u64 = 20;
const VERSION_64: u64 = 45;
/// The upper byte 3 means Unix.
const MADE_BY: u64 = (3 << 8) | VERSION_64;
/// 1980-01-01, the first day that a zip can hold. The export's date is inside the files.
const DAY: u64 = 0x21;
/// A regular file with mode 0600.
const MODE: u64 = 0o100_600 << 16;

#[derive(Default)]
pub struct Zip {
    out: Vec<u8>,
    /// How many bytes [`Zip::take`] has returned so far.
    taken: u64,
    files: Vec<File>,
    open: Option<Open>,
}

/// A finished file, for the directory at the end.
struct File {
    name: String,
    offset: u64,
    crc: u32,
    size: u64,
    packed: u64,
}

struct Open {
    name: String,
    offset: u64,
    crc: crc32fast::Hasher,
    size: u64,
    packed: u64,
    block: Vec<u8>,
}

/// Appends numbers in little-endian order; each comes with its number of bytes.
fn put(out: &mut Vec<u8>, numbers: &[(u64, usize)]) {
    for (number, bytes) in numbers {
        out.extend_from_slice(&number.to_le_bytes()[..*bytes]);
    }
}

impl Zip {
    fn offset(&self) -> u64 {
        self.taken + self.out.len() as u64
    }

    /// Begins a file, and ends the file before it.
    pub fn begin(&mut self, name: &str) {
        self.end();
        let offset = self.offset();
        let lengths = [(0, 4), (0, 4), (0, 4), (name.len() as u64, 2), (0, 2)];
        put(&mut self.out, &[(0x0403_4b50, 4), (VERSION, 2), (FLAGS, 2), (DEFLATE, 2), (0, 2), (DAY, 2)]);
        put(&mut self.out, &lengths);
        self.out.extend_from_slice(name.as_bytes());
        let (crc, block) = (crc32fast::Hasher::new(), Vec::with_capacity(BLOCK));
        self.open = Some(Open { name: name.to_owned(), offset, crc, size: 0, packed: 0, block });
    }

    /// Adds to the open file. Does nothing if no file is open.
    pub fn write(&mut self, mut bytes: &[u8]) {
        let Some(open) = &mut self.open else { return };
        open.crc.update(bytes);
        open.size += bytes.len() as u64;
        while !bytes.is_empty() {
            if open.block.len() == BLOCK {
                open.flush(&mut self.out, false);
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - open.block.len()));
            open.block.extend_from_slice(now);
            bytes = later;
        }
    }

    fn end(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        open.flush(&mut self.out, true);
        let Open { name, offset, crc, size, packed, .. } = open;
        let crc = crc.finalize();
        let bytes = if size.max(packed) >= ELSEWHERE { 8 } else { 4 };
        put(&mut self.out, &[(0x0807_4b50, 4), (crc.into(), 4), (packed, bytes), (size, bytes)]);
        self.files.push(File { name, offset, crc, size, packed });
    }

    pub fn finish(&mut self) {
        self.end();
        let begins = self.offset();
        for file in &self.files {
            file.list(&mut self.out);
        }
        let (ends, count) = (self.offset(), self.files.len() as u64);
        let length = ends - begins;
        if begins.max(length) >= ELSEWHERE || count >= 0xffff {
            put(&mut self.out, &[(0x0606_4b50, 4), (44, 8), (MADE_BY, 2), (VERSION_64, 2), (0, 4), (0, 4)]);
            put(&mut self.out, &[(count, 8), (count, 8), (length, 8), (begins, 8)]);
            put(&mut self.out, &[(0x0706_4b50, 4), (0, 4), (ends, 8), (1, 4)]);
        }
        let count = count.min(0xffff);
        put(&mut self.out, &[(0x0605_4b50, 4), (0, 2), (0, 2), (count, 2), (count, 2)]);
        put(&mut self.out, &[(length.min(ELSEWHERE), 4), (begins.min(ELSEWHERE), 4), (0, 2)]);
    }

    /// Takes the bytes that were written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }
}

impl Open {
    /// Writes the waiting bytes as one stored block.
    fn flush(&mut self, out: &mut Vec<u8>, last: bool) {
        let length = self.block.len() as u64;
        put(out, &[(u64::from(last), 1), (length, 2), (length ^ 0xffff, 2)]);
        out.append(&mut self.block);
        self.packed += 5 + length;
    }
}

impl File {
    /// Writes the file's entry in the directory.
    fn list(&self, out: &mut Vec<u8>) {
        let mut extra = Vec::new();
        for number in [self.size, self.packed, self.offset] {
            if number >= ELSEWHERE {
                put(&mut extra, &[(number, 8)]);
            }
        }
        let is_large = !extra.is_empty();
        let (version, extra_length) = if is_large { (VERSION_64, 4 + extra.len() as u64) } else { (VERSION, 0) };
        put(out, &[(0x0201_4b50, 4), (MADE_BY, 2), (version, 2), (FLAGS, 2), (DEFLATE, 2), (0, 2), (DAY, 2)]);
        put(out, &[(self.crc.into(), 4), (self.packed.min(ELSEWHERE), 4), (self.size.min(ELSEWHERE), 4)]);
        put(out, &[(self.name.len() as u64, 2), (extra_length, 2), (0, 2), (0, 2), (0, 2), (MODE, 4)]);
        put(out, &[(self.offset.min(ELSEWHERE), 4)]);
        out.extend_from_slice(self.name.as_bytes());
        if is_large {
            put(out, &[(1, 2), (extra.len() as u64, 2)]);
            out.append(&mut extra);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive from its beginning, as a reader does that can't seek: the header of each file, its blocks up to
    /// the last, and the lengths behind them. Panics at a compressed block.
    fn stream(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
        let number = |at: usize, length: usize| {
            zip[at..at + length].iter().rev().fold(0, |sum, byte| (sum << 8) | usize::from(*byte))
        };
        let (mut at, mut files) = (0, Vec::new());
        while number(at, 4) == 0x0403_4b50 {
            assert_eq!(number(at + 8, 2), 8, "the method is deflate");
            let (name, extra) = (number(at + 26, 2), number(at + 28, 2));
            let name = String::from_utf8(zip[at + 30..at + 30 + name].to_vec()).expect("text");
            at += 30 + name.len() + extra;
            let (mut content, mut last) = (Vec::new(), false);
            while !last {
                let length = number(at + 1, 2);
                assert_eq!(zip[at] & 0b110, 0, "the block is stored as it is");
                assert_eq!(number(at + 3, 2), length ^ 0xffff);
                last = zip[at] & 1 == 1;
                content.extend_from_slice(&zip[at + 5..at + 5 + length]);
                at += 5 + length;
            }
            assert_eq!((number(at, 4), number(at + 12, 4)), (0x0807_4b50, content.len()), "what follows is the length");
            at += 16;
            files.push((name, content));
        }
        files
    }

    #[test]
    fn an_archive_is_read_from_a_stream_and_nothing_in_it_is_compressed() {
        let sizes = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 200_000];
        let content = |size: usize| vec![b'b'; size];
        let (mut zip, mut bytes) = (Zip::default(), Vec::new());
        for size in sizes {
            zip.begin(&format!("größe/{size}.csv"));
            for part in content(size).chunks(1000) {
                zip.write(part);
            }
            bytes.extend(zip.take());
        }
        zip.finish();
        bytes.extend(zip.take());
        let expected = sizes.map(|size| (format!("größe/{size}.csv"), content(size)));
        assert!(stream(&bytes) == expected);
    }
}
