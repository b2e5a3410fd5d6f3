//! A bundle in a file: parts from where they are, and the same file again from its parts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Write};

use bundle::digest::sha256;
use bundle::file::BundleFile;
use bundle::stream::Limits;
use bundle::write::{Entries as Written, Part, write_entries};
use bundle::zip::ZipWriter;

use crate::sample::*;

/// The bundle, what was read of it, and bytes that had to be unpacked.
fn opened(bytes: &[u8]) -> (BundleFile, u64, u64) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let unpacked = tempfile::tempfile().unwrap();
    let mut read = 0;
    let input = File::open(file.path()).unwrap();
    let opened =
        BundleFile::read(input, unpacked.try_clone().unwrap(), &Limits::default(), &mut |bytes| read += bytes).unwrap();
    (opened, read, unpacked.metadata().unwrap().len())
}

fn part(bundle: &BundleFile, digest: &str, from: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bundle.part(digest, from).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn again(opened: &BundleFile) -> Vec<u8> {
    let bundle = opened.bundle();
    let all = bundle.images.iter().flat_map(|image| image.manifests.iter().chain(&image.blobs));
    let blobs: BTreeMap<String, u64> = all.map(|blob| (blob.digest.clone(), blob.size)).collect();
    let paths: BTreeMap<String, String> = bundle.files.iter().map(|f| (f.path(), f.digest.clone())).collect();
    let entries = Written {
        metadata: &bundle.metadata,
        manifest: bundle.manifest.as_deref(),
        signatures: &bundle.signatures,
        files: &bundle.files,
        index: bundle.index.as_deref(),
        blobs: &blobs,
    };
    let written = write_entries(Cursor::new(Vec::new()), &entries, &mut |wanted| {
        let digest = match wanted {
            Part::File(path) => &paths[path],
            Part::Blob(digest) => digest,
        };
        Ok(Box::new(Cursor::new(part(opened, digest, 0))))
    });
    written.unwrap().into_inner()
}

#[test]
fn parts_are_read_from_where_they_are_and_nothing_is_unpacked() {
    let bytes = zipped(&whole());
    let (bundle, read, unpacked) = opened(&bytes);
    assert_eq!((read, unpacked), (bytes.len() as u64, 0));
    let layer = image("amd64").layer;
    assert_eq!(part(&bundle, &sha256(&layer), 0), layer);
    assert_eq!(part(&bundle, &sha256(&layer), 6), layer[6..]);
    assert_eq!(part(&bundle, &sha256(&layer), u64::MAX), b"");
    assert_eq!(part(&bundle, &sha256(FILE), 0), FILE);
    assert!(bundle.part(&sha256(b"elsewhere"), 0).is_none());
}

#[test]
fn the_parts_of_a_written_bundle_give_the_same_bytes_again() {
    let first = again(&opened(&zipped(&whole())).0);
    let second = opened(&first).0;
    assert_eq!(again(&second), first);
    // With signatures, which are put behind everything else.
    let signed = with(with(whole(), "signatures/0.json", "{}"), "signatures/1.json", "[]");
    let first = again(&opened(&zipped(&signed)).0);
    let second = opened(&first).0;
    assert_eq!(second.bundle().signatures, [b"{}".to_vec(), b"[]".to_vec()]);
    assert_eq!(again(&second), first);
}

#[test]
fn images_of_an_archive_become_a_layout_with_the_same_content_digest() {
    let entries = docker_bundle(legacy_archive(r#"["acme/web:1"]"#));
    let mut packed = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in &entries {
        packed.deflated(name, content).unwrap();
    }
    let sample = image("amd64");
    let made = sample.manifest.len();
    let all = made + sample.config.len() + sample.layer.len() + FILE.len();
    // The manifest that the archive lacks is made in any case.
    for (bytes, expected) in [(zipped(&entries), made), (packed.finish().unwrap().into_inner(), all)] {
        let (bundle, _, unpacked) = opened(&bytes);
        assert_eq!(unpacked, expected as u64);
        let layout = opened(&again(&bundle)).0;
        assert_eq!(layout.bundle().content_digest, bundle.bundle().content_digest);
        assert_eq!(layout.bundle().images, bundle.bundle().images);
    }
}
