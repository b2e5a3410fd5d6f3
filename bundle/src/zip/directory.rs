//! What follows the entries: the central directory and the end records. Every word of it must agree with what was read.

use std::io::Read;

use snafu::{OptionExt, ensure};

use super::error::{InvalidSnafu, ZipError};
use super::record::{
    CENTRAL, CENTRAL_LENGTH, CentralHeader, END, END_LENGTH, END64, END64_LENGTH, Facts, Fields, LOCATOR64,
    LOCATOR64_LENGTH, widen, zip64_extra,
};
use super::source::Source;

/// An entry that was read to its end.
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) facts: Facts,
}

/// `made by` values whose upper attribute half holds Unix mode bits: Unix and macOS.
const MADE_ON_UNIX: [u8; 2] = [3, 19];

const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

const DIRECTORY: &str = "central directory";
const END_RECORD: &str = "end of central directory";

/// Reads to the end of the input and compares.
pub(super) fn check<R: Read>(source: &mut Source<R>, seen: &[Seen]) -> Result<(), ZipError> {
    let start = source.position();
    for entry in seen {
        let reason = "the central directory does not list it in its place";
        ensure!(source.is_next(CENTRAL)?, InvalidSnafu { place: &entry.name, reason });
        check_header(source, entry)?;
    }
    let reason = format!("it lists more than the {} entries that the file has", seen.len());
    ensure!(!source.is_next(CENTRAL)?, InvalidSnafu { place: DIRECTORY, reason });
    let end = source.position();
    let totals = Totals { entries: seen.len() as u64, size: end - start, offset: start };
    let has64 = source.is_next(END64)?;
    if has64 {
        check_end64(source, &totals)?;
    }
    check_end(source, &totals, has64)?;
    let reason = "there are bytes behind the end of the ZIP file";
    ensure!(source.fill()?.is_empty(), InvalidSnafu { place: "ZIP file", reason });
    Ok(())
}

/// What the end records say of the central directory.
#[derive(Debug, Eq, PartialEq)]
struct Totals {
    entries: u64,
    size: u64,
    offset: u64,
}

fn check_header<R: Read>(source: &mut Source<R>, entry: &Seen) -> Result<(), ZipError> {
    let place = &entry.name;
    let fixed = source.take(CENTRAL_LENGTH, DIRECTORY)?;
    let mut header = CentralHeader::parse(fixed.get(4..).unwrap_or_default())
        .context(InvalidSnafu { place: DIRECTORY, reason: "a header is too short" })?;
    let name = source.take(header.name_length, DIRECTORY)?;
    let extra = source.take(header.extra_length, DIRECTORY)?;
    let zip64 = zip64_extra(&extra).or_else(|reason| InvalidSnafu { place, reason }.fail())?;
    let mut wide = [&mut header.facts.size, &mut header.facts.packed, &mut header.offset];
    widen(&mut wide, zip64).or_else(|reason| InvalidSnafu { place, reason }.fail())?;
    let refused = difference(&header, &name, entry);
    match refused {
        Some(reason) => InvalidSnafu { place, reason }.fail(),
        None => Ok(()),
    }
}

fn difference(header: &CentralHeader, name: &[u8], entry: &Seen) -> Option<String> {
    let differs = |what: &str, there: &dyn std::fmt::Display, here: &dyn std::fmt::Display| {
        Some(format!("the central directory says {what} {there}, the entry itself {here}"))
    };
    let (there, here) = (&header.facts, &entry.facts);
    if name != entry.name.as_bytes() {
        differs(
            "name",
            &format!("\"{}\"", String::from_utf8_lossy(name).escape_debug()),
            &format!("\"{}\"", entry.name),
        )
    } else if there.flags != here.flags {
        differs("flags", &there.flags, &here.flags)
    } else if there.method != here.method {
        differs("compression method", &there.method, &here.method)
    } else if there.crc != here.crc {
        differs("checksum", &there.crc, &here.crc)
    } else if there.packed != here.packed {
        differs("packed size", &there.packed, &here.packed)
    } else if there.size != here.size {
        differs("size", &there.size, &here.size)
    } else if header.offset != entry.offset {
        differs("offset", &header.offset, &entry.offset)
    } else if header.disk != 0 {
        Some("it is on another disk, bundles are one file".to_owned())
    } else if header.comment_length != 0 {
        Some("it has a comment, entries of bundles have none".to_owned())
    } else {
        file_type_fault(header, entry)
    }
}

fn file_type_fault(header: &CentralHeader, entry: &Seen) -> Option<String> {
    let file_type = (header.attributes >> 16) & FILE_TYPE;
    let right = match file_type {
        0 => true,
        REGULAR => !entry.name.ends_with('/'),
        FOLDER => entry.name.ends_with('/'),
        _ => false,
    };
    (MADE_ON_UNIX.contains(&header.made_on) && !right)
        .then(|| format!("it is a symbolic link or another special file (mode {file_type:o}), must be a regular file"))
}

fn check_end64<R: Read>(source: &mut Source<R>, totals: &Totals) -> Result<(), ZipError> {
    let place = "ZIP64 end of central directory";
    let position = source.position();
    let record = source.take(END64_LENGTH, place)?;
    let mut fields = Fields(record.get(4..).unwrap_or_default());
    let read = || -> Option<(u64, u32, u32, u64, Totals)> {
        let length = fields.u64()?;
        let _versions = fields.u32()?;
        let (disk, directory_disk, here) = (fields.u32()?, fields.u32()?, fields.u64()?);
        let said = Totals { entries: fields.u64()?, size: fields.u64()?, offset: fields.u64()? };
        Some((length, disk, directory_disk, here, said))
    }();
    let right = read.as_ref().is_some_and(|(length, disk, directory_disk, here, said)| {
        *length == (END64_LENGTH - 12) as u64
            && (*disk, *directory_disk) == (0, 0)
            && *here == said.entries
            && said == totals
    });
    ensure!(right, InvalidSnafu { place, reason: "it does not say what the central directory is" });
    let place = "ZIP64 end of central directory locator";
    let record = source.take(LOCATOR64_LENGTH, place)?;
    let mut fields = Fields(&record);
    let signature = fields.bytes(4) == Some(&LOCATOR64);
    let right = signature && (fields.u32(), fields.u64(), fields.u32()) == (Some(0), Some(position), Some(1));
    ensure!(right, InvalidSnafu { place, reason: "it does not say where the record before it is" });
    Ok(())
}

fn check_end<R: Read>(source: &mut Source<R>, totals: &Totals, has64: bool) -> Result<(), ZipError> {
    let place = END_RECORD;
    let record = source.take(END_LENGTH, place)?;
    let mut fields = Fields(&record);
    let reason = "after the central directory comes something else than its end record";
    ensure!(fields.bytes(4) == Some(&END), InvalidSnafu { place, reason });
    let mut read16 = || fields.u16().map(u64::from);
    let disks = (read16(), read16());
    let entries = (read16(), read16());
    let (size, offset) = (fields.u32().map(u64::from), fields.u32().map(u64::from));
    let comment = fields.u16();
    let says = |said: Option<u64>, is: u64, full: u64| said == Some(is) || (has64 && said == Some(full));
    let full16 = u64::from(u16::MAX);
    let full32 = u64::from(u32::MAX);
    ensure!(
        says(disks.0, 0, full16) && says(disks.1, 0, full16),
        InvalidSnafu { place, reason: "the file is one part of several, bundles are one file" }
    );
    let reason = format!("it does not say that there are {} entries", totals.entries);
    ensure!(
        says(entries.0, totals.entries, full16) && says(entries.1, totals.entries, full16),
        InvalidSnafu { place, reason }
    );
    ensure!(
        says(size, totals.size, full32) && says(offset, totals.offset, full32),
        InvalidSnafu { place, reason: "it does not say where the central directory is and how long" }
    );
    ensure!(comment == Some(0), InvalidSnafu { place, reason: "the file has a comment, bundles have none" });
    Ok(())
}
