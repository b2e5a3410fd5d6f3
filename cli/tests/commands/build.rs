//! `build`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bundle::digest::sha256;
use serde_json::{Value, json};

use crate::program::{fail, hex, names, package, read_bundle, succeed, write_package};

const DEFINITION: &str = "--build-definition-file=sample-1.0-beta.json";
const BUNDLE: &str = "sample-1.0-beta.dcos";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn migrated(folder: &Path, files: &[(&str, &[u8])]) {
    write_package(folder, &package(), files);
    succeed(folder, &["registry", "migrate", "--package-directory=package"]);
}

/// An OCI layout with the image `acme/web:1`; gives the digest of its manifest.
pub fn layout(folder: &Path, name: &str) -> String {
    let descriptor =
        |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()});
    let layer = b"layer".to_vec();
    let config =
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]}})
            .to_string()
            .into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let mut target = descriptor(MANIFEST, &manifest);
    target["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in [&layer, &config, &manifest] {
        fs::write(blobs.join(hex(blob)), blob).unwrap();
    }
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [target]}).to_string()).unwrap();
    sha256(&manifest)
}

pub fn tarred(folder: &Path, output: &str) {
    let done = std::process::Command::new("tar").args(["-cf", output, "-C"]).arg(folder).arg(".").status().unwrap();
    assert!(done.success());
}

const RESOURCE: &str = r#"{"assets":{"uris":{"one":"./a/x.txt","two":"b/x.txt","again":"a/x.txt","none":""},
    "container":{"docker":{"main":"acme/web:1","same":"acme/web:1"}}},
    "cli":{"binaries":{"linux":{"x86-64":{"kind":"executable","url":"cli","contentHash":[{"algo":"sha256","value":"HASH"}]}}}}}"#;

fn whole(folder: &Path) {
    let resource = RESOURCE.replace("HASH", &hex(b"#!/bin/sh\n").to_uppercase());
    migrated(
        folder,
        &[
            ("resource.json", resource.as_bytes()),
            ("a/x.txt", b"one"),
            ("b/x.txt", b"two"),
            ("cli", b"#!/bin/sh\n"),
            ("marathon.json.mustache", b"{}"),
            ("config.json", br#"{"n":1.0}"#),
        ],
    );
}

#[test]
fn a_package_with_files_and_an_image_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    whole(path);
    let digest = layout(&path.join("layout"), "docker.io/acme/web:1");
    let ran = succeed(path, &["registry", "build", DEFINITION, "--images=oci:layout"]);
    let expected = "Fetching package/a/x.txt\nFetching package/b/x.txt\nSaving docker images [acme/web:1]\nFetching package/cli\n\
                    Created DC/OS Universe Package sample-1.0-beta.dcos\n";
    assert_eq!(ran.out, expected);
    assert!(ran.err.contains("resource.assets.uris.none is empty"), "{}", ran.err);
    assert_eq!(names(path), ["layout", "package", BUNDLE, "sample-1.0-beta.json"]);
    assert_eq!(fs::metadata(path.join(BUNDLE)).unwrap().permissions().mode() & 0o777, 0o600);
    let bundle = read_bundle(&path.join(BUNDLE));
    let metadata: Value = serde_json::from_slice(&bundle.metadata).unwrap();
    let uris = &metadata["resource"]["assets"]["uris"];
    assert_eq!(uris["one"], format!("resources/{}/x.txt", hex(b"one")));
    assert_eq!((&uris["again"], &uris["none"]), (&uris["one"], &json!("")));
    assert_eq!(uris["two"], format!("resources/{}/x.txt", hex(b"two")));
    assert!(String::from_utf8_lossy(&bundle.metadata).contains(r#""config":{"n":1.0}"#));
    assert_eq!(bundle.files.len(), 3);
    let images: Vec<_> =
        bundle.images.iter().map(|image| (image.alias.as_str(), image.target.digest.as_str())).collect();
    assert_eq!(images, [("main", digest.as_str()), ("same", digest.as_str())]);
    let manifest: Value = serde_json::from_slice(&bundle.manifest.unwrap()).unwrap();
    assert!(manifest["built-by"].as_str().unwrap().starts_with("dcos-registry "));
    assert_eq!(manifest["resources"].as_array().unwrap().len(), 3);
}

#[test]
fn the_same_input_gives_the_same_bytes_and_every_form_of_images_the_same_package() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    whole(path);
    layout(&path.join("layout"), "acme/web:1");
    let archive = path.join("layout.tar");
    tarred(&path.join("layout"), archive.to_str().unwrap());
    let mut built = Vec::new();
    for images in ["oci:layout", "oci:layout", "oci-archive:layout.tar", "docker-archive:layout.tar"] {
        fs::create_dir_all(path.join("out")).unwrap();
        let images = format!("--images={images}");
        let ran = succeed(path, &["registry", "build", "--json", DEFINITION, "--output-directory=out/", &images]);
        assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), json!({"name": format!("out/{BUNDLE}")}));
        assert!(ran.err.contains("Fetching package/cli"));
        built.push(fs::read(path.join("out").join(BUNDLE)).unwrap());
    }
    assert!(built.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(names(&path.join("out")), [BUNDLE]);
}

#[test]
fn a_source_of_images_that_is_wrong_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    whole(path);
    fail(
        path,
        &["registry", "build", "--json", DEFINITION, "--images=oci:nowhere"],
        &["--images", "nowhere/oci-layout"],
    );
    fail(path, &["registry", "build", "--json", DEFINITION, "--images=layout"], &["--images", "oci:DIRECTORY"]);
    let digest = layout(&path.join("layout"), "acme/web:1");
    let manifest = path.join("layout/blobs/sha256").join(digest.trim_start_matches("sha256:"));
    fs::write(&manifest, fs::read_to_string(&manifest).unwrap().replace("amd64", "amd63")).unwrap();
    let layer = path.join("layout/blobs/sha256").join(hex(b"layer"));
    fs::write(&layer, "LAYER").unwrap();
    fail(path, &["registry", "build", "--json", DEFINITION, "--images=oci:layout"], &["digest", &hex(b"layer")]);
    fs::remove_file(&layer).unwrap();
    fail(
        path,
        &["registry", "build", "--json", DEFINITION, "--images=oci:layout"],
        &["acme/web:1", &hex(b"layer"), "not there"],
    );
    assert_eq!(names(path), ["layout", "package", "sample-1.0-beta.json"]);
}

#[test]
fn files_that_are_missing_or_other_than_said_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    whole(path);
    layout(&path.join("layout"), "acme/web:1");
    let arguments = ["registry", "build", DEFINITION, "--images=oci:layout"];
    fs::write(path.join("package/cli"), "other").unwrap();
    let (expected, found) = (hex(b"#!/bin/sh\n"), hex(b"other"));
    fail(path, &[&arguments[..], &["--json"]].concat(), &["package/cli", &expected, &found]);
    fs::remove_file(path.join("package/b/x.txt")).unwrap();
    // Lines about what is going on come before the failure, but no result.
    let ran = crate::program::run(path, &arguments);
    assert_eq!(ran.code, 1);
    assert!(!ran.out.contains("Created") && ran.err.contains("package/b/x.txt"), "{}{}", ran.out, ran.err);
    assert_eq!(names(path), ["layout", "package", "sample-1.0-beta.json"]);
}

#[test]
fn local_references_are_replaced_and_their_files_named_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("parts")).unwrap();
    fs::create_dir_all(path.join("elsewhere")).unwrap();
    fs::write(path.join("parts/app.mustache"), "{}\n").unwrap();
    fs::write(path.join("parts/config.json"), r#"{"type":"object"}"#).unwrap();
    fs::write(path.join("parts/resource.json"), r#"{"assets":{"uris":{"a":"a.txt"}}}"#).unwrap();
    fs::write(path.join("parts/a.txt"), "a").unwrap();
    let definition = json!({"packagingVersion": "3.0", "name": "sample", "version": "1", "maintainer": "", "description": "", "tags": [],
        "marathon": {"v2AppMustacheTemplate": "@parts/app.mustache"}, "config": "@parts/config.json", "resource": "@parts/resource.json"});
    fs::write(path.join("definition"), definition.to_string()).unwrap();
    // From another working directory: paths start from the file that they are in.
    let arguments = ["registry", "build", "--build-definition-file", "../definition", "--json"];
    succeed(&path.join("elsewhere"), &arguments);
    let bundle = read_bundle(&path.join("elsewhere/sample-1.dcos"));
    let metadata: Value = serde_json::from_slice(&bundle.metadata).unwrap();
    assert_eq!(metadata["marathon"]["v2AppMustacheTemplate"], "e30K");
    assert_eq!(metadata["config"]["type"], "object");
    assert_eq!(bundle.files[0].name, "a.txt");
    fs::write(path.join("parts/resource.json"), r#"{"asset":{}}"#).unwrap();
    fail(&path.join("elsewhere"), &arguments, &["parts/resource.json", "$.resource.asset"]);
    fs::write(path.join("parts/config.json"), r#""@other.json""#).unwrap();
    fail(&path.join("elsewhere"), &arguments, &["parts/config.json", "not nested"]);
    fs::remove_file(path.join("parts/app.mustache")).unwrap();
    fail(&path.join("elsewhere"), &arguments, &["parts/app.mustache"]);
}

/// Answers requests with the path's own name, or 404, and counts them.
fn server() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
            }
            let request = String::from_utf8(request).unwrap();
            let target = request.split(' ').nth(1).unwrap().to_owned();
            let answer = match target.as_str() {
                "/moved" => {
                    "HTTP/1.1 302 Found\r\nlocation: /there.txt\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                        .to_owned()
                }
                "/missing" => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
                "/short" => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nabc".to_owned(),
                other => {
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{other}", other.len())
                }
            };
            stream.write_all(answer.as_bytes()).unwrap();
            sender.send(target).unwrap();
        }
    });
    (port, receiver)
}

#[test]
fn files_are_downloaded_once_and_credentials_are_kept_out_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (port, requests) = server();
    let base = format!("http://127.0.0.1:{port}");
    let resource = json!({"assets": {"uris": {
        "a": format!("{base}/a%2Bb.txt?raw=true"), "again": format!("{base}/a%2Bb.txt?raw=true"), "moved": format!("{base}/moved"),
        "secret": format!("http://user:secret@127.0.0.1:{port}/private.txt"),
    }}});
    migrated(path, &[("resource.json", resource.to_string().as_bytes())]);
    let ran = succeed(path, &["registry", "build", DEFINITION]);
    assert!(!ran.out.contains("secret@") && ran.out.contains(&format!("Fetching {base}/private.txt")), "{}", ran.out);
    let asked: Vec<_> = requests.try_iter().collect();
    assert_eq!(asked, ["/a%2Bb.txt?raw=true", "/moved", "/there.txt", "/private.txt"]);
    let bundle = read_bundle(&path.join(BUNDLE));
    let manifest = String::from_utf8(bundle.manifest.unwrap()).unwrap();
    assert!(
        manifest.contains("a_b.txt") && manifest.contains("/private.txt") && !manifest.contains("user"),
        "{manifest}"
    );
    assert!(!String::from_utf8(bundle.metadata).unwrap().contains("user"));
    assert_eq!(bundle.files.len(), 3);
}

#[test]
fn downloads_that_fail_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (port, _requests) = server();
    for (target, word) in [("missing", "404"), ("short", "")] {
        let address = format!("http://127.0.0.1:{port}/{target}");
        let resource = json!({"assets": {"uris": {"a": address}}}).to_string();
        migrated(path, &[("resource.json", resource.as_bytes())]);
        let ran = crate::program::run(path, &["registry", "build", DEFINITION, "--json"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains(&format!("Error: {address}")) && ran.err.contains(word), "{}", ran.err);
        assert_eq!(names(path), ["package", "sample-1.0-beta.json"]);
    }
}

#[test]
fn definitions_that_break_a_rule_are_refused_with_the_file_and_the_place_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let arguments = ["registry", "build", "--build-definition-file=definition.json", "--json"];
    let refused = |text: &str, words: &[&str]| {
        fs::write(path.join("definition.json"), text).unwrap();
        fail(path, &arguments, &[&["definition.json"][..], words].concat());
    };
    fail(path, &arguments, &["definition.json", "No such file"]);
    refused("{\n  \"name\": ,\n}", &["line 2 column 11"]);
    refused("[]", &["$.packagingVersion"]);
    let sample = json!({"packagingVersion": "4.0", "name": "sample", "version": "1", "maintainer": "", "description": "", "tags": []});
    let binary = json!({"kind": "executable", "url": "cli", "contentHash": [{"algo": "md5", "value": "0"}]});
    let mut otherwise = Vec::new();
    for (key, value, words) in [
        ("packagingVersion", json!("2.0"), ["packagingVersion is \"2.0\"", "3.0"]),
        ("packagingVersion", json!("6.0"), ["packagingVersion is \"6.0\"", "5.0"]),
        ("releaseVersion", json!(1), ["$.releaseVersion", "not allowed"]),
        ("selected", json!(true), ["$.selected", "not allowed"]),
        ("name", json!("Sample"), ["$.name", "lower-case"]),
        ("version", json!("1+2"), ["$.version", "must"]),
        ("tags", json!(["a b"]), ["$.tags[0]", "white space"]),
        ("command", json!({"pip": []}), ["$.command", "not allowed in packagingVersion 4.0"]),
        ("manager", json!({"packageName": "ab"}), ["$.manager", "not allowed in packagingVersion 4.0"]),
        ("config", json!("config.json"), ["$.config", "@"]),
        ("resource", json!("resource.json"), ["$.resource", "@"]),
        ("resource", json!({"asset": {}}), ["$.resource.asset", "not allowed"]),
        ("resource", json!({"assets": {"uris": {"a": 1}}}), ["$.resource.assets.uris.a", "string"]),
        ("resource", json!({"cli": {"binaries": {"linux": {"x86-64": binary}}}}), ["contentHash[0]", "sha256"]),
        ("marathon", json!({"v2AppMustacheTemplate": "no base64!"}), ["$.marathon.v2AppMustacheTemplate", "base64"]),
        ("resource", json!({"assets": {"uris": {"a": "s3://bucket/key"}}}), ["s3://bucket/key", "only http"]),
        ("resource", json!({"assets": {"uris": {"a": "nowhere.txt"}}}), ["nowhere.txt", "No such file"]),
        ("resource", json!({"assets": {"uris": {"a": "."}}}), [".", "regular file"]),
    ] {
        let mut definition = sample.clone();
        definition[key] = value;
        fs::write(path.join("definition.json"), definition.to_string()).unwrap();
        let ran = crate::program::run(path, &arguments);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{definition}");
        if words.iter().any(|word| !ran.err.contains(word)) {
            otherwise.push(format!("{words:?}: {}", ran.err));
        }
        assert_eq!(names(path), ["definition.json"]);
    }
    assert!(otherwise.is_empty(), "{}", otherwise.concat());
}

#[test]
fn without_anything_from_elsewhere_no_cache_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    whole(path);
    layout(&path.join("layout"), "acme/web:1");
    // A file where the folder would be.
    let blocked = path.join("package/cli");
    let built = |images: &[&str]| {
        let arguments = [&["registry", "build", DEFINITION][..], images].concat();
        crate::program::finish(crate::program::program(path, &arguments).env("XDG_CACHE_HOME", &blocked))
    };
    let ran = built(&["--images=oci:layout"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = built(&[]);
    assert!(ran.code == 1 && ran.err.contains("the cache") && ran.err.contains("package/cli"), "{}", ran.err);
}
