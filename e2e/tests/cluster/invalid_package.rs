//! Packages that can't be published: the reason is in the status, nothing is in the catalogue, nothing stays in storage.

use std::{fs, io::Write as _, path::PathBuf};

use e2e::walk;

use crate::site::{Place, WITHIN};

#[test]
fn a_package_that_can_not_be_published_says_why_and_leaves_nothing() {
    let place = Place::new("invalid");
    place.registry("");
    place.registry_has("Ready", "True");
    let empty = place.stored_files();

    let site = place.site;
    let right = &site.bundle.sha256;
    let missing = site.files.address("files/nowhere.dcos");
    let elsewhere = "http://other.site.svc/hello-1.0.dcos";
    let good = site.files.address("files/hello-1.0.dcos");
    let private = site.files.address("private/hello-1.0.dcos");
    let wrong = "0".repeat(64);
    let (torn_url, torn_sum) = put("torn.dcos", &torn());
    let (bare_url, bare_sum) = put("bare.dcos", &zip(&[("manifest.json", b"{\"format\":1}")]));
    let (old_url, old_sum) = put("old.dcos", &zip(&[("metadata.json", OLD)]));
    let (misnamed_url, misnamed_sum) = put("misnamed.dcos", &zip(&[("metadata.json", MISNAMED)]));
    let cases = [
        ("bad-url", missing.as_str(), right.as_str(), "Fetched", "FetchFailed", "404"),
        ("foreign-host", elsewhere, right, "Fetched", "NotAllowed", "allowedHosts"),
        ("no-password", &private, right, "Fetched", "AuthenticationFailed", "401"),
        ("wrong-sha256", &good, &wrong, "Fetched", "DigestMismatch", right),
        ("broken-zip", &torn_url, &torn_sum, "Published", "InvalidBundle", ""),
        ("no-metadata", &bare_url, &bare_sum, "Published", "InvalidBundle", "metadata.json"),
        ("packaging-2", &old_url, &old_sum, "Published", "UnsupportedPackagingVersion", "2.0"),
        ("bad-name", &misnamed_url, &misnamed_sum, "Published", "InvalidBundle", "name"),
    ];
    for (name, url, sha256, ..) in cases {
        place.package(name, url, sha256);
    }
    for (name, _, _, condition, reason, word) in cases {
        let package = place.reason("package", name, condition, reason);
        let (status, _, message) = package.condition(condition).unwrap();
        assert_eq!(status, "False", "{name}: {message}");
        assert!(message.contains(word), "{name}: {message}");
        let (status, ready, _) = package.condition("Ready").unwrap();
        assert_eq!((status, ready), ("False", reason), "{name}: {}", package.summary());
    }
    let events = walk::events(place.cluster(), &place.namespace, "wrong-sha256").unwrap();
    assert!(events.iter().any(|(reason, _)| reason == "DigestMismatch"), "{events:?}");
    assert!(place.catalogue().is_empty());
    walk::wait_until("the storage to be empty", WITHIN, || Ok((place.stored_files() == empty).then_some(()))).unwrap();
    place.leave();
}

const OLD: &[u8] =
    br#"{"packagingVersion":"2.0","name":"old","version":"1","maintainer":"a@b.test","description":"d","tags":[]}"#;
const MISNAMED: &[u8] = br#"{"packagingVersion":"4.0","name":"Odd_Name","version":"1","maintainer":"a@b.test","description":"d","tags":[]}"#;

/// The demo's bundle cut in the middle.
fn torn() -> Vec<u8> {
    let whole = fs::read(&crate::site::site().bundle.path).unwrap();
    whole[..whole.len() / 2].to_vec()
}

fn put(name: &str, bytes: &[u8]) -> (String, String) {
    let path: PathBuf = walk::out().join(name);
    fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    let url = crate::site::site().files.put(name, &path).unwrap();
    (url, walk::sha256_of(&path).unwrap())
}

/// A ZIP file of stored entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
