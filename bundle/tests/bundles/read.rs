//! Bundles read as a stream: whole ones, and every way to be wrong.

use crate::sample::*;
use bundle::digest::sha256;
use bundle::stream::{self, Limits, ReadError};
use serde_json::{Value, json};

#[track_caller]
fn refused(entries: &Entries, place: &str, why: &str) {
    match read(&zipped(entries)) {
        Err(ReadError::Invalid { place: found, reason }) => {
            assert!(found.contains(place), "{found}: {reason}");
            assert!(reason.contains(why), "{found}: {reason}");
        }
        other => panic!("expected {place}: {why}, got {other:?}"),
    }
}

fn changed_metadata(change: impl Fn(&mut Value)) -> Entries {
    let mut metadata = metadata();
    change(&mut metadata);
    with(whole(), "metadata.json", metadata.to_string())
}

#[test]
fn a_whole_bundle_is_read() {
    let image = image("amd64");
    let mut sink = Memory::default();
    let bundle = stream::read(&zipped(&whole())[..], &mut sink, &Limits::default()).unwrap();
    assert_eq!((bundle.name.as_str(), bundle.version.as_str()), ("sample", "1.0-beta"));
    assert_eq!(bundle.metadata, metadata().to_string().as_bytes());
    assert_eq!(bundle.files.len(), 1);
    assert_eq!(bundle.files[0].digest, sha256(FILE));
    let aliases: Vec<_> = bundle.images.iter().map(|image| image.alias.as_str()).collect();
    assert_eq!(aliases, ["again", "main"]);
    let main = &bundle.images[1];
    assert_eq!((main.repository.as_str(), main.tag.as_deref()), ("docker.io/acme/web", Some("1")));
    assert_eq!(main.target.digest, sha256(&image.manifest));
    assert_eq!(main.platforms, ["linux/amd64"]);
    assert_eq!(main.blobs.len(), 2);
    let parts = [FILE, &image.layer, &image.config, &image.manifest];
    assert_eq!(bundle.size, parts.iter().map(|part| part.len() as u64).sum::<u64>());
    assert!(parts.iter().all(|part| sink.blobs.contains_key(&sha256(part))));
}

#[test]
fn the_content_digest_is_what_the_design_says_and_does_not_depend_on_the_zip() {
    let image = image("amd64");
    let canonical = format!(
        r#"{{"files":[{{"name":"need.txt","sha256":"{}"}}],"images":[{{"digest":"{}","reference":"acme/web:1"}}],"metadata":"{}"}}"#,
        hex(FILE),
        sha256(&image.manifest),
        sha256(metadata().to_string().as_bytes()),
    );
    let bundle = read(&zipped(&whole())).unwrap();
    assert_eq!(bundle.content_digest, sha256(canonical.as_bytes()));
    let mut reversed = whole();
    reversed.reverse();
    assert_eq!(read(&zipped(&reversed)).unwrap(), bundle);
}

#[test]
fn entries_that_are_missing_are_named() {
    // faults.md 31: no metadata.json; 34: layers that are absent.
    let image = image("amd64");
    refused(&without(whole(), "metadata.json"), "metadata.json", "missing");
    refused(&without(whole(), "manifest.json"), "manifest.json", "missing");
    refused(&without(whole(), &file_path()), "metadata.json", &file_path());
    refused(&without(whole(), "images/oci-layout"), "images/oci-layout", "missing");
    refused(&without(whole(), "images/index.json"), "images/index.json", "missing");
    for (part, what) in [(&image.layer, "layer"), (&image.config, "config"), (&image.manifest, "manifest")] {
        refused(&without(whole(), &blob_entry(part).0), "image acme/web:1", what);
    }
}

#[test]
fn entries_that_belong_to_nothing_are_refused() {
    // faults.md 31: two metadata.json.
    for name in [
        "README",
        "resources/x/y",
        "metadata.json.bak",
        "images/blobs/sha512/aa",
        "signatures/a.json",
        "signatures/01.json",
    ] {
        refused(&with(whole(), name, "x"), name, "no such entry");
    }
    let path = format!("resources/{}/more.txt", hex(b"x"));
    refused(&with(whole(), &path, "x"), &path, "does not name it");
    let (path, content) = blob_entry(b"x");
    refused(&with(whole(), &path, content), &path, "belongs to no image");
    refused(
        &with(whole(), "docker/images.tar", tarred(&[("manifest.json", b"[]")])),
        "docker/images.tar",
        "docker save",
    );
    let twice = [whole(), vec![whole().remove(0)]].concat();
    refused(&twice, "metadata.json", "two entries");
}

#[test]
fn content_that_is_not_what_its_name_says_is_refused() {
    // faults.md 34: a digest that is not that of the content.
    refused(&with(whole(), &file_path(), "other"), &file_path(), "digest");
    let (layer, _) = blob_entry(&image("amd64").layer);
    refused(&with(whole(), &layer, "other"), &layer, "digest");
    let lying =
        json!({"built-by": "x", "resources": [{"path": file_path(), "size": 1, "sha256": hex(FILE), "source": ""}]});
    refused(&with(whole(), "manifest.json", lying.to_string()), "manifest.json", "is not so");
    refused(&with(whole(), "manifest.json", r#"{"built-by":"x","format":2}"#), "manifest.json", "must be 1");
}

#[test]
fn metadata_that_breaks_a_rule_is_refused_with_its_path() {
    // faults.md 34: unknown fields, 10⁴ levels; universe.md 3, 4, 10.
    let cases: [(&str, Value, &str); 14] = [
        ("/name", json!("Sample"), "$.name"),
        ("/name", json!("s"), "$.name"),
        ("/version", json!("1_0"), "$.version"),
        ("/version", json!("v".repeat(64)), "$.version"),
        ("/tags", json!(["a b"]), "$.tags[0]"),
        ("/packagingVersion", json!(4.0), "$.packagingVersion"),
        ("/releaseVersion", json!(1), "$.releaseVersion"),
        ("/selected", json!(true), "$.selected"),
        ("/manager", json!({"packageName": "other"}), "$.manager"),
        ("/lastUpdated", json!(1.5), "$.lastUpdated"),
        ("/minDcosReleaseVersion", json!("1.x"), "$.minDcosReleaseVersion"),
        ("/config", json!("@config.json"), "$.config"),
        ("/marathon", json!({"v2AppMustacheTemplate": "a-_="}), "$.marathon.v2AppMustacheTemplate"),
        ("/licenses", json!([{"name": "x", "url": "http://[::z/"}]), "$.licenses[0].url"),
    ];
    for (pointer, value, path) in cases {
        let entries = changed_metadata(|metadata| metadata[pointer.trim_start_matches('/')] = value.clone());
        refused(&entries, "metadata.json", path);
    }
    let resource = |key: &str, value: Value| changed_metadata(|metadata| metadata["resource"][key] = value.clone());
    refused(&resource("images", json!({"icon-small": "./icon.png"})), "metadata.json", "$.resource.images.icon-small");
    refused(&resource("cli", json!({"binaries": {"linux": {}}})), "metadata.json", "$.resource.cli.binaries.linux");
    refused(&resource("other", json!({})), "metadata.json", "$.resource.other");
    refused(&with(whole(), "metadata.json", "{"), "metadata.json", "line 1");
    refused(&with(whole(), "metadata.json", r#"{"name":"a","name":"b"}"#), "metadata.json", "twice");
    refused(&with(whole(), "metadata.json", "[".repeat(10_000)), "metadata.json", "line 1");
    let limits = Limits { json: 100, ..Limits::default() };
    let error = stream::read(&zipped(&whole())[..], &mut Memory::default(), &limits).unwrap_err();
    assert!(error.to_string().contains("metadata.json: it has more than 100 bytes"), "{error}");
}

#[test]
fn what_the_consumer_of_the_repository_can_not_read_is_refused_before_it_is_visible() {
    // universe.md 7.3, the second table and the last paragraph.
    let resource = |value: Value| ("resource", value);
    let binary = |value: Value| resource(json!({"cli": {"binaries": {"linux": value}}}));
    let license = |url: &str| ("licenses", json!([{"name": "x", "url": url}]));
    for (key, value) in [
        ("lastUpdated", json!(1e30)),
        ("lastUpdated", json!("1569283200")),
        ("minDcosReleaseVersion", json!("01")),
        ("minDcosReleaseVersion", json!("1.2147483648")),
        ("marathon", json!({"v2AppMustacheTemplate": "YWJj\nYWJj"})),
        ("marathon", json!({"v2AppMustacheTemplate": ""})),
        ("config", json!([])),
        ("framework", json!("true")),
        ("tags", json!(["a\u{2003}b"])),
        ("licenses", json!([{"name": "x"}])),
        license("http://a/[x]"),
        license("http://a b/"),
        license("http://a/%zz"),
        license("mailto:"),
        resource(json!({"assets": {"container": {"docker": null}}})),
        resource(json!({"assets": {"uris": {"a": "http://[::z/"}}})),
        resource(json!({"images": {"icon-small": "http://a/%"}})),
        resource(json!({"images": {"screenshots": ["http://a/{b}"]}})),
        binary(json!({"arm64": {}})),
        binary(
            json!({"x86-64": {"kind": "zip", "url": "ftp://a/b", "contentHash": [{"algo": "sha256", "value": "x"}]}}),
        ),
        binary(json!({"x86-64": {"kind": "zip", "url": "http://a/b", "contentHash": []}})),
    ] {
        let entries = changed_metadata(|metadata| metadata[key] = value.clone());
        refused(&entries, "metadata.json", &format!("$.{key}"));
    }
    let five = |manager: Value| {
        changed_metadata(|metadata| {
            metadata["packagingVersion"] = json!("5.0");
            metadata["manager"] = manager.clone();
        })
    };
    refused(&five(json!({})), "metadata.json", "$.manager");
    for url in ["http://a/b?c[]=d#[e]", "http://[::1]/", "https://a.test/%5Bx%5D", "relative/path"] {
        let (key, value) = license(url);
        let entries = changed_metadata(|metadata| metadata[key] = value.clone());
        assert!(read(&zipped(&entries)).is_ok(), "{url}");
    }
}

#[test]
fn other_packaging_versions_are_unsupported() {
    // faults.md 34: packagingVersion 2.0 and 6.0.
    for version in ["2.0", "6.0", ""] {
        let entries = changed_metadata(|metadata| metadata["packagingVersion"] = json!(version));
        match read(&zipped(&entries)) {
            Err(ReadError::Unsupported { version: found }) => assert_eq!(found, version),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_bundle_of_the_predecessor_without_files_needs_no_manifest() {
    let metadata = json!({"packagingVersion": "3.0", "name": "old", "version": "1", "maintainer": "", "description": "", "tags": [],
        "command": {"pip": ["a"]}, "lastUpdated": 1_569_283_200, "resource": {"assets": {"uris": {"a": "https://e.test/a", "b": ""}}}});
    let bundle = read(&zipped(&vec![("metadata.json".into(), metadata.to_string().into_bytes())])).unwrap();
    assert_eq!((bundle.packaging_version.as_str(), bundle.size, bundle.files.len()), ("3.0", 0, 0));
}

#[test]
fn signatures_are_given_back_in_order() {
    let mut entries = whole();
    for number in [10, 2, 0] {
        entries = with(entries, &format!("signatures/{number}.json"), number.to_string());
    }
    assert_eq!(read(&zipped(&entries)).unwrap().signatures, [b"0".to_vec(), b"2".to_vec(), b"10".to_vec()]);
}

#[test]
fn signatures_have_a_number_and_sizes_that_they_keep_to() {
    let signed = |count: usize, bytes: usize| {
        let signature = |number| (format!("signatures/{number}.json"), vec![b' '; bytes]);
        whole().into_iter().chain((0..count).map(signature)).collect::<Entries>()
    };
    assert_eq!(read(&zipped(&signed(16, 10))).unwrap().signatures.len(), 16);
    refused(&signed(17, 10), "signatures/16.json", "more than 16 signatures");
    refused(&signed(1, (1 << 20) + 1), "signatures/0.json", "more than 1048576 bytes");
    refused(&signed(5, 1 << 20), "signatures/4.json", "more than 4194304 bytes together");
}

#[test]
fn metadata_has_4_mib_at_most() {
    // faults.md 34: large JSON.
    let entries = changed_metadata(|metadata| metadata["description"] = json!("x".repeat(4 << 20)));
    let limits = Limits { ratio: 1 << 20, ..Limits::default() };
    let error = stream::read(&zipped(&entries)[..], &mut Memory::default(), &limits).unwrap_err();
    assert!(error.to_string().contains("metadata.json: it has more than 4194304 bytes"), "{error}");
}

fn with_aliases(entries: &Entries, count: usize) -> Entries {
    let aliases: serde_json::Map<_, _> = (0..count).map(|n| (format!("a{n}"), json!("acme/web:1"))).collect();
    let mut metadata = metadata();
    metadata["resource"]["assets"]["container"]["docker"] = Value::Object(aliases);
    with(entries.clone(), "metadata.json", metadata.to_string())
}

#[test]
fn a_small_bundle_can_not_name_one_large_image_so_often_that_it_fills_the_memory() {
    let layers: Vec<Vec<u8>> = (0..200).map(|n| format!("layer {n}").into_bytes()).collect();
    let config = br#"{"architecture":"amd64","os":"linux"}"#;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers.iter().map(|l| descriptor("application/vnd.oci.image.layer.v1.tar", l)).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string().into_bytes();
    let blobs: Vec<&[u8]> = layers.iter().map(Vec::as_slice).chain([&config[..], &manifest]).collect();
    let entries = bundle_entries(&descriptor(MANIFEST_TYPE, &manifest), &blobs);
    assert_eq!(read(&zipped(&with_aliases(&entries, 900))).unwrap().images.len(), 900);
    refused(&with_aliases(&entries, 1000), "image acme/web:1", "more than 200000 manifests and blobs");
}

fn multi_platform(whole_arm: bool) -> Entries {
    let (amd, arm) = (image("amd64"), image("arm64"));
    let platform = |manifest: &[u8], architecture: &str, variant: Option<&str>| {
        let mut child = descriptor(MANIFEST_TYPE, manifest);
        child["platform"] = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            child["platform"]["variant"] = json!(variant);
        }
        child
    };
    let manifests = [platform(&amd.manifest, "amd64", None), platform(&arm.manifest, "arm64", Some("v8"))];
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}).to_string().into_bytes();
    let mut blobs: Vec<&[u8]> = vec![&amd.layer, &amd.config, &amd.manifest, &arm.config, &arm.manifest, &index];
    if whole_arm {
        blobs.push(&arm.layer);
    }
    bundle_entries(&descriptor(INDEX_TYPE, &index), &blobs)
}

#[test]
fn an_index_is_read_with_all_its_platforms_or_refused() {
    // faults.md 34: layers absent of a platform that the bundle claims.
    let bundle = read(&zipped(&multi_platform(true))).unwrap();
    let image = &bundle.images[0];
    assert_eq!(image.platforms, ["linux/amd64", "linux/arm64/v8"]);
    assert_eq!((image.manifests.len(), image.blobs.len()), (3, 4));
    assert_eq!(image.manifests[2], image.target, "children come before parents");
    refused(&multi_platform(false), "image acme/web:1", "layer of linux/arm64/v8, sha256:");
}

#[test]
fn a_manifest_that_is_also_somebodys_layer_is_walked_all_the_same() {
    let (amd, arm) = (image("amd64"), image("arm64"));
    let mut manifest: Value = serde_json::from_slice(&amd.manifest).unwrap();
    let layer = "application/vnd.oci.image.layer.v1.tar";
    manifest["layers"].as_array_mut().unwrap().push(descriptor(layer, &arm.manifest));
    let manifest = manifest.to_string().into_bytes();
    let children = [descriptor(MANIFEST_TYPE, &manifest), descriptor(MANIFEST_TYPE, &arm.manifest)];
    let index = json!({"schemaVersion": 2, "manifests": children}).to_string().into_bytes();
    // The second child's own layer is not there.
    let blobs: [&[u8]; 6] = [&amd.layer, &amd.config, &manifest, &arm.config, &arm.manifest, &index];
    refused(&bundle_entries(&descriptor(INDEX_TYPE, &index), &blobs), "image acme/web:1", &sha256(&arm.layer));
}

#[test]
fn images_that_the_metadata_names_otherwise_are_refused() {
    let other = changed_metadata(|metadata| {
        metadata["resource"]["assets"]["container"]["docker"]["main"] = json!("acme/web:2");
    });
    refused(&other, "image acme/web:2", "not in the bundle");
    let digest = sha256(&image("amd64").manifest);
    let pinned = changed_metadata(|metadata| {
        metadata["resource"]["assets"]["container"]["docker"] = json!({"main": format!("acme/web@{digest}")});
    });
    let bundle = read(&zipped(&pinned)).unwrap();
    assert_eq!((bundle.images[0].tag.as_deref(), &bundle.images[0].target.digest), (None, &digest));
}

#[test]
fn a_document_that_two_readers_take_for_different_things_is_refused() {
    let sample = image("amd64");
    let mut manifest: Value = serde_json::from_slice(&sample.manifest).unwrap();
    let both = |change: &dyn Fn(&mut Value)| {
        let mut manifest = manifest.clone();
        change(&mut manifest);
        let manifest = manifest.to_string().into_bytes();
        bundle_entries(&descriptor(MANIFEST_TYPE, &manifest), &[&sample.layer, &sample.config, &manifest])
    };
    refused(&both(&|manifest| manifest["manifests"] = json!([])), "image acme/web:1", "manifests");
    refused(&both(&|manifest| manifest["mediaType"] = json!(INDEX_TYPE)), "image acme/web:1", "mediaType");
    refused(&both(&|manifest| manifest["layers"][0]["size"] = json!(1)), "image acme/web:1", "says 1");
    manifest["schemaVersion"] = json!(2);
    let schema1 = descriptor("application/vnd.docker.distribution.manifest.v1+prettyjws", &sample.manifest);
    refused(
        &bundle_entries(&schema1, &[&sample.layer, &sample.config, &sample.manifest]),
        "image acme/web:1",
        "media type",
    );
}

#[test]
fn referrers_travel_with_their_image() {
    let sample = image("amd64");
    let (empty, signature) = (b"{}".to_vec(), b"signature".to_vec());
    let referrer = |subject: &[u8]| {
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": "application/vnd.example.signature",
            "config": descriptor("application/vnd.oci.empty.v1+json", &empty),
            "layers": [descriptor("application/vnd.example.signature", &signature)],
            "subject": descriptor(MANIFEST_TYPE, subject),
        })
        .to_string()
        .into_bytes()
    };
    let listed = |subject: &[u8], times: usize| {
        let manifest = referrer(subject);
        let mut entries = whole();
        let mut index: Value = serde_json::from_slice(&entries[4].1).unwrap();
        let more = std::iter::repeat_n(descriptor(MANIFEST_TYPE, &manifest), times);
        index["manifests"].as_array_mut().unwrap().extend(more);
        entries[4].1 = index.to_string().into_bytes();
        entries.extend([blob_entry(&manifest), blob_entry(&empty), blob_entry(&signature)]);
        entries
    };
    let entries = |subject: &[u8]| listed(subject, 1);
    let bundle = read(&zipped(&entries(&sample.manifest))).unwrap();
    // However often the index lists it.
    let again = read(&zipped(&listed(&sample.manifest, 40_000))).unwrap();
    assert_eq!(again.images, bundle.images);
    let image = &bundle.images[0];
    assert_eq!(image.manifests[1].digest, sha256(&referrer(&sample.manifest)));
    assert!(image.blobs.iter().any(|blob| blob.digest == sha256(&signature)));
    assert_eq!(image.platforms, ["linux/amd64"]);
    refused(&entries(b"another"), "images/index.json", "belongs to no image");
}

/// A bundle whose index lists this under these names, too.
fn with_named(named: &[(&str, &[u8])], blobs: &[&[u8]]) -> Entries {
    let mut entries = whole();
    let mut index: Value = serde_json::from_slice(&entries[4].1).unwrap();
    for (name, manifest) in named {
        let mut listed = descriptor(MANIFEST_TYPE, manifest);
        listed["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        index["manifests"].as_array_mut().unwrap().push(listed);
    }
    entries[4].1 = index.to_string().into_bytes();
    entries.extend(blobs.iter().map(|blob| blob_entry(blob)));
    entries
}

/// A manifest that refers to nothing.
fn kept(layer: &[u8]) -> Vec<u8> {
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.example.signature", layer)],
    });
    document.to_string().into_bytes()
}

#[test]
fn what_a_tag_beside_an_image_is_for_travels_with_it() {
    let sample = image("amd64");
    let (signature, of_signature) = (kept(b"signature"), kept(b"of the signature"));
    let tag = |manifest: &[u8], kind: &str| format!("sha256-{}.{kind}", hex(manifest));
    let name = |tag: &str| format!("docker.io/acme/web:{tag}");
    let (sig, att) = (tag(&sample.manifest, "sig"), tag(&sample.manifest, "att"));
    let deeper = tag(&signature, "sig");
    let named = [(name(&sig), &signature), (name(&att), &signature), (name(&deeper), &of_signature)];
    let named: Vec<_> = named.iter().map(|(name, manifest)| (name.as_str(), manifest.as_slice())).collect();
    let blobs: [&[u8]; 5] = [&signature, &of_signature, b"{}", b"signature", b"of the signature"];
    let bundle = read(&zipped(&with_named(&named, &blobs))).unwrap();
    let without = read(&zipped(&whole())).unwrap();
    assert_eq!(bundle.content_digest, without.content_digest, "who signed the package goes on having signed it");
    let aliases: Vec<_> = bundle.images.iter().map(|image| image.alias.as_str()).collect();
    assert_eq!(aliases, ["again", "main"], "a tag is no image of the package");
    for image in &bundle.images {
        let mut expected = [(&att, &signature), (&sig, &signature), (&deeper, &of_signature)]
            .map(|(tag, manifest)| (tag.clone(), sha256(manifest)));
        expected.sort();
        let found: Vec<_> = image.attachments.iter().map(|at| (at.tag.clone(), at.target.digest.clone())).collect();
        assert_eq!(found, expected);
        let manifests: Vec<_> = image.manifests.iter().map(|manifest| manifest.digest.clone()).collect();
        assert_eq!(manifests, [&sample.manifest, &signature, &of_signature].map(|manifest| sha256(manifest)));
        assert_eq!((image.blobs.len(), image.platforms.clone()), (2 + 3, vec!["linux/amd64".to_owned()]));
    }
}

#[test]
fn a_tag_beside_no_image_of_the_bundle_is_refused() {
    let sample = image("amd64");
    let (one, two) = (kept(b"one"), kept(b"two"));
    let blobs: [&[u8]; 5] = [&one, &two, b"{}", b"one", b"two"];
    let hex = hex(&sample.manifest);
    let refused = |names: &[String], word: &str| {
        let named: Vec<_> = names.iter().map(String::as_str).zip([one.as_slice(), two.as_slice()]).collect();
        refused(&with_named(&named, &blobs), "images/index.json", word);
    };
    let there = format!("acme/web:sha256-{hex}.sig");
    refused(&[there.clone(), format!("acme/web:sha256-{}.sig", "0".repeat(64))], "belongs to no image");
    refused(&[there.clone(), format!("acme/other:sha256-{hex}.sig")], "docker.io/acme/other is for what belongs to");
    refused(&[there.clone(), format!("docker.io/{there}")], "several manifests under the name");
    refused(&[there, format!("acme/web:sha256-{hex}.txt")], "does not name the image");
}

#[test]
fn a_tag_of_that_form_can_be_an_image_of_the_metadata() {
    let sample = image("amd64");
    let signature = kept(b"signature");
    let name = format!("acme/web:sha256-{}.sig", hex(&sample.manifest));
    let mut entries = with_named(&[(&name, &signature)], &[&signature, b"{}", b"signature"]);
    let mut metadata = metadata();
    metadata["resource"]["assets"]["container"]["docker"]["signature"] = json!(name);
    entries[0].1 = metadata.to_string().into_bytes();
    let bundle = read(&zipped(&entries)).unwrap();
    assert_eq!(bundle.images.len(), 3);
    assert!(bundle.images.iter().all(|image| image.attachments.is_empty() && image.manifests.len() == 1));
}

#[test]
fn an_index_that_refers_to_an_image_travels_with_it_but_its_platforms_are_not_the_images() {
    let (amd, arm) = (image("amd64"), image("arm64"));
    let entries = |more: Value| {
        let mut document = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [descriptor(MANIFEST_TYPE, &arm.manifest)]});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let document = document.to_string().into_bytes();
        let mut entries = whole();
        let mut index: Value = serde_json::from_slice(&entries[4].1).unwrap();
        index["manifests"].as_array_mut().unwrap().push(descriptor(INDEX_TYPE, &document));
        entries[4].1 = index.to_string().into_bytes();
        entries.extend([&arm.layer, &arm.config, &arm.manifest, &document].map(|blob| blob_entry(blob)));
        (entries, sha256(&document))
    };
    let (referring, digest) = entries(json!({"subject": descriptor(MANIFEST_TYPE, &amd.manifest)}));
    let bundle = read(&zipped(&referring)).unwrap();
    let manifests: Vec<_> = bundle.images[0].manifests.iter().map(|manifest| manifest.digest.clone()).collect();
    assert_eq!(manifests, [sha256(&amd.manifest), sha256(&arm.manifest), digest]);
    assert_eq!(bundle.images[0].platforms, ["linux/amd64"]);
    refused(&entries(json!({})).0, "images/index.json", "refers to no image");
}

#[test]
fn an_archive_of_docker_save_becomes_oci_manifests() {
    let sample = image("amd64");
    let mut sink = Memory::default();
    let entries = docker_bundle(legacy_archive(r#"["acme/web:1"]"#));
    let bundle = stream::read(&zipped(&entries)[..], &mut sink, &Limits::default()).unwrap();
    let image = &bundle.images[0];
    assert_eq!(image.target.media_type, MANIFEST_TYPE);
    assert_eq!(image.platforms, ["linux/amd64"]);
    let manifest: Value = serde_json::from_slice(&sink.blobs[&image.target.digest]).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], sha256(&sample.layer).as_str());
    assert_eq!(manifest["config"]["digest"], sha256(&sample.config).as_str());
    assert_eq!(image.target.digest, sha256(&sample.manifest), "the same image as by hand");
}

#[test]
fn a_newer_archive_keeps_its_own_manifests_when_they_are_whole() {
    let sample = image("amd64");
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", hex(bytes));
    let archive = |target: Value, more: &[u8]| {
        let mut target = target;
        target["annotations"] =
            json!({"io.containerd.image.name": "docker.io/acme/web:1", "org.opencontainers.image.ref.name": "1"});
        let index = json!({"schemaVersion": 2, "manifests": [target]}).to_string();
        let list =
            json!([{"Config": path(&sample.config), "RepoTags": ["acme/web:1"], "Layers": [path(&sample.layer)]}]);
        tarred(&[
            (&path(&sample.layer), &sample.layer),
            (&path(&sample.config), &sample.config),
            (&path(more), more),
            ("index.json", index.as_bytes()),
            ("manifest.json", list.to_string().as_bytes()),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ])
    };
    let spaced = [&sample.manifest[..], b"\n"].concat();
    let bundle = read(&zipped(&docker_bundle(archive(descriptor(MANIFEST_TYPE, &spaced), &spaced)))).unwrap();
    assert_eq!(bundle.images[0].target.digest, sha256(&spaced));
    // An index that names a platform that was not saved: the saved one is converted instead.
    let arm = image("arm64");
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [descriptor(MANIFEST_TYPE, &arm.manifest)]});
    let index = index.to_string().into_bytes();
    let bundle = read(&zipped(&docker_bundle(archive(descriptor(INDEX_TYPE, &index), &index)))).unwrap();
    assert_eq!(bundle.images[0].target.digest, sha256(&sample.manifest));
}

#[test]
fn archives_that_are_wrong_are_refused() {
    refused(&docker_bundle(legacy_archive(r#"["acme/other:1"]"#)), "image acme/web:1", "not in the bundle");
    refused(&docker_bundle(b"no archive".to_vec()), "docker/images.tar", "truncated");
    refused(&docker_bundle(vec![1; 2048]), "docker/images.tar", "no header");
    let whole = legacy_archive(r#"["acme/web:1"]"#);
    refused(&docker_bundle(whole[..3000].to_vec()), "docker/images.tar", "truncated");
    let missing = tarred(&[("manifest.json", br#"[{"Config":"c.json","RepoTags":["a"],"Layers":[]}]"#)]);
    refused(&docker_bundle(missing), "docker/images.tar", "c.json");
    let config = image("arm64").config;
    let other_layer = tarred(&[
        ("c.json", &config),
        ("l.tar", b"other"),
        ("manifest.json", br#"[{"Config":"c.json","RepoTags":["acme/web:1"],"Layers":["l.tar"]}]"#),
    ]);
    refused(&docker_bundle(other_layer), "docker/images.tar", "config says");
}

#[test]
fn a_sink_that_fails_is_not_an_invalid_bundle() {
    struct Full;
    impl stream::Sink for Full {
        type Error = std::io::Error;
        fn blob(&mut self, _: &mut dyn std::io::Read) -> Result<stream::Receipt, Self::Error> {
            Err(std::io::Error::other("no space left"))
        }
        fn read_back(&mut self, _: &str, _: u64) -> Result<Vec<u8>, Self::Error> {
            Err(std::io::Error::other("nothing"))
        }
    }
    let error = stream::read(&zipped(&whole())[..], &mut Full, &Limits::default()).unwrap_err();
    assert!(matches!(error, ReadError::Sink { .. }), "{error}");
}

#[test]
fn a_damaged_body_is_the_bundles_fault_though_the_sink_saw_it() {
    let mut bytes = zipped(&whole());
    let at = bytes.windows(FILE.len()).position(|window| window == FILE).unwrap();
    bytes[at] ^= 1;
    match read(&bytes) {
        Err(ReadError::Invalid { place, reason }) => {
            assert_eq!(place, file_path());
            assert!(reason.contains("checksum"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
