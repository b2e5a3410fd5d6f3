//! Bundles that we write are read again, and are the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};

use crate::sample::*;
use bundle::digest::sha256;
use bundle::manifest::{Manifest, ManifestImage, ManifestResource};
use bundle::model::Descriptor;
use bundle::write::{Contents, Part, write};

fn descriptor_of(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest: sha256(bytes), size: bytes.len() as u64 }
}

fn written(file: &'static [u8]) -> io::Result<Vec<u8>> {
    let sample = image("amd64");
    let target = descriptor_of(MANIFEST_TYPE, &sample.manifest);
    let resource =
        ManifestResource { path: file_path(), size: FILE.len() as u64, sha256: hex(FILE), source: "need.txt".into() };
    let listed = |alias: &str| ManifestImage {
        alias: alias.into(),
        reference: "acme/web:1".into(),
        manifest_digest: target.digest.clone(),
    };
    let manifest = Manifest::new("test 1".into(), vec![resource], vec![listed("again"), listed("main")]);
    let metadata = metadata().to_string();
    let (images, blobs) = (
        BTreeMap::from([("acme/web:1".to_owned(), target.clone())]),
        BTreeSet::from([
            target.clone(),
            descriptor_of("application/vnd.oci.image.config.v1+json", &sample.config),
            descriptor_of("application/vnd.oci.image.layer.v1.tar", &sample.layer),
        ]),
    );
    let contents = Contents {
        metadata: metadata.as_bytes(),
        manifest: &manifest,
        images: &images,
        referrers: &BTreeSet::new(),
        attachments: &BTreeMap::new(),
        blobs: &blobs,
    };
    let output = write(Cursor::new(Vec::new()), &contents, &mut |part| {
        let bytes = match part {
            Part::File(_) => file.to_vec(),
            Part::Blob(digest) => {
                let all = [&sample.manifest, &sample.config, &sample.layer];
                all.into_iter().find(|bytes| sha256(bytes) == digest).unwrap().clone()
            }
        };
        Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read>)
    })?;
    Ok(output.into_inner())
}

#[test]
fn a_written_bundle_is_the_same_package_as_one_made_by_hand() {
    let bundle = read(&written(FILE).unwrap()).unwrap();
    let by_hand = read(&zipped(&whole())).unwrap();
    assert_eq!(bundle.content_digest, by_hand.content_digest);
    assert_eq!(bundle.images, by_hand.images);
    assert_eq!(written(FILE).unwrap(), written(FILE).unwrap());
}

#[test]
fn the_entries_are_in_their_order_with_fixed_times() {
    let mut archive = zip::ZipArchive::new(Cursor::new(written(FILE).unwrap())).unwrap();
    let mut names = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).unwrap();
        assert_eq!(entry.last_modified(), Some(zip::DateTime::default()));
        let name = entry.name().unwrap().into_owned();
        let deflated = entry.compression() == zip::CompressionMethod::Deflated;
        assert_eq!(deflated, matches!(&*name, "metadata.json" | "manifest.json"), "{name}");
        names.push(name);
    }
    assert_eq!(names[..2], ["metadata.json", "manifest.json"]);
    assert_eq!(names[3..5], ["images/oci-layout", "images/index.json"]);
    assert!(names[5..].is_sorted() && names.len() == 8);
}

#[test]
fn a_file_that_changed_since_it_was_hashed_is_refused() {
    let other: &'static [u8] = b"What the service needs";
    assert_eq!(other.len(), FILE.len());
    assert!(written(other).unwrap_err().to_string().contains("expected digest"));
    assert!(written(b"short").unwrap_err().to_string().contains("announced"));
}
