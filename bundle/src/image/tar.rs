//! Members of a tar archive one after the other, with caps on what is read into memory.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

const BLOCK: u64 = 512;
/// Bytes of a long name or of a member's extended attributes that are read.
const LONGEST_EXTENSION: u64 = 64 * 1024;
/// Bytes of a member's path or of a link's target: every one of them is kept until the archive's end.
const LONGEST_PATH: usize = 1024;

/// What a member is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A regular file; its bytes come next.
    File,
    /// A symbolic link to a path relative to its own folder.
    Symlink(String),
    /// A hard link to another member.
    Hardlink(String),
    /// A folder.
    Folder,
}

/// A member of the archive.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    /// Where its bytes begin.
    pub(crate) offset: u64,
}

/// A tar archive read front to back. Reading from it gives the bytes of the current member.
pub(crate) struct TarStream<R> {
    input: R,
    /// Bytes that a member may have.
    limit: u64,
    position: u64,
    /// Bytes of the current member that were not read, and the filling behind it.
    left: u64,
    filling: u64,
}

/// What extension headers say of the member behind them.
#[derive(Default)]
struct Extensions {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl<R: Read> TarStream<R> {
    /// An archive whose members may have so many bytes each.
    pub(crate) const fn new(input: R, limit: u64) -> Self {
        Self { input, limit, position: 0, left: 0, filling: 0 }
    }

    /// The next member; `None` at the archive's end.
    pub(crate) fn next_member(&mut self) -> io::Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = extensions.size.take().map_or_else(|| header.entry_size(), Ok)?;
            let path = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            let target = header.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
            let filling = (BLOCK - size % BLOCK) % BLOCK;
            if size > self.limit || size.checked_add(filling).is_none() {
                let (path, limit) = (path.escape_debug(), self.limit);
                return invalid(format!("\"{path}\" says that it has {size} bytes, the limit is {limit}"));
            }
            (self.left, self.filling) = (size, filling);
            let kind = match header.entry_type() {
                EntryType::Regular | EntryType::Continuous => Kind::File,
                EntryType::Directory => Kind::Folder,
                EntryType::Symlink => Kind::Symlink(extensions.link.take().or(target).unwrap_or_default()),
                EntryType::Link => Kind::Hardlink(extensions.link.take().or(target).unwrap_or_default()),
                EntryType::GNULongName => {
                    extensions.path = Some(self.long_name()?);
                    continue;
                }
                EntryType::GNULongLink => {
                    extensions.link = Some(self.long_name()?);
                    continue;
                }
                EntryType::XHeader => {
                    self.attributes(&mut extensions)?;
                    continue;
                }
                EntryType::XGlobalHeader => continue,
                _ => return invalid(format!("\"{}\" is a special file", path.escape_debug())),
            };
            if kind != Kind::File && size != 0 {
                return invalid(format!("\"{}\" is no file but has {size} bytes", path.escape_debug()));
            }
            let path = normalised(&extensions.path.take().unwrap_or(path))?;
            let target = match &kind {
                Kind::Symlink(target) | Kind::Hardlink(target) => target.len(),
                Kind::File | Kind::Folder => 0,
            };
            if path.len().max(target) > LONGEST_PATH {
                return invalid(format!("a path of {} bytes, the limit is {LONGEST_PATH}", path.len().max(target)));
            }
            return Ok(Some(Member { path, kind, size, offset: self.position }));
        }
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        self.input.read_exact(header.as_mut_bytes()).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::InvalidData, "the archive is truncated"),
            _ => error,
        })?;
        self.position += BLOCK;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The checksum counts its own place as blanks.
        let in_checksum = |index: usize| (148..156).contains(&index);
        let counted = |(index, byte): (usize, &u8)| if in_checksum(index) { 32 } else { u32::from(*byte) };
        let sum: u32 = bytes.iter().enumerate().map(counted).sum();
        match header.cksum() {
            Ok(said) if said == sum => Ok(Some(header)),
            _ => invalid(format!("at byte {} is no header of a tar archive", self.position - BLOCK)),
        }
    }

    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left + self.filling;
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink())?;
        self.position += skipped;
        (self.left, self.filling) = (0, 0);
        if skipped == rest { Ok(()) } else { invalid("the archive is truncated".to_owned()) }
    }

    fn extension(&mut self) -> io::Result<Vec<u8>> {
        if self.left > LONGEST_EXTENSION {
            return invalid(format!("a name or attributes of {} bytes, the limit is {LONGEST_EXTENSION}", self.left));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn long_name(&mut self) -> io::Result<String> {
        let bytes = self.extension()?;
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn attributes(&mut self, extensions: &mut Extensions) -> io::Result<()> {
        let bytes = self.extension()?;
        for attribute in PaxExtensions::new(&bytes) {
            let attribute = attribute?;
            let value = String::from_utf8_lossy(attribute.value_bytes()).into_owned();
            match attribute.key_bytes() {
                b"path" => extensions.path = Some(value),
                b"linkpath" => extensions.link = Some(value),
                b"size" => match value.parse() {
                    Ok(size) => extensions.size = Some(size),
                    Err(_) => return invalid("a size is no number".to_owned()),
                },
                _ => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.by_ref().take(self.left).read(out)?;
        if count == 0 && self.left > 0 && !out.is_empty() {
            return invalid("the archive is truncated".to_owned());
        }
        self.left -= count as u64;
        self.position += count as u64;
        Ok(count)
    }
}

/// A relative path without `.` segments; one that could leave the archive is refused.
pub(crate) fn normalised(path: &str) -> io::Result<String> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                if segments.pop().is_none() {
                    return invalid(format!("\"{}\" leaves the archive", path.escape_debug()));
                }
            }
            name => segments.push(name),
        }
    }
    if path.starts_with('/') {
        return invalid(format!("\"{}\" is absolute", path.escape_debug()));
    }
    Ok(segments.join("/"))
}

fn invalid<T>(reason: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: EntryType, size: &[u8; 12]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_path("layer.tar").unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.as_old_mut().size = *size;
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn refused(bytes: &[u8]) -> String {
        TarStream::new(bytes, 1 << 20).next_member().unwrap_err().to_string()
    }

    #[test]
    fn a_size_that_no_file_has_is_refused_when_its_header_is_read() {
        // Base 256: the first bit set, the number in the last eight bytes.
        let largest = [0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
        for kind in [EntryType::Regular, EntryType::XGlobalHeader, EntryType::GNULongName, EntryType::Directory] {
            let message = refused(&header(kind, &largest));
            assert!(message.contains("18446744073709551615 bytes, the limit is 1048576"), "{message}");
        }
        assert!(refused(&header(EntryType::Regular, b"00004000001\0")).contains("the limit is 1048576"));
    }

    #[test]
    fn a_size_in_the_attributes_has_the_same_limit() {
        let attributes = b"29 size=18446744073709551615\n";
        let mut bytes = header(EntryType::XHeader, b"00000000035\0");
        bytes.extend_from_slice(attributes);
        bytes.resize(1024, 0);
        bytes.extend(header(EntryType::Regular, b"00000000000\0"));
        assert!(refused(&bytes).contains("18446744073709551615 bytes"), "{}", refused(&bytes));
    }

    #[test]
    fn a_file_as_large_as_the_limit_is_read() {
        let mut bytes = header(EntryType::Regular, b"00000000003\0");
        bytes.extend_from_slice(b"abc");
        bytes.resize(2048, 0);
        let mut tar = TarStream::new(&bytes[..], 3);
        assert_eq!(tar.next_member().unwrap().unwrap().size, 3);
        assert!(tar.next_member().unwrap().is_none());
    }
}
