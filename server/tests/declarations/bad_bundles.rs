//! Lines 31 to 34 of faults.md, in whatever store: the package fails with the reason, nothing of it is left, nobody ever sees
//! it, and the server goes on. Every single way to be wrong is tried where bundles are read, in the crate `bundle`.

use std::io::Cursor;

use api::{FailureReason, State};
use bundle::zip::ZipWriter;
use serde_json::{Value, json};
use server::digest::Digest;

use crate::common::bundles::{Package, package};
use crate::common::site::{Reach, Site};
use crate::common::source::Source;
use crate::common::spec;

crate::on_stores! {
    fault_31_archives_that_are_broken_are_refused
    fault_32_names_that_lead_elsewhere_are_refused
    fault_33_archives_that_grow_are_stopped_while_they_are_read
    fault_34_contents_that_break_a_rule_are_refused
}

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";

fn good() -> Vec<u8> {
    package("redis", "1.0", "redis:5").bytes()
}

fn metadata() -> Vec<u8> {
    serde_json::to_vec(&Package::new("redis", "1.0").metadata).unwrap()
}

/// An archive of these entries.
fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.deflated(name, content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The good bundle with other bytes at an offset behind the first record with that signature.
fn patched(signature: [u8; 4], offset: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = good();
    let at = bytes.windows(4).position(|window| window == signature).unwrap() + offset;
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// Declares each bundle, which must fail for that reason with these words, and last a good one, which doesn't.
async fn all_refused(site: &Site, reason: FailureReason, bundles: &[(&str, Vec<u8>)]) {
    let source = Source::start().await;
    for (number, (words, bytes)) in bundles.iter().enumerate() {
        let url = source.bytes(&number.to_string(), bytes.clone());
        let declared = site.client().declare("u", &spec(&url)).await;
        let message = declared.message.unwrap_or_default();
        assert_eq!((declared.state, declared.reason), (State::Failed, Some(reason)), "{words}: {message}");
        assert!(message.contains(words), "{words}: {message}");
        let left = site.keys_after_collection().await;
        // What instances tell each other of a declaration that is there still.
        assert!(left.iter().all(|key| key.starts_with("declarations/")), "{words}: {left:?}");
        site.shows(&[]).await;
    }
    site.client().add("u", &spec(&source.bytes("good", good()))).await;
    site.shows(&["redis 1.0"]).await;
}

async fn fault_31_archives_that_are_broken_are_refused(site: Site) {
    let (good, metadata) = (good(), metadata());
    let mut flipped = good.clone();
    let position = flipped.windows(8).position(|window| window == b"layer of").unwrap();
    flipped[position] ^= 1;
    let second = good.windows(4).enumerate().filter(|(_, window)| *window == CENTRAL).nth(1).unwrap().0;
    let mut overlapping = good.clone();
    overlapping[second + 42..second + 46].copy_from_slice(&[0; 4]);
    let bundles = [
        ("truncated", vec![]),
        ("not a ZIP file", b"hello".to_vec()),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("truncated", good[..good.len() - 1].to_vec()),
        ("behind the end", [&good[..], b"x"].concat()),
        ("checksum", flipped),
        ("metadata.json", zipped(&[("manifest.json", br#"{"built-by":"x","resources":[]}"#)])),
        ("two entries", zipped(&[("metadata.json", &metadata), ("metadata.json", &metadata)])),
        ("checksum", patched(CENTRAL, 16, &[0xff; 4])),
        ("says size", patched(CENTRAL, 24, &[0xff, 0xff, 0xff, 0x0f])),
        ("offset", overlapping),
        ("encrypted", patched(LOCAL, 6, &[1])),
    ];
    all_refused(&site, FailureReason::InvalidBundle, &bundles).await;
}

async fn fault_32_names_that_lead_elsewhere_are_refused(site: Site) {
    let link = patched(CENTRAL, 38, &(0o120_777_u32 << 16).to_le_bytes());
    let names = ["../a", "/a", "a\\b", "a\0b", "resources/../a"];
    let mut bundles: Vec<_> = names.map(|name| ("the name", zipped(&[(name, b"x")]))).into();
    let file = format!("resources/{}/a", Digest::sha256(b"x").hex());
    bundles.push(("two entries of this name", zipped(&[(&file, b"x"), (&file, b"x")])));
    bundles.push(("special file", link));
    all_refused(&site, FailureReason::InvalidBundle, &bundles).await;
}

async fn fault_33_archives_that_grow_are_stopped_while_they_are_read(site: Site) {
    let bomb = zipped(&[("metadata.json", &vec![b' '; 64 << 20])]);
    let mut lying = bomb.clone();
    // The header says one byte.
    lying[22..26].copy_from_slice(&[1, 0, 0, 0]);
    let bundles = [("more than", bomb), ("more than the 1 bytes", lying)];
    all_refused(&site, FailureReason::InvalidBundle, &bundles).await;
}

async fn fault_34_contents_that_break_a_rule_are_refused(site: Site) {
    let with = |key: &str, value: Value| {
        let mut package = Package::new("redis", "1.0");
        package.metadata[key] = value;
        package.bytes()
    };
    let mut lying = Package::new("redis", "1.0").metadata;
    let file = format!("resources/{}/a.txt", Digest::sha256(b"other").hex());
    lying["resource"]["assets"]["uris"]["a"] = json!(file);
    let resource = json!({ "path": file, "size": 7, "sha256": Digest::sha256(b"other").hex(), "source": "" });
    let lying = [lying, json!({ "built-by": "x", "resources": [resource] })].map(|part| part.to_string());
    let lying = [("metadata.json", lying[0].as_bytes()), ("manifest.json", lying[1].as_bytes()), (&file, b"content")];
    // Not much of it is said twice, so that it is no bomb.
    let words: Vec<_> = (0..300_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string()).collect();
    let large = words.join(" ");
    let deep = [&vec![b'['; 10_000][..], &vec![b']'; 10_000][..]].concat();
    let bundles = [
        ("$.selected", with("selected", json!(true))),
        ("$.name", with("name", json!("R"))),
        ("metadata.json", zipped(&[("metadata.json", &deep)])),
        ("metadata.json", with("description", json!(large))),
        ("digest", zipped(&lying)),
        ("layer", package("redis", "1.0", "redis:5").without(b"layer of redis 1.0").bytes()),
    ];
    all_refused(&site, FailureReason::InvalidBundle, &bundles).await;
    let unsupported = ["2.0", "6.0"].map(|version| ("packagingVersion", with("packagingVersion", json!(version))));
    site.client().withdraw("u").await;
    all_refused(&site, FailureReason::UnsupportedPackagingVersion, &unsupported).await;
}
