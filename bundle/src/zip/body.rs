//! The bytes of one entry, unpacked and checked as they come.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};
use snafu::ensure;

use super::error::{InvalidSnafu, ZipError};
use super::reader::{ZipLimits, ZipStream};
use super::record::{CENTRAL, DESCRIPTOR, END, END64, FLAG_DESCRIPTOR, Facts, Fields, LOCAL};
use super::source::{Source, truncated};

/// Below this many bytes the ratio of a deflated entry says nothing.
const RATIO_COUNTS_FROM: u64 = 1 << 20;

/// The entry that is being read.
pub(super) struct Current {
    pub(super) name: String,
    pub(super) offset: u64,
    /// As the local header has them.
    pub(super) facts: Facts,
    /// Whether a data descriptor, if any, has 64-bit sizes.
    pub(super) wide: bool,
    /// `None` for stored entries.
    pub(super) inflate: Option<Decompress>,
    pub(super) packed: u64,
    pub(super) size: u64,
    pub(super) crc: crc32fast::Hasher,
    pub(super) ended: bool,
}

impl Current {
    const fn has_descriptor(&self) -> bool {
        self.facts.flags & FLAG_DESCRIPTOR != 0
    }

    fn invalid<T>(&self, reason: impl Into<String>) -> Result<T, ZipError> {
        InvalidSnafu { place: &self.name, reason }.fail()
    }

    /// Reads more unpacked bytes; 0 exactly when the entry is at its end and everything was right.
    pub(super) fn read<R: Read>(
        &mut self,
        source: &mut Source<R>,
        limits: &ZipLimits,
        out: &mut [u8],
    ) -> Result<usize, ZipError> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        let (count, at_end) = match self.inflate.take() {
            None => self.read_stored(source, out)?,
            Some(mut inflate) => {
                let read = self.read_deflated(&mut inflate, source, out);
                self.inflate = Some(inflate);
                read?
            }
        };
        self.size += count as u64;
        self.crc.update(out.get(..count).unwrap_or_default());
        self.within(limits)?;
        if at_end && count == 0 {
            self.end(source)?;
        }
        Ok(count)
    }

    fn read_stored<R: Read>(&mut self, source: &mut Source<R>, out: &mut [u8]) -> Result<(usize, bool), ZipError> {
        let left = usize::try_from(self.facts.packed - self.packed).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok((0, true));
        }
        let chunk = source.fill()?;
        let count = chunk.len().min(left).min(out.len());
        let (Some(from), Some(to)) = (chunk.get(..count), out.get_mut(..count)) else { return Ok((0, false)) };
        if count == 0 {
            return truncated(&self.name);
        }
        to.copy_from_slice(from);
        source.consume(count);
        self.packed += count as u64;
        Ok((count, false))
    }

    /// The number of bytes, and whether the deflated data is at its end.
    fn read_deflated<R: Read>(
        &mut self,
        inflate: &mut Decompress,
        source: &mut Source<R>,
        out: &mut [u8],
    ) -> Result<(usize, bool), ZipError> {
        loop {
            let left = if self.has_descriptor() { u64::MAX } else { self.facts.packed - self.packed };
            let chunk = source.fill()?;
            let available = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let before = (inflate.total_in(), inflate.total_out());
            let input = chunk.get(..available).unwrap_or_default();
            let Ok(status) = inflate.decompress(input, out, FlushDecompress::None) else {
                return self.invalid("the deflated data is damaged");
            };
            let used = inflate.total_in() - before.0;
            let count = usize::try_from(inflate.total_out() - before.1).unwrap_or(usize::MAX);
            source.consume(usize::try_from(used).unwrap_or(usize::MAX));
            self.packed += used;
            if count > 0 {
                return Ok((count, false));
            }
            if status == Status::StreamEnd {
                return Ok((0, true));
            }
            if used == 0 {
                return match available {
                    0 if left > 0 => truncated(&self.name),
                    0 => self.invalid("the deflated data does not end where the header says"),
                    _ => self.invalid("the deflated data is damaged"),
                };
            }
        }
    }

    fn within(&self, limits: &ZipLimits) -> Result<(), ZipError> {
        if self.size > limits.entry {
            return self.invalid(format!("unpacked it has more than {} bytes, the limit for an entry", limits.entry));
        }
        if self.inflate.is_some()
            && self.size > RATIO_COUNTS_FROM
            && self.size > self.packed.saturating_mul(limits.ratio)
        {
            return self.invalid(format!("it unpacks to more than {} times its bytes", limits.ratio));
        }
        if !self.has_descriptor() && self.size > self.facts.size {
            return self
                .invalid(format!("unpacked it has more than the {} bytes that its header says", self.facts.size));
        }
        Ok(())
    }

    fn end<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), ZipError> {
        let crc = self.crc.clone().finalize();
        if self.has_descriptor() {
            self.read_descriptor(source, crc)?;
            let plausible = |said: u64, is: u64| said == 0 || said == is;
            if !plausible(self.facts.crc.into(), crc.into())
                || !plausible(self.facts.packed, self.packed)
                || !plausible(self.facts.size, self.size)
            {
                return self.invalid("its header has other sizes or another checksum than what follows its data");
            }
            (self.facts.crc, self.facts.packed, self.facts.size) = (crc, self.packed, self.size);
        }
        if self.facts.packed != self.packed {
            return self.invalid("the deflated data ends before the place that the header says");
        }
        if self.facts.size != self.size {
            return self.invalid(format!("it has {} bytes, its header says {}", self.size, self.facts.size));
        }
        if self.facts.crc != crc {
            return self.invalid("its checksum (CRC-32) is not the one in its header, it is damaged");
        }
        self.ended = true;
        Ok(())
    }

    fn read_descriptor<R: Read>(&self, source: &mut Source<R>, crc: u32) -> Result<(), ZipError> {
        let place = &self.name;
        let reason = "its data is not followed by a data descriptor with signature";
        ensure!(source.is_next(DESCRIPTOR)?, InvalidSnafu { place, reason });
        let narrow = source.peek(20)?.get(16..20).is_some_and(starts_record);
        let wide = source.peek(28)?.get(24..28).is_some_and(starts_record);
        let sizes = match (narrow, wide) {
            (true, true) => {
                if self.wide {
                    16
                } else {
                    8
                }
            }
            (true, false) => 8,
            (false, true) => 16,
            (false, false) => return self.invalid("its data descriptor is not followed by another record"),
        };
        let record = source.take(8 + sizes, place)?;
        let mut fields = Fields(record.get(4..).unwrap_or_default());
        let said_crc = fields.u32();
        let (packed, size) = match sizes {
            8 => (fields.u32().map(u64::from), fields.u32().map(u64::from)),
            _ => (fields.u64(), fields.u64()),
        };
        if said_crc != Some(crc) {
            return self.invalid("its checksum (CRC-32) is not the one in its data descriptor, it is damaged");
        }
        if packed != Some(self.packed) || size != Some(self.size) {
            return self.invalid("its sizes are not those in its data descriptor");
        }
        Ok(())
    }
}

fn starts_record(bytes: &[u8]) -> bool {
    [LOCAL, CENTRAL, END64, END].iter().any(|signature| bytes == signature)
}

/// The bytes of the entry that [`ZipStream::next_entry`] gave last. Its end is only told when sizes and checksum were right.
pub struct Body<'a, R> {
    pub(super) stream: &'a mut ZipStream<R>,
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.stream.read_body(out).map_err(|error| match error {
            ZipError::Input { source } => source,
            invalid @ ZipError::Invalid { .. } => io::Error::new(io::ErrorKind::InvalidData, invalid.to_string()),
        })
    }
}
