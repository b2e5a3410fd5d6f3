//! Writing: same entries in the same order, same bytes.

use std::io::{self, Read, Seek, SeekFrom, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::record::{
    CENTRAL, DEFLATED, END, END64, END64_LENGTH, EXTRA_ZIP64, Facts, IN_ZIP64, LOCAL, LOCATOR64, STORED,
};

/// 1980-01-01 00:00, time before date.
const TIME: u32 = 0x0021 << 16;
/// Version needed: 2.0 for deflated entries, 4.5 for ZIP64.
const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// Made on Unix.
const MADE_ON: u16 = 3 << 8;
/// A regular file that everybody reads and its owner writes.
const ATTRIBUTES: u32 = 0o100_644 << 16;

/// Writes a ZIP file with fixed times and modes.
pub struct ZipWriter<W> {
    output: W,
    position: u64,
    /// Central directory of entries that were there before, and their number.
    before: (Vec<u8>, u64),
    written: Vec<Written>,
}

struct Written {
    name: String,
    facts: Facts,
    offset: u64,
}

impl<W: Write + Seek> ZipWriter<W> {
    /// Starts at the output's first byte.
    pub fn new(output: W) -> Self {
        Self::behind(output, 0, Vec::new(), 0)
    }

    /// Goes on behind entries that are in the output already, up to `position`.
    pub(super) const fn behind(output: W, position: u64, directory: Vec<u8>, entries: u64) -> Self {
        Self { output, position, before: (directory, entries), written: Vec::new() }
    }

    /// Writes one deflated entry.
    ///
    /// # Errors
    /// What the output says.
    pub fn deflated(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content)?;
        let packed = encoder.finish()?;
        let facts = Facts {
            flags: 0,
            method: DEFLATED,
            crc: crc32fast::hash(content),
            packed: packed.len() as u64,
            size: content.len() as u64,
        };
        let offset = self.position;
        self.header(name, &facts)?;
        self.put(&packed)?;
        self.written.push(Written { name: name.to_owned(), facts, offset });
        Ok(())
    }

    /// Writes one stored entry of `size` bytes.
    ///
    /// # Errors
    /// What the output or the content says, and a content that does not have `size` bytes.
    pub fn stored(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut facts = Facts { flags: 0, method: STORED, crc: 0, packed: size, size };
        let offset = self.position;
        self.header(name, &facts)?;
        let mut hashed = Hashed { output: &mut self.output, crc: crc32fast::Hasher::new() };
        let copied = copy(content, &mut hashed)?;
        facts.crc = hashed.crc.finalize();
        self.position += copied;
        if copied != size {
            let message = format!("{name} has {copied} bytes, {size} were announced: it changed while it was read");
            return Err(io::Error::other(message));
        }
        // The checksum is known only now; its place in the header is 14 bytes behind the header's start.
        self.output.seek(SeekFrom::Start(offset + 14))?;
        self.output.write_all(&facts.crc.to_le_bytes())?;
        self.output.seek(SeekFrom::Start(self.position))?;
        self.written.push(Written { name: name.to_owned(), facts, offset });
        Ok(())
    }

    /// Writes the central directory and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        let start = self.position;
        let written = std::mem::take(&mut self.written);
        let (before, entries_before) = std::mem::take(&mut self.before);
        self.put(&before)?;
        for entry in &written {
            self.central(entry)?;
        }
        let (entries, size) = (entries_before + written.len() as u64, self.position - start);
        let wide = entries >= u64::from(u16::MAX) || size >= IN_ZIP64 || start >= IN_ZIP64;
        if wide {
            self.end64(entries, size, start)?;
        }
        let count = u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes();
        self.put(&[&END[..], &[0; 4], &count, &count, &narrow(size), &narrow(start), &[0; 2]].concat())?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    fn header(&mut self, name: &str, facts: &Facts) -> io::Result<()> {
        let wide = facts.size >= IN_ZIP64 || facts.packed >= IN_ZIP64;
        // In a local header both sizes are in the extra field or none.
        let extra = if wide { zip64(&[facts.size, facts.packed]) } else { Vec::new() };
        let sizes = if wide { [u32::MAX; 2].map(u32::to_le_bytes) } else { [narrow(facts.packed), narrow(facts.size)] };
        let bytes = [
            &LOCAL[..],
            &version(wide),
            &common(facts, sizes),
            &length(name)?,
            &length(&extra)?,
            name.as_bytes(),
            &extra,
        ];
        self.put(&bytes.concat())
    }

    fn central(&mut self, entry: &Written) -> io::Result<()> {
        let facts = &entry.facts;
        let both = facts.size >= IN_ZIP64 || facts.packed >= IN_ZIP64;
        let mut values = if both { vec![facts.size, facts.packed] } else { Vec::new() };
        if entry.offset >= IN_ZIP64 {
            values.push(entry.offset);
        }
        let extra = if values.is_empty() { Vec::new() } else { zip64(&values) };
        let sizes = if both { [u32::MAX; 2].map(u32::to_le_bytes) } else { [narrow(facts.packed), narrow(facts.size)] };
        let needed = version(!values.is_empty());
        let made_by = (MADE_ON | VERSION_ZIP64).to_le_bytes();
        let bytes = [
            &CENTRAL[..],
            &made_by,
            &needed,
            &common(facts, sizes),
            &length(&entry.name)?,
            &length(&extra)?,
            // No comment, disk 0, no internal attributes.
            &[0; 6],
            &ATTRIBUTES.to_le_bytes(),
            &narrow(entry.offset),
            entry.name.as_bytes(),
            &extra,
        ];
        self.put(&bytes.concat())
    }

    fn end64(&mut self, entries: u64, size: u64, start: u64) -> io::Result<()> {
        let position = self.position.to_le_bytes();
        let length = ((END64_LENGTH - 12) as u64).to_le_bytes();
        let made_by = (MADE_ON | VERSION_ZIP64).to_le_bytes();
        let count = entries.to_le_bytes();
        let needed = version(true);
        let record = [
            &END64[..],
            &length,
            &made_by,
            &needed,
            &[0; 8],
            &count,
            &count,
            &size.to_le_bytes(),
            &start.to_le_bytes(),
        ];
        self.put(&record.concat())?;
        self.put(&[&LOCATOR64[..], &[0; 4], &position, &1_u32.to_le_bytes()].concat())
    }
}

/// Bytes that are copied at a time: layers are large, and each piece costs a call of the system on both sides.
const PIECE: usize = 256 * 1024;

fn copy(input: &mut dyn Read, output: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut copied = 0;
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        output.write_all(buffer.get(..count).unwrap_or_default())?;
        copied += count as u64;
    }
}

struct Hashed<'a, W> {
    output: &'a mut W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for Hashed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.crc.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Flags, method, time, checksum and sizes.
fn common(facts: &Facts, sizes: [[u8; 4]; 2]) -> Vec<u8> {
    let [packed, size] = sizes;
    let (flags, method) = (facts.flags.to_le_bytes(), facts.method.to_le_bytes());
    [&flags[..], &method, &TIME.to_le_bytes(), &facts.crc.to_le_bytes(), &packed, &size].concat()
}

fn version(wide: bool) -> [u8; 2] {
    if wide { VERSION_ZIP64.to_le_bytes() } else { VERSION.to_le_bytes() }
}

/// A 32-bit field, full when the value is in the ZIP64 extra field.
fn narrow(value: u64) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

fn length(bytes: impl AsRef<[u8]>) -> io::Result<[u8; 2]> {
    let length =
        u16::try_from(bytes.as_ref().len()).map_err(|_| io::Error::other("a name has more than 65535 bytes"))?;
    Ok(length.to_le_bytes())
}

fn zip64(values: &[u64]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let length = u16::try_from(data.len()).unwrap_or_default();
    [&EXTRA_ZIP64.to_le_bytes()[..], &length.to_le_bytes(), &data].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::record::{CENTRAL_LENGTH, CentralHeader, Fields, LOCAL_LENGTH, LocalHeader, widen, zip64_extra};
    use super::*;

    const LARGE: u64 = 5 << 30;

    fn large() -> Written {
        let facts = Facts { flags: 0, method: STORED, crc: 7, packed: LARGE, size: LARGE };
        Written { name: "a".to_owned(), facts, offset: 2 * LARGE }
    }

    #[test]
    fn sizes_and_offsets_above_4_gib_are_written_as_zip64() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.header("a", &large().facts).unwrap();
        zip.central(&large()).unwrap();
        let bytes = zip.output.into_inner();
        let (local, central) = bytes.split_at(LOCAL_LENGTH + 1 + 20);
        let LocalHeader { mut facts, .. } = LocalHeader::parse(&local[4..]).unwrap();
        let extra = zip64_extra(&local[LOCAL_LENGTH + 1..]).unwrap();
        widen(&mut [&mut facts.size, &mut facts.packed], extra).unwrap();
        assert_eq!(facts, large().facts);
        let CentralHeader { mut facts, mut offset, .. } = CentralHeader::parse(&central[4..]).unwrap();
        let extra = zip64_extra(&central[CENTRAL_LENGTH + 1..]).unwrap();
        widen(&mut [&mut facts.size, &mut facts.packed, &mut offset], extra).unwrap();
        assert_eq!((facts, offset), (large().facts, 2 * LARGE));
    }

    #[test]
    fn a_directory_above_4_gib_has_zip64_end_records() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.end64(1, 100, LARGE).unwrap();
        let bytes = zip.output.into_inner();
        let mut fields = Fields(&bytes[END64_LENGTH - 24..]);
        assert_eq!((fields.u64(), fields.u64(), fields.u64()), (Some(1), Some(100), Some(LARGE)));
        assert_eq!(fields.bytes(4), Some(&LOCATOR64[..]));
    }
}
