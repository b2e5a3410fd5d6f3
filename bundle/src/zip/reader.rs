//! Entries one after the other.

use std::collections::HashSet;
use std::io::{self, Read};

use flate2::Decompress;
use snafu::{OptionExt, ensure};

use super::body::{Body, Current};
use super::directory::{self, Seen};
use super::error::{InvalidSnafu, ZipError};
use super::name;
use super::record::{
    CENTRAL, DEFLATED, END, END64, FLAG_DESCRIPTOR, FLAG_UTF8, FLAGS_ENCRYPTED, FLAGS_LEVEL, Facts, LOCAL,
    LOCAL_LENGTH, LocalHeader, STORED, widen, zip64_extra,
};
use super::source::Source;

/// Caps, counted while reading.
#[derive(Clone, Copy, Debug)]
pub struct ZipLimits {
    /// Bytes of the file, and of all entries unpacked.
    pub total: u64,
    /// Bytes of one entry, unpacked.
    pub entry: u64,
    /// Entries.
    pub entries: u64,
    /// Unpacked bytes for each packed one, of a deflated entry above 1 MiB.
    pub ratio: u64,
}

/// An entry whose body comes next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Relative path with `/`; a folder's ends in one.
    pub name: String,
    /// Where in the file its bytes begin; `None` when they are deflated.
    pub stored_at: Option<u64>,
}

/// A ZIP file read front to back.
pub struct ZipStream<R> {
    source: Source<R>,
    limits: ZipLimits,
    names: HashSet<String>,
    seen: Vec<Seen>,
    current: Option<Current>,
    unpacked: u64,
    fault: Option<ZipError>,
}

impl<R: Read> ZipStream<R> {
    /// Starts at the first byte of a file.
    pub fn new(input: R, limits: ZipLimits) -> Self {
        Self {
            source: Source::new(input, limits.total),
            limits,
            names: HashSet::new(),
            seen: Vec::new(),
            current: None,
            unpacked: 0,
            fault: None,
        }
    }

    /// The next entry; `None` where the central directory begins. What was not read of the entry before is read and checked.
    ///
    /// # Errors
    /// [`ZipError`], naming the entry or the part of the file.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ZipError> {
        self.end_entry()?;
        if !self.source.is_next(LOCAL)? {
            return self.directory_comes_next().map(|()| None);
        }
        let place = || "ZIP file".to_owned();
        let too_many = || format!("it has more than {} entries", self.limits.entries);
        ensure!((self.seen.len() as u64) < self.limits.entries, InvalidSnafu { place: place(), reason: too_many() });
        let offset = self.source.position();
        let at = format!("local header at byte {offset}");
        let fixed = self.source.take(LOCAL_LENGTH, &at)?;
        let header = LocalHeader::parse(fixed.get(4..).unwrap_or_default())
            .context(InvalidSnafu { place: &at, reason: "it is too short" })?;
        let bytes = self.source.take(header.name_length, &at)?;
        let name = entry_name(bytes, header.facts.flags, &at)?;
        let extra = self.source.take(header.extra_length, &name)?;
        let mut facts = header.facts;
        let stored_at = (facts.method == STORED).then(|| self.source.position());
        let wide = local_sizes(&mut facts, &extra).or_else(|reason| InvalidSnafu { place: &name, reason }.fail())?;
        if let Some(reason) = refusal(&facts, &self.limits) {
            return InvalidSnafu { place: name, reason }.fail();
        }
        let reason = "there are two entries of this name";
        ensure!(self.names.insert(name.clone()), InvalidSnafu { place: name, reason });
        self.current = Some(Current {
            name: name.clone(),
            offset,
            inflate: (facts.method == DEFLATED).then(|| Decompress::new(false)),
            facts,
            wide,
            packed: 0,
            size: 0,
            crc: crc32fast::Hasher::new(),
            ended: false,
        });
        Ok(Some(Entry { name, stored_at }))
    }

    /// The body of the entry that was given last.
    pub fn body(&mut self) -> Body<'_, R> {
        Body { stream: self }
    }

    /// What made a [`Body`] fail, if it was the ZIP file or its input and not the one who read it.
    pub fn take_fault(&mut self) -> Option<ZipError> {
        self.fault.take()
    }

    /// Reads and checks the rest of the entry that was given last.
    ///
    /// # Errors
    /// [`ZipError`], naming the entry.
    pub fn end_entry(&mut self) -> Result<(), ZipError> {
        if self.current.is_some() {
            let copied = io::copy(&mut self.body(), &mut io::sink());
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            copied.map_err(|source| ZipError::Input { source })?;
        }
        if let Some(current) = self.current.take() {
            self.seen.push(Seen { name: current.name, offset: current.offset, facts: current.facts });
        }
        Ok(())
    }

    /// Reads everything that follows the entries, to the end of the input, and compares it with them.
    ///
    /// # Errors
    /// [`ZipError`], naming the entry or the part of the file.
    pub fn finish(mut self) -> Result<(), ZipError> {
        while self.next_entry()?.is_some() {}
        directory::check(&mut self.source, &self.seen)
    }

    pub(super) fn read_body(&mut self, out: &mut [u8]) -> Result<usize, ZipError> {
        if let Some(fault) = &self.fault {
            return Err(fault.copy());
        }
        let Some(current) = &mut self.current else { return Ok(0) };
        let mut read = current.read(&mut self.source, &self.limits, out);
        if let Ok(count) = read {
            self.unpacked += count as u64;
            if self.unpacked > self.limits.total {
                let reason = format!("unpacked it has more than {} bytes, the limit for a bundle", self.limits.total);
                read = InvalidSnafu { place: "ZIP file", reason }.fail();
            }
        }
        read.inspect_err(|error| self.fault = Some(error.copy()))
    }

    fn directory_comes_next(&mut self) -> Result<(), ZipError> {
        let position = self.source.position();
        let next = self.source.peek(4)?;
        let known = [CENTRAL, END64, END].iter().any(|signature| next.starts_with(signature));
        let reason = if position == 0 {
            "it does not begin with an entry, so it is not a ZIP file".to_owned()
        } else {
            format!("at byte {position} there is neither an entry nor the central directory")
        };
        ensure!(known, InvalidSnafu { place: "ZIP file", reason });
        Ok(())
    }
}

fn entry_name(bytes: Vec<u8>, flags: u16, place: &str) -> Result<String, ZipError> {
    let name = String::from_utf8(bytes).ok().filter(|name| name.is_ascii() || flags & FLAG_UTF8 != 0);
    let name = name.context(InvalidSnafu { place, reason: "the name is not UTF-8, or not marked as UTF-8" })?;
    match name::fault(&name) {
        Some(reason) => InvalidSnafu { place: format!("{place} (\"{}\")", name.escape_debug()), reason }.fail(),
        None => Ok(name),
    }
}

/// Puts 64-bit sizes in place and says whether there were any.
fn local_sizes(facts: &mut Facts, extra: &[u8]) -> Result<bool, &'static str> {
    let zip64 = zip64_extra(extra)?;
    widen(&mut [&mut facts.size, &mut facts.packed], zip64)?;
    Ok(zip64.is_some())
}

/// Why an entry is not read.
fn refusal(facts: &Facts, limits: &ZipLimits) -> Option<String> {
    let descriptor = facts.flags & FLAG_DESCRIPTOR != 0;
    let known = FLAG_DESCRIPTOR | FLAG_UTF8 | FLAGS_LEVEL;
    if facts.flags & FLAGS_ENCRYPTED != 0 {
        Some("it is encrypted, bundles are not".to_owned())
    } else if facts.flags & !known != 0 {
        Some(format!("its flags are {:#06x}, only level, data descriptor and UTF-8 are read", facts.flags))
    } else if facts.method != STORED && facts.method != DEFLATED {
        Some(format!("its compression method is {}, must be 0 (stored) or 8 (deflated)", facts.method))
    } else if facts.method == STORED && descriptor {
        let reason = "it is stored with its size behind its data, so a stream has no end for it: write it deflated, or to a file that the packer can seek in";
        Some(reason.to_owned())
    } else if facts.method == STORED && facts.packed != facts.size {
        Some(format!("it is stored, but its header says {} bytes packed and {} unpacked", facts.packed, facts.size))
    } else if !descriptor && facts.size > limits.entry {
        Some(format!("it has {} bytes, the limit for an entry is {}", facts.size, limits.entry))
    } else {
        None
    }
}
