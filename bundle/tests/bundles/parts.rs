//! Bundles whose parts came by themselves: the same rules, the same words, the same result as for one file.

use bundle::model::File;
use bundle::stream::{self, Limits, Parts, ReadError};
use serde_json::json;

use crate::sample::*;

/// Takes a bundle's entries apart, and what its sink would have got.
fn apart(entries: &Entries) -> (Parts, Memory) {
    let (mut parts, mut sink) = (Parts::default(), Memory::default());
    for (name, content) in entries {
        let (digest, size) = (bundle::digest::sha256(content), content.len() as u64);
        if name.starts_with("resources/") || name.starts_with("images/blobs/") {
            sink.blobs.insert(digest.clone(), content.clone());
        }
        match name.as_str() {
            "metadata.json" => parts.metadata.clone_from(content),
            "manifest.json" => parts.manifest = Some(content.clone()),
            "images/index.json" => parts.index = Some(content.clone()),
            "images/oci-layout" => {}
            name if name.starts_with("signatures/") => parts.signatures.push(content.clone()),
            name if name.starts_with("images/blobs/") => parts.blobs.push((digest, size)),
            name => parts.files.push(File { name: name.rsplit('/').next().unwrap().to_owned(), digest, size }),
        }
    }
    (parts, sink)
}

#[track_caller]
fn refused(parts: &Parts, place: &str, why: &str) {
    match parts.outline(&Limits::default()) {
        Err(ReadError::Invalid { place: found, reason }) => {
            assert!(found.contains(place) && reason.contains(why), "{found}: {reason}");
        }
        other => panic!("expected {place}: {why}, got {other:?}"),
    }
}

#[test]
fn parts_make_the_same_bundle_as_the_file_that_they_are_from() {
    let entries = with(whole(), "signatures/0.json", "{}");
    let (parts, mut sink) = apart(&entries);
    let streamed = read(&zipped(&entries)).unwrap();
    assert_eq!(parts.complete(&mut sink, &Limits::default()).unwrap(), streamed);
    let outline = parts.outline(&Limits::default()).unwrap();
    assert_eq!(outline.content_digest, streamed.content_digest);
    assert_eq!((outline.coordinate.name, outline.coordinate.version), (streamed.name, streamed.version));
    assert_eq!(parts.index, streamed.index);
}

#[test]
fn parts_are_refused_in_the_words_that_their_file_is_refused_with() {
    let image = image("amd64");
    let other = json!({"packagingVersion": "4.0"}).to_string();
    let broken: [Entries; 7] = [
        without(whole(), "manifest.json"),
        without(whole(), "images/index.json"),
        without(whole(), &file_path()),
        without(whole(), &blob_entry(&image.layer).0),
        with(whole(), &blob_entry(b"x").0, "x"),
        with(whole(), "metadata.json", other),
        with(whole(), "manifest.json", r#"{"built-by":"x","format":2}"#),
    ];
    for entries in &broken {
        let (parts, mut sink) = apart(entries);
        let streamed = stream::read(&zipped(entries)[..], &mut Memory::default(), &Limits::default()).unwrap_err();
        let apart = parts.complete(&mut sink, &Limits::default()).unwrap_err();
        assert_eq!(apart.to_string(), streamed.to_string());
    }
}

#[test]
fn an_outline_needs_no_blob_but_the_right_names_and_sizes() {
    let changed = |change: &dyn Fn(&mut Parts)| {
        let (mut parts, _) = apart(&whole());
        change(&mut parts);
        parts
    };
    let twice = |parts: &mut Parts| parts.blobs.push(parts.blobs[0].clone());
    refused(&changed(&twice), "images/blobs/sha256/", "listed twice");
    refused(&changed(&|parts| parts.files.push(parts.files[0].clone())), "resources/", "listed twice");
    refused(&changed(&|parts| parts.files[0].name = "../x".into()), "resources/", "file name");
    refused(&changed(&|parts| parts.files[0].digest = "sha256:..".into()), "resources/", "64 lower-case");
    refused(
        &changed(&|parts| parts.blobs[0].0 = format!("sha512:{}", "a".repeat(128))),
        "images/blobs",
        "64 lower-case",
    );
    refused(&changed(&|parts| parts.blobs[0].1 = (32 << 30) + 1), "sha256:", "the limit for it");
    let huge = |parts: &mut Parts| {
        parts.blobs.iter_mut().for_each(|(_, size)| *size = 32 << 30);
        parts.files[0].size = 32 << 30;
    };
    refused(&changed(&huge), "the bundle", "more than 68719476736 bytes");
    let same = |parts: &mut Parts| parts.blobs.push((parts.files[0].digest.clone(), 1));
    refused(&changed(&same), "resources/", "one of them is wrong");
    refused(&changed(&|parts| parts.index = None), "images/index.json", "missing");
    refused(&changed(&|parts| parts.signatures = vec![vec![b' '; (1 << 20) + 1]]), "signatures/0.json", "1048576");
    let many = Limits { entries: 3, ..Limits::default() };
    let error = apart(&whole()).0.outline(&many).unwrap_err();
    assert!(error.to_string().contains("more than 3 entries"), "{error}");
}
