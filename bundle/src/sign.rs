//! A signature put into a bundle: everything else stays byte for byte.

use std::io::{self, Read, Seek, Write};

use crate::entry::EntryKind;
use crate::zip::append;

/// Copies a bundle that was read and found right, with `signatures/<n>.json` behind its entries; `<n>` is one above the highest
/// that is there.
///
/// # Errors
/// What input or output say.
pub fn add_signature<I: Read + Seek, W: Write + Seek>(input: &mut I, output: W, signature: &[u8]) -> io::Result<W> {
    let (mut zip, names) = append(input, output)?;
    let numbers = names.iter().filter_map(|name| match EntryKind::of(name) {
        Some(EntryKind::Signature(number)) => Some(u64::from(number) + 1),
        _ => None,
    });
    let number = numbers.max().unwrap_or_default();
    zip.stored(&format!("signatures/{number}.json"), signature.len() as u64, &mut { signature })?;
    zip.finish()
}
