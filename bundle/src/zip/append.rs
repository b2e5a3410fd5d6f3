//! Adding entries to a ZIP file: what is there stays byte for byte, new entries come behind it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::record::{
    CENTRAL_LENGTH, CentralHeader, END, END_LENGTH, END64, END64_LENGTH, Fields, IN_ZIP64, LOCATOR64, LOCATOR64_LENGTH,
};
use super::writer::ZipWriter;

/// The most that a central directory of a bundle may have: entries and names at their limits.
const LARGEST_DIRECTORY: u64 = 64 << 20;

/// Copies the entries of a ZIP file that was read and found right, and gives a writer for those that come behind them,
/// and the names of those that are there.
///
/// # Errors
/// What input or output say; an input that does not end as [`super::ZipStream::finish`] demands.
pub fn append<I: Read + Seek, W: Write + Seek>(
    input: &mut I,
    mut output: W,
) -> io::Result<(ZipWriter<W>, Vec<String>)> {
    let Directory { entries, size, offset } = Directory::find(input)?;
    if size > LARGEST_DIRECTORY {
        return Err(wrong());
    }
    input.seek(SeekFrom::Start(offset))?;
    let mut directory = Vec::new();
    input.take(size).read_to_end(&mut directory)?;
    input.seek(SeekFrom::Start(0))?;
    let copied = io::copy(&mut input.take(offset), &mut output)?;
    if copied != offset || directory.len() as u64 != size {
        return Err(wrong());
    }
    let names = names(&directory).ok_or_else(wrong)?;
    Ok((ZipWriter::behind(output, offset, directory, entries), names))
}

/// The names that a central directory lists.
fn names(directory: &[u8]) -> Option<Vec<String>> {
    let mut fields = Fields(directory);
    let mut names = Vec::new();
    while !fields.0.is_empty() {
        let header = CentralHeader::parse(fields.bytes(CENTRAL_LENGTH)?.get(4..)?)?;
        names.push(String::from_utf8_lossy(fields.bytes(header.name_length)?).into_owned());
        fields.bytes(header.extra_length + header.comment_length)?;
    }
    Some(names)
}

struct Directory {
    entries: u64,
    size: u64,
    offset: u64,
}

impl Directory {
    fn find<I: Read + Seek>(input: &mut I) -> io::Result<Self> {
        let end = record::<END_LENGTH, _>(input, END_LENGTH as u64)?;
        let mut fields = Fields(&end);
        let mut read = || -> Option<(bool, u64, u64, u64)> {
            let right = fields.bytes(4)? == END;
            let _disks = fields.u32()?;
            let (_, entries) = (fields.u16()?, fields.u16()?);
            let (size, offset) = (fields.u32()?, fields.u32()?);
            Some((right, entries.into(), size.into(), offset.into()))
        };
        let (true, entries, size, offset) = read().ok_or_else(wrong)? else { return Err(wrong()) };
        if entries < u64::from(u16::MAX) && size < IN_ZIP64 && offset < IN_ZIP64 {
            return Ok(Self { entries, size, offset });
        }
        let locator = record::<LOCATOR64_LENGTH, _>(input, (END_LENGTH + LOCATOR64_LENGTH) as u64)?;
        if !locator.starts_with(&LOCATOR64) {
            return Ok(Self { entries, size, offset });
        }
        let record = record::<END64_LENGTH, _>(input, (END_LENGTH + LOCATOR64_LENGTH + END64_LENGTH) as u64)?;
        let mut fields = Fields(record.get(32..).unwrap_or_default());
        match (record.starts_with(&END64), fields.u64(), fields.u64(), fields.u64()) {
            (true, Some(entries), Some(size), Some(offset)) => Ok(Self { entries, size, offset }),
            _ => Err(wrong()),
        }
    }
}

/// A record so far from the end.
fn record<const LENGTH: usize, I: Read + Seek>(input: &mut I, from_end: u64) -> io::Result<[u8; LENGTH]> {
    let size = input.seek(SeekFrom::End(0))?;
    input.seek(SeekFrom::Start(size.checked_sub(from_end).ok_or_else(wrong)?))?;
    let mut bytes = [0; LENGTH];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it does not end with the end record of a ZIP file without a comment")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::zip::{ZipLimits, ZipStream};

    fn zip(entries: usize) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for number in 0..entries {
            zip.stored(&format!("e{number}"), 1, &mut &b"x"[..]).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn appended(before: &[u8]) -> (Vec<u8>, Vec<String>) {
        let (mut zip, names) = append(&mut Cursor::new(before), Cursor::new(Vec::new())).unwrap();
        zip.stored("new", 3, &mut &b"new"[..]).unwrap();
        (zip.finish().unwrap().into_inner(), names)
    }

    #[test]
    fn entries_are_added_to_small_files_and_to_those_with_zip64_records() {
        for entries in [0, 3, 65_535] {
            let (after, names) = appended(&zip(entries));
            assert_eq!(names.len(), entries);
            let limits = ZipLimits { total: 1 << 30, entry: 1 << 30, entries: 100_000, ratio: 200 };
            let mut read = ZipStream::new(&after[..], limits);
            let mut last = None;
            let mut count = 0;
            while let Some(entry) = read.next_entry().unwrap() {
                last = Some(entry.name);
                count += 1;
            }
            assert_eq!((count, last.as_deref()), (entries + 1, Some("new")));
            read.finish().unwrap();
        }
    }

    #[test]
    fn what_does_not_end_as_a_bundle_does_is_refused() {
        let good = zip(3);
        for bad in [&b""[..], b"PK", &good[..good.len() - 1], &[&good[..], b"comment"].concat()] {
            assert!(append(&mut Cursor::new(bad), Cursor::new(Vec::new())).is_err());
        }
    }
}
