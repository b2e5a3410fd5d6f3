//! The fixed parts of a ZIP file's records, little endian.

pub(super) const LOCAL: [u8; 4] = *b"PK\x03\x04";
pub(super) const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
pub(super) const CENTRAL: [u8; 4] = *b"PK\x01\x02";
pub(super) const END64: [u8; 4] = *b"PK\x06\x06";
pub(super) const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
pub(super) const END: [u8; 4] = *b"PK\x05\x06";

/// Lengths of the fixed parts, signature included.
pub(super) const LOCAL_LENGTH: usize = 30;
pub(super) const CENTRAL_LENGTH: usize = 46;
pub(super) const END64_LENGTH: usize = 56;
pub(super) const LOCATOR64_LENGTH: usize = 20;
pub(super) const END_LENGTH: usize = 22;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

/// Flag: sizes and checksum follow the data.
pub(super) const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Flag: the name is UTF-8.
pub(super) const FLAG_UTF8: u16 = 1 << 11;
/// Flags that mean nothing but how hard the packer tried.
pub(super) const FLAGS_LEVEL: u16 = 0b110;
/// Flags that say that something is encrypted.
pub(super) const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// Extra field with 64-bit sizes.
pub(super) const EXTRA_ZIP64: u16 = 0x0001;
/// Extra field with another name for the entry.
pub(super) const EXTRA_UNICODE_PATH: u16 = 0x7075;

/// In a 32-bit field: the value is in the ZIP64 extra field.
pub(super) const IN_ZIP64: u64 = u32::MAX as u64;

/// Takes little-endian numbers off the front.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

/// What local and central headers both say of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    /// Bytes in the file.
    pub(super) packed: u64,
    /// Bytes unpacked.
    pub(super) size: u64,
}

/// A local header's fixed part.
pub(super) struct LocalHeader {
    pub(super) facts: Facts,
    pub(super) name_length: usize,
    pub(super) extra_length: usize,
}

impl LocalHeader {
    /// Reads what follows the signature.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let _version_needed = fields.u16()?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        let _time_and_date = fields.u32()?;
        let crc = fields.u32()?;
        let packed = fields.u32()?.into();
        let size = fields.u32()?.into();
        let facts = Facts { flags, method, crc, packed, size };
        Some(Self { facts, name_length: fields.u16()?.into(), extra_length: fields.u16()?.into() })
    }
}

/// A central directory header's fixed part.
pub(super) struct CentralHeader {
    pub(super) facts: Facts,
    pub(super) made_on: u8,
    pub(super) name_length: usize,
    pub(super) extra_length: usize,
    pub(super) comment_length: usize,
    pub(super) disk: u16,
    pub(super) attributes: u32,
    pub(super) offset: u64,
}

impl CentralHeader {
    /// Reads what follows the signature.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let [_, made_on] = fields.u16()?.to_le_bytes();
        let common = LocalHeader::parse(fields.bytes(LOCAL_LENGTH - 4)?)?;
        Some(Self {
            facts: common.facts,
            made_on,
            name_length: common.name_length,
            extra_length: common.extra_length,
            comment_length: fields.u16()?.into(),
            disk: fields.u16()?,
            attributes: {
                let _internal = fields.u16()?;
                fields.u32()?
            },
            offset: fields.u32()?.into(),
        })
    }
}

/// Walks the extra fields and gives the one with 64-bit sizes, if any.
///
/// # Errors
/// What is wrong with them.
pub(super) fn zip64_extra(extra: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let mut fields = Fields(extra);
    let mut found = None;
    while !fields.0.is_empty() {
        let broken = "the extra fields do not fill their place";
        let id = fields.u16().ok_or(broken)?;
        let length = fields.u16().ok_or(broken)?;
        let data = fields.bytes(length.into()).ok_or(broken)?;
        match id {
            EXTRA_ZIP64 if found.is_some() => return Err("there are two ZIP64 extra fields"),
            EXTRA_ZIP64 => found = Some(data),
            EXTRA_UNICODE_PATH => return Err("an extra field gives the entry another name"),
            _ => {}
        }
    }
    Ok(found)
}

/// Puts the 64-bit values in the place of those 32-bit ones that are 0xFFFFFFFF, in the order of the specification.
///
/// # Errors
/// What is wrong with the extra field.
pub(super) fn widen(values: &mut [&mut u64], zip64: Option<&[u8]>) -> Result<(), &'static str> {
    let Some(data) = zip64 else { return Ok(()) };
    let mut fields = Fields(data);
    for value in values.iter_mut().filter(|value| ***value == IN_ZIP64) {
        **value = fields.u64().ok_or("the ZIP64 extra field is too short")?;
    }
    Ok(())
}
