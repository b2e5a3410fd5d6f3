//! `inspect`, `verify`, `diff`, `extract`: what is done with a bundle that is there.

use std::fs;
use std::path::Path;

use bundle::digest::sha256;
use serde_json::{Value, json};

use crate::program::{fail, hex, names, run, succeed};
use crate::registry::{Behaviour, Registry};

/// Builds `<name>-1.dcos` with these files and images.
fn built(folder: &Path, name: &str, files: &[(&str, &str)], images: &[&str]) {
    let mut uris = serde_json::Map::new();
    for (index, (file, content)) in files.iter().enumerate() {
        let path = folder.join(name).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        uris.insert(format!("f{index}"), json!(format!("{name}/{file}")));
    }
    let docker: serde_json::Map<String, Value> =
        images.iter().enumerate().map(|(index, image)| (format!("i{index}"), json!(image))).collect();
    let definition = json!({"packagingVersion": "4.0", "name": name, "version": "1", "maintainer": "", "description": "Größe",
        "tags": [], "resource": {"assets": {"uris": uris, "container": {"docker": docker}}}});
    fs::write(folder.join("definition.json"), definition.to_string()).unwrap();
    succeed(folder, &["registry", "build", "--build-definition-file=definition.json"]);
}

fn two(folder: &Path) -> Registry {
    let registry = Registry::start(Behaviour::default());
    let (shared, own) = (vec![b's'; 3000], vec![b'o'; 2000]);
    registry.image("acme/web", Some("1"), "amd64", &[&shared]);
    registry.image("acme/web", Some("2"), "amd64", &[&shared, &own]);
    let image = |tag: &str| format!("{}/acme/web:{tag}", registry.host);
    built(folder, "first", &[("a.txt", "a"), ("b.txt", "b")], &[&image("1")]);
    built(folder, "second", &[("a.txt", "a"), ("b.txt", "B!"), ("c.txt", "ccc")], &[&image("2")]);
    registry
}

#[test]
fn inspect_shows_metadata_files_images_and_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let registry = two(folder.path());
    let ran = succeed(folder.path(), &["registry", "inspect", "second-1.dcos"]);
    let image = format!("{}/acme/web:2", registry.host);
    for word in [
        "second",
        "4.0",
        "sha256:",
        "Signatures:         0",
        "FILE",
        "b.txt",
        "second/b.txt",
        "3 files, 1 image",
        &image,
        "linux/amd64",
    ] {
        assert!(ran.out.contains(word), "no \"{word}\" in:\n{}", ran.out);
    }
    let ran = succeed(folder.path(), &["registry", "inspect", "second-1.dcos", "-o", "json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&document["name"], &document["version"], &document["signatures"]),
        (&json!("second"), &json!("1"), &json!(0))
    );
    assert_eq!(document["metadata"]["description"], "Größe");
    assert_eq!(document["images"][0]["reference"], image);
    assert_eq!(document["files"].as_array().unwrap().len(), 3);
    assert_eq!(succeed(folder.path(), &["registry", "inspect", "--json", "second-1.dcos"]).out, ran.out);
    let content = succeed(folder.path(), &["registry", "inspect", "second-1.dcos", "--content"]).out;
    assert_eq!(document["digest"], sha256(content.as_bytes()), "what is signed is what the digest is of");
    assert!(content.starts_with(r#"{"files":[{"name":"a.txt","sha256":""#), "{content}");
}

#[test]
fn verify_finds_every_byte_that_is_other_than_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let _registry = two(folder.path());
    let file = folder.path().join("first-1.dcos");
    let ran = succeed(folder.path(), &["registry", "verify", "first-1.dcos"]);
    assert!(ran.out.starts_with("first-1.dcos: first 1 is whole and right (sha256:"), "{}", ran.out);
    let ran = succeed(folder.path(), &["registry", "verify", "first-1.dcos", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["signedWith"], json!([]));
    let good = fs::read(&file).unwrap();
    for position in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[position] ^= 0x10;
        fs::write(&file, bad).unwrap();
        let ran = run(folder.path(), &["registry", "verify", "first-1.dcos"]);
        assert!(ran.code == 1 && ran.err.contains("Error: first-1.dcos: "), "byte {position}: {}", ran.err);
    }
    fs::write(&file, &good[..good.len() - 1]).unwrap();
    fail(folder.path(), &["registry", "verify", "first-1.dcos"], &["first-1.dcos", "end of central directory"]);
    fail(folder.path(), &["registry", "verify", "nowhere.dcos"], &["nowhere.dcos"]);
}

#[test]
fn diff_counts_what_the_second_adds() {
    let folder = tempfile::tempdir().unwrap();
    let registry = two(folder.path());
    let ran = succeed(folder.path(), &["registry", "diff", "first-1.dcos", "second-1.dcos", "--json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let change = |name: &str| document["changes"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    assert_eq!(change("a.txt"), None);
    assert_eq!(change("b.txt").unwrap(), json!({"change": "changed", "kind": "file", "name": "b.txt", "bytes": 2}));
    assert_eq!(change("c.txt").unwrap(), json!({"change": "added", "kind": "file", "name": "c.txt", "bytes": 3}));
    let image = change(&format!("{}/acme/web:2", registry.host)).unwrap();
    // The second layer and a new manifest; the config is the same, the first layer too.
    let bytes = image["bytes"].as_u64().unwrap();
    assert!((2000..3000).contains(&bytes), "{bytes}");
    assert_eq!(document["addedBytes"], bytes + 5);
    assert_eq!(change(&format!("{}/acme/web:1", registry.host)).unwrap()["change"], "removed");
    let ran = succeed(folder.path(), &["registry", "diff", "first-1.dcos", "second-1.dcos"]);
    assert!(ran.out.contains("CHANGE") && ran.out.contains(&format!("({} bytes) of", bytes + 5)), "{}", ran.out);
    let same = succeed(folder.path(), &["registry", "diff", "first-1.dcos", "first-1.dcos"]).out;
    assert!(same.starts_with("Adds 0 B (0 bytes) of"), "{same}");
}

#[test]
fn extract_writes_everything_or_nothing_and_images_are_a_layout_to_build_from() {
    let folder = tempfile::tempdir().unwrap();
    let registry = two(folder.path());
    let ran = succeed(folder.path(), &["registry", "extract", "second-1.dcos"]);
    assert_eq!(ran.out, "Created directory second-1\n");
    let out = folder.path().join("second-1");
    assert_eq!(names(&out), ["images", "manifest.json", "metadata.json", "resources"]);
    assert_eq!(fs::read_to_string(out.join("resources").join(hex(b"B!")).join("b.txt")).unwrap(), "B!");
    fail(folder.path(), &["registry", "extract", "second-1.dcos"], &["second-1", "not empty"]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    succeed(folder.path(), &["registry", "extract", "second-1.dcos", "--output-directory=empty", "--json"]);
    assert_eq!(names(&folder.path().join("empty")).len(), 4);
    // The layout is a source of images for another build; nothing is asked of the registry then.
    let asked = registry.asked().len();
    let before = fs::read(folder.path().join("second-1.dcos")).unwrap();
    let build = ["registry", "build", "--build-definition-file=definition.json", "--images=oci:second-1/images"];
    succeed(folder.path(), &build);
    assert_eq!(fs::read(folder.path().join("second-1.dcos")).unwrap(), before);
    assert_eq!(registry.asked().len(), asked);
    let mut bad = before;
    let last = bad.len() - 200;
    bad[last] ^= 1;
    fs::write(folder.path().join("bad.dcos"), bad).unwrap();
    let there = names(folder.path());
    fail(folder.path(), &["registry", "extract", "bad.dcos", "--output-directory=bad"], &["bad.dcos"]);
    assert_eq!(names(folder.path()), there);
}
