//! Archives that are right, and what must be refused.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;
use zip::write::SimpleFileOptions;

use super::*;

const LIMITS: ZipLimits = ZipLimits { total: 1 << 30, entry: 1 << 26, entries: 100, ratio: 200 };

type Entries = Vec<(String, Vec<u8>)>;

fn read_with(bytes: &[u8], limits: ZipLimits) -> Result<Entries, String> {
    let mut zip = ZipStream::new(bytes, limits);
    let mut entries = Vec::new();
    while let Some(entry) = zip.next_entry().map_err(|error| error.to_string())? {
        let mut content = Vec::new();
        zip.body().read_to_end(&mut content).map_err(|error| error.to_string())?;
        entries.push((entry.name, content));
    }
    zip.finish().map_err(|error| error.to_string())?;
    Ok(entries)
}

fn read(bytes: &[u8]) -> Result<Entries, String> {
    read_with(bytes, LIMITS)
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    let error = read(bytes).expect_err(why);
    assert!(error.contains(why), "{error}");
}

/// Two entries, written by our writer: stored, deflated.
fn sample() -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.stored("a.txt", 5, &mut &b"hello"[..]).unwrap();
    zip.deflated("b/c.txt", "many words, many words, many words".as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

fn content() -> Entries {
    vec![("a.txt".into(), b"hello".to_vec()), ("b/c.txt".into(), b"many words, many words, many words".to_vec())]
}

fn named(name: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.deflated(name, b"x").unwrap();
    zip.finish().unwrap().into_inner()
}

/// Where the `nth` record with a signature begins.
fn at(bytes: &[u8], signature: [u8; 4], nth: usize) -> usize {
    bytes.windows(4).enumerate().filter(|(_, window)| *window == signature).nth(nth).unwrap().0
}

fn patched(mut bytes: Vec<u8>, offset: usize, with: &[u8]) -> Vec<u8> {
    bytes[offset..offset + with.len()].copy_from_slice(with);
    bytes
}

fn flagged(flag: u16) -> Vec<u8> {
    let bytes = sample();
    let (local, central) = (at(&bytes, record::LOCAL, 0) + 6, at(&bytes, record::CENTRAL, 0) + 8);
    patched(patched(bytes, local, &flag.to_le_bytes()), central, &flag.to_le_bytes())
}

#[test]
fn what_the_writer_writes_is_read_and_other_readers_read_it_too() {
    let bytes = sample();
    assert_eq!(read(&bytes).unwrap(), content());
    let mut other = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let mut text = String::new();
    other.by_name("b/c.txt").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.as_bytes(), content()[1].1);
    assert_eq!(bytes, sample(), "the same entries give the same bytes");
}

#[test]
fn an_input_that_gives_one_byte_at_a_time_is_read() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let count = out.len().min(1);
            self.0.read(&mut out[..count])
        }
    }
    let bytes = sample();
    let mut zip = ZipStream::new(Slow(&bytes), LIMITS);
    assert_eq!(zip.next_entry().unwrap().unwrap().name, "a.txt");
    assert_eq!(zip.next_entry().unwrap().unwrap().name, "b/c.txt");
    zip.finish().unwrap();
}

#[test]
fn data_descriptors_of_deflated_entries_are_read() {
    let mut zip = zip::ZipWriter::new_stream(Vec::new());
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("a", options).unwrap();
    zip.write_all(&vec![7; 100_000]).unwrap();
    zip.start_file("b", options).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    assert!(bytes.windows(4).any(|window| window == record::DESCRIPTOR));
    assert_eq!(read(&bytes).unwrap(), vec![("a".into(), vec![7; 100_000]), ("b".into(), vec![])]);
}

#[test]
fn a_stored_entry_with_a_data_descriptor_is_refused_with_the_way_out() {
    refused(&flagged(record::FLAG_DESCRIPTOR), "write it deflated");
}

#[test]
fn zip64_fields_are_read_where_they_are_not_needed() {
    // faults.md 31: ZIP64 edges.
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    zip.start_file("a", options).unwrap();
    zip.write_all(b"hello").unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    assert_eq!(read(&bytes).unwrap(), vec![("a".into(), b"hello".to_vec())]);
}

#[test]
fn more_than_65535_entries_are_written_and_read_with_zip64() {
    // faults.md 31: ZIP64 edges.
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..70_000 {
        zip.stored(&format!("e{number}"), 0, &mut &b""[..]).unwrap();
    }
    let bytes = zip.finish().unwrap().into_inner();
    assert_eq!(read_with(&bytes, ZipLimits { entries: 70_000, ..LIMITS }).unwrap().len(), 70_000);
    assert!(
        read_with(&bytes, ZipLimits { entries: 69_999, ..LIMITS }).unwrap_err().contains("more than 69999 entries")
    );
    assert_eq!(zip::ZipArchive::new(Cursor::new(&bytes)).unwrap().len(), 70_000);
    let end = at(&bytes, record::END64, 0);
    refused(&patched(named("a"), 0, b"PK\x05\x06"), "end of central directory");
    let wrong = patched(bytes, end + 32, &69_999_u64.to_le_bytes());
    assert!(read_with(&wrong, ZipLimits { entries: 70_000, ..LIMITS }).unwrap_err().contains("ZIP64"));
}

#[test]
fn every_truncation_is_refused() {
    // faults.md 31: a truncated ZIP file.
    let bytes = sample();
    for length in 0..bytes.len() {
        refused(&bytes[..length], "truncated");
    }
}

#[test]
fn bytes_before_or_behind_the_archive_are_refused() {
    let bytes = sample();
    refused(&[&bytes[..], b"\0"].concat(), "behind the end");
    refused(&[&bytes[..], &bytes].concat(), "behind the end");
    refused(&[b"#!/bin/sh\n", &bytes[..]].concat(), "not a ZIP file");
    let end = bytes.len() - 2;
    refused(&[&patched(bytes.clone(), end, &[1, 0])[..], b"x"].concat(), "comment");
    let central = at(&bytes, record::CENTRAL, 0);
    refused(&[&bytes[..central], b"gap", &bytes[central..]].concat(), "neither an entry nor the central directory");
}

#[test]
fn names_that_could_leave_a_folder_are_refused() {
    // faults.md 32.
    for name in ["../a", "/a", "a\\b", "a\0b", "a/../b", "C:/a"] {
        refused(&named(name), "the name");
    }
    refused(&named("ä"), "UTF-8");
}

#[test]
fn the_same_name_twice_is_refused() {
    // faults.md 32: duplicate names.
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.deflated("a", b"1").unwrap();
    zip.deflated("a", b"2").unwrap();
    refused(&zip.finish().unwrap().into_inner(), "two entries of this name");
}

#[test]
fn symbolic_links_and_special_files_are_refused() {
    // faults.md 32: symlinks.
    let bytes = sample();
    let attributes = at(&bytes, record::CENTRAL, 0) + 38;
    for mode in [0o120_777_u32, 0o020_666, 0o040_755, 0o010_644] {
        refused(&patched(bytes.clone(), attributes, &(mode << 16).to_le_bytes()), "special file");
    }
}

#[test]
fn encrypted_and_patched_entries_are_refused() {
    // faults.md 31: encrypted.
    refused(&flagged(1), "encrypted");
    refused(&flagged(1 << 6 | 1), "encrypted");
    refused(&flagged(1 << 13), "encrypted");
    refused(&flagged(1 << 5), "flags");
}

#[test]
fn several_disks_are_refused() {
    let bytes = sample();
    let end = at(&bytes, record::END, 0);
    refused(&patched(bytes.clone(), end + 4, &[1, 0]), "one part of several");
    let central = at(&bytes, record::CENTRAL, 0);
    refused(&patched(bytes, central + 34, &[1, 0]), "another disk");
}

#[test]
fn a_central_directory_that_disagrees_is_refused() {
    // faults.md 31: local and central headers that disagree, overlapping entries.
    let bytes = sample();
    let central = at(&bytes, record::CENTRAL, 0);
    for (offset, with, why) in [
        (46, &b"z"[..], "name"),
        (8, &[0, 8], "flags"),
        (10, &[8, 0], "compression method"),
        (16, &[0], "checksum"),
        (20, &[6], "packed size"),
        (24, &[6], "says size"),
        (42, &[1], "offset"),
    ] {
        refused(&patched(bytes.clone(), central + offset, with), why);
    }
    // The second header points to the first entry: two entries overlap.
    let second = at(&bytes, record::CENTRAL, 1);
    refused(&patched(bytes.clone(), second + 42, &[0, 0, 0, 0]), "offset");
    // One header less, one more.
    let end = at(&bytes, record::END, 0);
    refused(&[&bytes[..second], &bytes[end..]].concat(), "does not list it");
    refused(&[&bytes[..end], &bytes[second..]].concat(), "lists more");
    refused(&patched(bytes, end + 10, &[3, 0]), "2 entries");
}

#[test]
fn a_wrong_checksum_is_refused_before_the_body_ends() {
    // faults.md 31: a bad CRC.
    let bytes = sample();
    let data = at(&bytes, record::LOCAL, 0) + 30 + 5;
    refused(&patched(bytes, data, b"j"), "checksum");
}

#[test]
fn sizes_that_lie_are_refused() {
    // faults.md 33: lying sizes.
    let bytes = sample();
    let second = at(&bytes, record::LOCAL, 1);
    // Unpacked size smaller and larger than what comes.
    refused(&patched(bytes.clone(), second + 22, &[33, 0, 0, 0]), "more than the 33 bytes");
    refused(&patched(bytes.clone(), second + 22, &[35, 0, 0, 0]), "its header says 35");
    // Packed size beside the real one.
    let packed = bytes[second + 18];
    refused(&patched(bytes.clone(), second + 18, &[packed - 1]), "does not end where");
    refused(&patched(bytes.clone(), second + 18, &[packed + 1]), "ends before");
    // A stored entry's two sizes.
    refused(&patched(bytes, 22, &[6]), "5 bytes packed and 6 unpacked");
}

#[test]
fn bombs_are_stopped_while_they_unpack() {
    // faults.md 33: caps on entry, total and ratio, counted while reading.
    let bomb = |size: usize| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.deflated("a", &vec![0; size]).unwrap();
        zip.finish().unwrap().into_inner()
    };
    assert_eq!(read(&bomb(1 << 20)).unwrap()[0].1.len(), 1 << 20);
    refused(&bomb(2 << 20), "more than 200 times");
    let small = ZipLimits { entry: 1000, ..LIMITS };
    assert!(read_with(&bomb(1001), small).unwrap_err().contains("limit for an entry"));
    // Its header says less than comes, so nobody can have refused it by what it says.
    let lying = patched(bomb(1001), 22, &[1, 0, 0, 0]);
    assert!(read_with(&lying, small).unwrap_err().contains("more than the 1 bytes"));
    let total = ZipLimits { total: 1000, ..LIMITS };
    assert!(read_with(&bomb(1001), total).unwrap_err().contains("limit for a bundle"));
    assert!(read_with(&sample(), ZipLimits { total: 100, ..LIMITS }).unwrap_err().contains("more than 100 bytes"));
}

#[test]
fn more_entries_than_the_cap_are_stopped_where_the_cap_is() {
    // faults.md 33: the count, counted while reading.
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..1000 {
        zip.stored(&number.to_string(), 0, &mut &[][..]).unwrap();
    }
    let bytes = zip.finish().unwrap().into_inner();
    // The rest isn't even looked at.
    let cut = &bytes[..at(&bytes, record::LOCAL, 12)];
    let error = read_with(cut, ZipLimits { entries: 10, ..LIMITS }).unwrap_err();
    assert!(error.contains("10 entries"), "{error}");
}

#[test]
fn an_input_that_fails_is_not_an_invalid_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the line is cut"))
        }
    }
    let bytes = sample();
    let mut zip = ZipStream::new((&bytes[..36]).chain(Broken), LIMITS);
    zip.next_entry().unwrap();
    let error = std::io::copy(&mut zip.body(), &mut std::io::sink()).unwrap_err();
    assert!(error.to_string().contains("the line is cut"));
    assert!(matches!(zip.take_fault(), Some(ZipError::Input { .. })));
}

#[test]
fn no_flipped_bit_changes_what_is_read() {
    let bytes = sample();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let flipped = patched(bytes.clone(), position, &[bytes[position] ^ (1 << bit)]);
            if let Ok(entries) = read(&flipped) {
                assert_eq!(entries, content(), "byte {position} bit {bit}");
            }
        }
    }
}

proptest! {
    #[test]
    fn entries_come_back(entries in proptest::collection::vec(("[a-z]{1,8}", proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..6)) {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let mut written = Vec::new();
        for (index, (name, content, deflated)) in entries.into_iter().enumerate() {
            let name = format!("{index}/{name}");
            if deflated {
                zip.deflated(&name, &content).unwrap();
            } else {
                zip.stored(&name, content.len() as u64, &mut &content[..]).unwrap();
            }
            written.push((name, content));
        }
        prop_assert_eq!(read(&zip.finish().unwrap().into_inner()).unwrap(), written);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(noise in proptest::collection::vec((0..200_usize, any::<u8>()), 1..8), cut in 0..260_usize) {
        let mut bytes = sample();
        for (position, byte) in noise {
            let position = position % bytes.len();
            bytes[position] = byte;
        }
        bytes.truncate(bytes.len().min(cut + 20));
        let _ = read(&bytes);
    }
}
